#include "tracker/run_records.h"

#include <algorithm>

#include "core/base/text.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::uint64_t kMostMillis = std::uint64_t{1} << 40;  // is refused, and fits a Duration
constexpr std::string_view kHeadPrefix = "exechead/";
constexpr std::size_t kPagesInBatch = 12;
// The store reads what it erases: not too much at once.
constexpr std::size_t kErasedInBatch = 64;
constexpr std::uint64_t kDefaultTtlSeconds = 600;
constexpr std::uint64_t kMaxTtlSeconds = 30ull * 24 * 3600;

std::string padded(std::uint64_t number, std::size_t digits) {
  std::string text = std::to_string(number);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return text;
}

// "exechead/000/000/017": apart from the pages, so that a start reads no others.
std::string head_key(std::uint64_t number) {
  return std::string(kHeadPrefix) + padded(number / 1'000'000, 3) + "/" +
         padded(number / 1000 % 1000, 3) + "/" + padded(number % 1000, 3);
}

// "exec/000000/017/runs/", as of other jobs.
std::string pages_prefix(std::uint64_t number) {
  return "exec/" + padded(number / 1000, 6) + "/" + padded(number % 1000, 3) + "/runs/";
}

std::string page_key(std::uint64_t number, std::size_t page) {
  return pages_prefix(number) + padded(page, 4);
}

void store(const RunStatus& run, proto::RunPage::Run& stored) {
  stored.set_node_id(std::string(run.node.bytes.begin(), run.node.bytes.end()));
  stored.set_run_id(run.id.raw());
  stored.set_state(std::string(to_string(run.state)));
  const RunFacts& facts = run.facts;
  stored.set_text(std::string(utf8_prefix(facts.text, kMaxRunTextBytes)));
  stored.set_has_code(facts.code.has_value());
  stored.set_code(facts.code.value_or(0));
  stored.set_signal(facts.signal);
  stored.set_begun_unix_ms(unix_millis(facts.begun));
  stored.set_ended_unix_ms(unix_millis(facts.ended));
  stored.set_out_bytes(facts.out_bytes);
  stored.set_err_bytes(facts.err_bytes);
  stored.set_out_truncated(facts.out_truncated);
  stored.set_err_truncated(facts.err_truncated);
  stored.set_cpu_us(facts.cpu_us);
  stored.set_peak_bytes(facts.peak_bytes);
  stored.set_left_running(facts.left_running);
  stored.set_account(std::string(utf8_prefix(facts.account, kMaxRunAccountBytes)));
  stored.set_offered_unix_ms(unix_millis(run.offered));
  stored.set_turn_unix_ms(unix_millis(run.turn));
}

std::optional<RunStatus> run_from(const proto::RunPage::Run& stored) {
  RunStatus run;
  if (stored.node_id().size() != run.node.bytes.size()) return std::nullopt;
  std::copy(stored.node_id().begin(), stored.node_id().end(), run.node.bytes.begin());
  const auto id = RunId::from_raw(stored.run_id());
  const auto state = run_state_from(stored.state());
  if (!id || !state) return std::nullopt;
  run.id = *id;
  run.state = *state;
  RunFacts& facts = run.facts;
  facts.text = stored.text();
  if (stored.has_code()) facts.code = stored.code();
  facts.signal = stored.signal();
  facts.begun = from_unix_millis(stored.begun_unix_ms());
  facts.ended = from_unix_millis(stored.ended_unix_ms());
  facts.out_bytes = stored.out_bytes();
  facts.err_bytes = stored.err_bytes();
  facts.out_truncated = stored.out_truncated();
  facts.err_truncated = stored.err_truncated();
  facts.cpu_us = stored.cpu_us();
  facts.peak_bytes = stored.peak_bytes();
  facts.left_running = stored.left_running();
  facts.account = stored.account();
  run.offered = from_unix_millis(stored.offered_unix_ms());
  run.turn = from_unix_millis(stored.turn_unix_ms());
  return run;
}

Error unreadable(std::string_view key) {
  return {Errc::corrupt, "state store: record " + std::string(key) + " cannot be read"};
}

}  // namespace

void put_exec(const proto::ExecRecord& record, StateBatch& batch) {
  batch.put(head_key(record.number()), record.SerializeAsString());
}

std::vector<StateBatch> erased_exec(std::uint64_t number, std::size_t runs) {
  std::vector<StateBatch> batches(1);
  for (std::size_t page = 0; page * kRunsOnPage < runs; ++page) {
    if (batches.back().changes.size() == kErasedInBatch) batches.emplace_back();
    batches.back().erase(page_key(number, page));
  }
  batches.back().erase(head_key(number));
  return batches;
}

std::vector<StateBatch> changed_run_pages(std::uint64_t number, const ExecJob& job,
                                          std::uint64_t since) {
  std::vector<StateBatch> batches;
  const std::vector<RunStatus>& runs = job.runs();
  for (std::size_t begin = 0; begin < runs.size(); begin += kRunsOnPage) {
    const std::size_t end = std::min(runs.size(), begin + kRunsOnPage);
    bool changed = false;
    for (std::size_t i = begin; i < end && !changed; ++i) changed = job.changed_at(i) > since;
    if (!changed) continue;
    proto::RunPage page;
    for (std::size_t i = begin; i < end; ++i) store(runs[i], *page.add_runs());
    if (batches.empty() || batches.back().changes.size() == kPagesInBatch) batches.emplace_back();
    batches.back().put(page_key(number, begin / kRunsOnPage), page.SerializeAsString());
  }
  return batches;
}

Result<std::vector<proto::ExecRecord>> load_exec_heads(StateStore& store) {
  std::vector<proto::ExecRecord> heads;
  std::optional<Error> bad;
  const Status scanned = store.scan(kHeadPrefix, [&](std::string_view key, const auto& entry) {
    if (!heads.emplace_back().ParseFromString(entry.value)) bad = unreadable(key);
    return !bad;
  });
  if (!scanned) return scanned.error();
  if (bad) return *bad;
  return heads;
}

Result<std::optional<StoredExec>> load_exec(StateStore& store, std::uint64_t number) {
  StoredExec job;
  std::optional<Error> bad;
  const auto head = store.get(head_key(number));
  if (!head) return head.error();
  if (!*head) return std::optional<StoredExec>();
  if (!job.record.ParseFromString((*head)->value)) return unreadable(head_key(number));
  const auto visit = [&](std::string_view key, const auto& entry) {
    proto::RunPage page;
    bool good = page.ParseFromString(entry.value);
    for (const auto& stored : page.runs()) {
      auto run = run_from(stored);
      good = good && run.has_value();
      if (run) job.runs.push_back(*std::move(run));
    }
    if (!good) bad = unreadable(key);
    return good;
  };
  if (const Status scanned = store.scan(pages_prefix(number), visit); !scanned) {
    return scanned.error();
  }
  if (bad) return *bad;
  // The tracker ended while it removed this one.
  if (job.record.finished_unix_ms() != 0 && job.runs.size() < job.record.target_count()) {
    return std::optional<StoredExec>();
  }
  // Behind its own pages there may be some of a job that had this number and was never made.
  if (job.runs.size() > job.record.target_count()) job.runs.resize(job.record.target_count());
  return std::optional(std::move(job));
}

void set_memory(const Rollout::Memory& memory, proto::RolloutRecord& record) {
  record.set_paused(memory.paused);
  record.set_stopped(memory.stopped);
  record.set_why(memory.why);
  record.set_forgiven(static_cast<std::uint32_t>(memory.forgiven));
  record.set_wave(static_cast<std::uint32_t>(memory.wave));
  record.set_wave_ended_unix_ms(memory.wave_ended ? unix_millis(*memory.wave_ended) : 0);
}

Rollout::Memory memory_of(const proto::RolloutRecord& record) {
  Rollout::Memory memory;
  memory.paused = record.paused();
  memory.stopped = record.stopped();
  memory.why = record.why();
  memory.forgiven = record.forgiven();
  memory.wave = record.wave();
  if (record.wave_ended_unix_ms() != 0) {
    memory.wave_ended = from_unix_millis(record.wave_ended_unix_ms());
  }
  return memory;
}

Result<ExecRules> exec_rules_of(const proto::RolloutRecord& record) {
  const auto bad = [](const std::string& option, const std::string& value, const char* how) {
    return Error{Errc::invalid_argument, option + " " + quoted(value, 60) + ": write " + how};
  };
  RolloutTexts texts{record.waves(), record.max_fail(), record.on_max_fail(), record.window(),
                     std::chrono::milliseconds(std::min(record.pause_between_ms(), kMostMillis))};
  auto rollout = parse_rollout(texts);
  if (!rollout) return rollout.error();
  ExecRules rules;
  rules.rollout = *std::move(rollout);
  const std::string& offline = record.offline();
  if (offline == "skip") {
    rules.offline = ExecRules::Offline::skip;
  } else if (offline == "queue") {
    rules.offline = ExecRules::Offline::queue;
  } else if (!offline.empty() && offline != "fail") {
    return bad("--offline", offline, "fail, skip or queue");
  }
  const std::string& order = record.order();
  if (!order.empty() && order != "name" && order != "rack-spread" && order != "random") {
    return bad("--order", order, "name, rack-spread or random");
  }
  const std::uint64_t ttl = record.ttl_seconds() == 0 ? kDefaultTtlSeconds : record.ttl_seconds();
  if (ttl > kMaxTtlSeconds) {
    return Error{Errc::invalid_argument, "--ttl: no job waits longer than 30 days for a node"};
  }
  rules.ttl = std::chrono::seconds(ttl);
  return rules;
}

}  // namespace p2p
