#include "tracker/job_records.h"

#include <algorithm>
#include <map>

#include "core/base/text.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "job/";

std::string padded(std::uint64_t number, std::size_t digits) {
  std::string text = std::to_string(number);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return text;
}

// "job/000000/017": a thousand jobs on a level, in order.
std::string job_key(std::uint64_t number) {
  return std::string(kPrefix) + padded(number / 1000, 6) + "/" + padded(number % 1000, 3);
}

std::string page_key(std::uint64_t job, std::size_t page) {
  return job_key(job) + "/tasks/" + padded(page, 4);
}

proto::TaskPage::Task stored_form(const TaskStatus& task, std::size_t detail_kept) {
  proto::TaskPage::Task stored;
  stored.set_node_id(std::string(task.node.bytes.begin(), task.node.bytes.end()));
  stored.set_state(std::string(to_string(task.state)));
  // Cut between characters, and made text where it is none: protobuf reads no other record.
  const std::string detail = printable(task.detail, detail_kept);
  stored.set_detail(std::string(utf8_prefix(detail, detail_kept)));
  stored.set_bytes_done(task.bytes_done);
  stored.set_bytes_total(task.bytes_total);
  const std::string path = printable(task.path, 4 * detail_kept);
  stored.set_path(std::string(utf8_prefix(path, 4 * detail_kept)));
  stored.set_started_unix_ms(unix_millis(task.started));
  stored.set_finished_unix_ms(unix_millis(task.finished));
  stored.set_bytes_sent(task.bytes_sent);
  stored.set_bytes_received(task.bytes_received);
  stored.set_durable(task.durable);
  stored.set_bytes_copied(task.bytes_copied);
  stored.set_bytes_already(task.bytes_already);
  stored.set_bytes_written(task.bytes_written);
  const std::string basis = printable(task.basis, detail_kept);
  stored.set_basis(std::string(utf8_prefix(basis, detail_kept)));
  return stored;
}

std::optional<TaskStatus> task_from(const proto::TaskPage::Task& stored) {
  TaskStatus task;
  if (stored.node_id().size() != task.node.bytes.size()) return std::nullopt;
  std::copy(stored.node_id().begin(), stored.node_id().end(), task.node.bytes.begin());
  const auto state = task_state_from(stored.state());
  if (!state) return std::nullopt;
  task.state = *state;
  task.detail = stored.detail();
  task.bytes_done = stored.bytes_done();
  task.bytes_total = stored.bytes_total();
  task.path = stored.path();
  task.started = from_unix_millis(stored.started_unix_ms());
  task.finished = from_unix_millis(stored.finished_unix_ms());
  task.bytes_sent = stored.bytes_sent();
  task.bytes_received = stored.bytes_received();
  task.durable = stored.durable();
  task.bytes_copied = stored.bytes_copied();
  task.bytes_already = stored.bytes_already();
  task.bytes_written = stored.bytes_written();
  task.basis = stored.basis();
  return task;
}

std::string serialise_page(const std::vector<TaskStatus>& tasks, std::size_t page) {
  const std::size_t begin = page * kTasksOnPage;
  const std::size_t end = std::min(tasks.size(), begin + kTasksOnPage);
  // Details and paths are for people; when a page is full of them they are shortened to fit.
  for (std::size_t kept = 1000;; kept /= 2) {
    proto::TaskPage stored;
    for (std::size_t i = begin; i < end; ++i) *stored.add_tasks() = stored_form(tasks[i], kept);
    std::string bytes = stored.SerializeAsString();
    if (bytes.size() <= kMaxRecordBytes || kept == 0) return bytes;
  }
}

}  // namespace

void put_job(const proto::JobRecord& record, StateBatch& batch) {
  batch.put(job_key(record.number()) + "/head", record.SerializeAsString());
}

void put_task_page(std::uint64_t job, const std::vector<TaskStatus>& tasks, std::size_t index,
                   StateBatch& batch) {
  const std::size_t page = index / kTasksOnPage;
  batch.put(page_key(job, page), serialise_page(tasks, page));
}

std::vector<StateBatch> all_task_pages(std::uint64_t job, const std::vector<TaskStatus>& tasks) {
  std::vector<StateBatch> batches;
  for (std::size_t i = 0; i < tasks.size(); i += kTasksOnPage) {
    // Twelve full pages stay below the limit of a batch.
    if (batches.empty() || batches.back().changes.size() == 12) batches.emplace_back();
    put_task_page(job, tasks, i, batches.back());
  }
  return batches;
}

namespace {

Result<std::vector<StoredJob>> load_below(StateStore& store, std::string_view prefix) {
  std::vector<StoredJob> jobs;
  std::optional<Error> bad;
  StoredJob current;
  std::string current_key;
  const auto finish = [&] {
    // Behind its own pages there may be some of a job that had this number and was never made.
    const std::size_t count = current.record.target_count();
    if (count > 0 && current.tasks.size() > count) current.tasks.resize(count);
    if (current.record.number() > 0) jobs.push_back(std::move(current));
    current = StoredJob{};
  };
  const Status scanned = store.scan(prefix, [&](std::string_view key, const auto& entry) {
    constexpr std::size_t kJobKeyBytes = 4 + 6 + 1 + 3;
    const std::string job = std::string(key.substr(0, kJobKeyBytes));
    if (job != current_key) {
      finish();
      current_key = job;
    }
    const std::string_view rest = key.substr(std::min(key.size(), kJobKeyBytes));
    bool good = true;
    if (rest == "/head") {
      good = current.record.ParseFromString(entry.value);
    } else {
      proto::TaskPage page;
      good = page.ParseFromString(entry.value);
      for (const auto& stored : page.tasks()) {
        const auto task = task_from(stored);
        good = good && task.has_value();
        if (task) current.tasks.push_back(*task);
      }
    }
    if (!good) {
      bad = Error{Errc::corrupt, "state store: record " + std::string(key) + " cannot be read"};
    }
    return good;
  });
  if (!scanned) return scanned.error();
  if (bad) return *bad;
  finish();
  return jobs;
}

}  // namespace

Result<std::vector<StoredJob>> load_jobs(StateStore& store) {
  return load_below(store, kPrefix);
}

Result<std::optional<StoredJob>> load_job(StateStore& store, std::uint64_t number) {
  auto jobs = load_below(store, job_key(number) + "/");
  if (!jobs) return jobs.error();
  if (jobs->empty()) return std::optional<StoredJob>();
  return std::optional(std::move(jobs->front()));
}

}  // namespace p2p
