#include "tracker/job_records.h"

#include <string>
#include <vector>

#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "io/state/state_limits.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

NodeId node(std::size_t i) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(i >> 8);
  id.bytes[1] = static_cast<std::uint8_t>(i);
  id.bytes[15] = 1;
  return id;
}

// Every field differs from task to task.
TaskStatus task(std::size_t i) {
  TaskStatus task;
  task.node = node(i);
  task.state = kTaskStateNames[i % kTaskStates].first;
  task.detail = "detail " + std::to_string(i);
  task.bytes_done = i;
  task.bytes_total = 1'000'000 + i;
  task.bytes_sent = 2'000'000 + i;
  task.bytes_received = 3'000'000 + i;
  task.path = "/srv/" + std::to_string(i);
  task.durable = i % 3 == 0;
  task.started = from_unix_millis(1'800'000'000'000 + static_cast<std::int64_t>(i));
  task.finished = from_unix_millis(1'800'000'500'000 + static_cast<std::int64_t>(i));
  return task;
}

std::vector<TaskStatus> tasks(std::size_t count) {
  std::vector<TaskStatus> list;
  for (std::size_t i = 0; i < count; ++i) list.push_back(task(i));
  return list;
}

bool same(const TaskStatus& a, const TaskStatus& b) {
  return a.node == b.node && a.state == b.state && a.detail == b.detail &&
         a.bytes_done == b.bytes_done && a.bytes_total == b.bytes_total &&
         a.bytes_sent == b.bytes_sent && a.bytes_received == b.bytes_received && a.path == b.path &&
         a.durable == b.durable && a.started == b.started && a.finished == b.finished;
}

void put(StateStore& store, std::uint64_t number, const std::vector<TaskStatus>& list) {
  for (const StateBatch& pages : all_task_pages(number, list)) REQUIRE(store.apply(pages));
  proto::JobRecord record;
  record.set_number(number);
  record.set_kind("push");
  record.set_target_count(static_cast<std::uint32_t>(list.size()));
  record.set_source("images/base");
  StateBatch head;
  put_job(record, head);
  REQUIRE(store.apply(head));
}

std::vector<StoredJob> load(StateStore& store) {
  auto loaded = load_jobs(store);
  INFO((loaded ? "" : loaded.error().detail));
  REQUIRE(loaded);
  return *std::move(loaded);
}

}  // namespace

TEST_CASE("1,000 targets survive a restart, in order and with everything that is known of them",
          "[tracker]") {
  MemoryStore store;
  const auto list = tasks(1000);
  put(store, 17, list);
  const auto jobs = load(store);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].record.number() == 17);
  CHECK(jobs[0].record.source() == "images/base");
  REQUIRE(jobs[0].tasks.size() == list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    INFO(i);
    CHECK(same(jobs[0].tasks[i], list[i]));
  }
}

TEST_CASE("256 tasks share a record, and one that changes writes its record only", "[tracker]") {
  MemoryStore store;
  auto list = tasks(1000);
  put(store, 17, list);
  std::size_t keys = 0;
  REQUIRE(store.scan("job/", [&](std::string_view, const auto&) { return ++keys, true; }));
  CHECK(keys == 1 + 4);

  list[0].state = TaskState::failed;
  list[255].detail = "changed";
  list[256].detail = "changed too, but not asked for";
  StateBatch batch;
  put_task_page(17, list, 255, batch);
  CHECK(batch.changes.size() == 1);
  REQUIRE(store.apply(batch));
  const auto reloaded = load(store).front().tasks;
  CHECK(reloaded[0].state == TaskState::failed);
  CHECK(reloaded[255].detail == "changed");
  CHECK(reloaded[256].detail == "detail 256");
  CHECK(reloaded.size() == 1000);
}

TEST_CASE("Jobs come back in rising order, whatever the number of their digits", "[tracker]") {
  MemoryStore store;
  for (const std::uint64_t number : {10u, 9u, 999u, 1000u, 1u, 123'456u, 99'999u}) {
    put(store, number, tasks(1 + number % 3));
  }
  std::string order;
  for (const StoredJob& job : load(store)) {
    order += std::to_string(job.record.number()) + " ";
    CHECK(job.tasks.size() == 1 + job.record.number() % 3);
  }
  CHECK(order == "1 9 10 999 1000 99999 123456 ");
}

TEST_CASE("Every record and batch keeps the limits of the store, however much there is to say",
          "[tracker]") {
  auto list = tasks(10'000);
  for (TaskStatus& each : list) {
    each.detail = std::string(5'000, 'd');
    each.path = "/" + std::string(4'000, 'p');
    each.state = TaskState::succeeded;
    each.bytes_done = each.bytes_total = each.bytes_sent = each.bytes_received = ~0ull;
  }
  MemoryStore store;
  std::size_t pages = 0;
  for (const StateBatch& batch : all_task_pages(17, list)) {
    CHECK(check_state_batch(batch));
    pages += batch.changes.size();
    REQUIRE(store.apply(batch));
  }
  CHECK(pages == 40);
  put(store, 17, list);
  const auto reloaded = load(store).front().tasks;
  REQUIRE(reloaded.size() == list.size());
  CHECK(reloaded[9'999].node == list[9'999].node);
  CHECK(reloaded[9'999].bytes_sent == ~0ull);
  CHECK(reloaded[9'999].state == TaskState::succeeded);
}

TEST_CASE("A detail that is cut to fit can still be read back", "[tracker]") {
  // Two, three and four bytes a letter, at every offset.
  const std::string letter = GENERATE("\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x92\xbe");
  const std::size_t offset = GENERATE(0u, 1u, 2u, 3u);
  std::string text(offset, 'x');
  while (text.size() < 3'000) text += letter;
  auto list = tasks(256);
  for (TaskStatus& each : list) each.detail = each.path = text;
  MemoryStore store;
  put(store, 17, list);
  const auto reloaded = load(store).front().tasks;
  REQUIRE(reloaded.size() == 256);
  CHECK(reloaded[0].detail.size() < text.size());
}

TEST_CASE("A job without its head does not exist", "[tracker]") {
  MemoryStore store;
  put(store, 1, tasks(2));
  for (const StateBatch& pages : all_task_pages(2, tasks(300))) REQUIRE(store.apply(pages));
  put(store, 3, tasks(4));
  const auto jobs = load(store);
  REQUIRE(jobs.size() == 2);
  CHECK(jobs[0].tasks.size() == 2);
  CHECK(jobs[1].record.number() == 3);
  CHECK(jobs[1].tasks.size() == 4);
}

TEST_CASE("A damaged record of a job stops the start, and is named", "[tracker]") {
  MemoryStore store;
  put(store, 1, tasks(2));
  std::string key, value = "\xff nonsense";
  SECTION("the head") {
    key = "job/000000/001/head";
  }
  SECTION("a page") {
    key = "job/000000/001/tasks/0000";
  }
  SECTION("a state that does not exist") {
    key = "job/000000/001/tasks/0000";
    proto::TaskPage page;
    page.add_tasks()->set_node_id(std::string(16, 'n'));
    page.mutable_tasks(0)->set_state("dancing");
    value = page.SerializeAsString();
  }
  SECTION("a node that is none") {
    key = "job/000000/001/tasks/0000";
    proto::TaskPage page;
    page.add_tasks()->set_node_id("short");
    page.mutable_tasks(0)->set_state("queued");
    value = page.SerializeAsString();
  }
  StateBatch batch;
  batch.put(key, value);
  REQUIRE(store.apply(batch));
  const auto loaded = load_jobs(store);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Errc::corrupt);
  CHECK_THAT(loaded.error().detail, Catch::Contains(key));
}

}  // namespace p2p
