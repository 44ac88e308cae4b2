// A board of exec jobs with everything around it but the network, in processes that come and go.
#pragma once

#include <boost/asio/post.hpp>

#include "io/content/merkle.h"
#include "tests/tracker/board_fixture.h"
#include "tracker/run_board.h"
#include "tracker/run_views.h"

namespace p2p::test {

struct RunAgents final : RunBoard::Agents {
  struct Sent {
    NodeId node;
    proto::TrackerMessage message;
  };
  std::vector<Sent> sent;
  void send(NodeId node, const proto::TrackerMessage& message) override {
    sent.push_back({node, message});
  }
};

inline const Caller& admin() {
  static const Caller caller{"root", "id-of-root", true, {}};
  return caller;
}

// One run of the tracker. Times that matter are passed in; what is done by other threads is waited
// for.
struct RunProcess {
  Disk& disk;
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work =
      boost::asio::make_work_guard(io);
  Registry registry = must(Registry::load(disk.store));
  Accounts accounts = must(Accounts::load(disk.store));
  Scripts scripts = must(Scripts::load(disk.store));
  Blobs blobs = must(Blobs::open(disk.folder / "blobs"));
  Journal journal{io, disk.store};
  DiskPool pool{1, 100};  // one thread: what is posted later is done later
  RunAgents agents;
  JobNumbers numbers;
  RunBoard board;
  WallTime now = wall_now();

  explicit RunProcess(Disk& disk_value, const RunBoardLimits& limits = no_patience())
      : disk(disk_value),
        board({io, registry, accounts, scripts, blobs, journal, pool, agents, numbers,
               ExecFiles(disk.folder / "exec")},
              Rng(static_cast<std::uint64_t>(unix_millis(wall_now()))), limits) {
    set_log_sink([](std::string_view) {});
    const Status loaded = board.load(disk.store, now);
    INFO((loaded ? std::string() : loaded.error().detail));
    REQUIRE(loaded);
  }
  RunProcess(const RunProcess&) = delete;
  RunProcess& operator=(const RunProcess&) = delete;
  ~RunProcess() {
    disk.store.let_go();
    pool.stop();
    journal.stop();
    set_log_sink({});
  }

  static RunBoardLimits no_patience() {
    RunBoardLimits limits;
    limits.patience = Duration::zero();
    return limits;
  }

  bool run_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + kHangSeconds;
    while (!done()) {
      if (io.run_one_until(end) == 0) return false;
    }
    return true;
  }
  // Until everything that was begun up to now is done: steps that follow from each other are fewer.
  void settle() {
    for (int i = 0; i < 8; ++i) {
      int passed = 0;
      journal.commit(StateBatch{}, [&](const Status&) { ++passed; });
      pool.post([&] { boost::asio::post(io, [&] { ++passed; }); });
      REQUIRE(run_until([&] { return passed == 2; }));
    }
  }
  void tick(Duration time = std::chrono::milliseconds(250)) {
    now = now + time;
    board.on_tick(now);
    settle();
  }

  void enrol(const std::string& name, const std::map<std::string, std::string>& labels = {}) {
    StateBatch batch;
    proto::TokenRecord token;
    token.set_id("t");
    token.set_secret_hash(secret_hash("s"));
    token.set_uses_left(1);
    token.set_expires_unix(unix_seconds(now) + 3600);
    registry.put_token(token, batch);
    REQUIRE(disk.store.apply(std::exchange(batch, {})));
    must(registry.join({"t", "s", name, labels}, now, batch));
    REQUIRE(disk.store.apply(batch));
  }
  NodeId id(const std::string& name) {
    NodeEntry* node = registry.find(name);
    REQUIRE(node != nullptr);
    return node->id;
  }
  void hello(const std::string& name) {
    registry.find(name)->online = true;
    board.on_agent_hello(id(name), true, now);
  }
  // What it says of runs, as its last word after the hello.
  void online(const std::string& name, const proto::RunReports& said = {}) {
    hello(name);
    proto::RunReports reports = said;
    reports.set_first(true);
    reports.set_last(true);
    board.on_run_reports(id(name), reports, now);
    settle();
  }
  void offline(const std::string& name) {
    registry.find(name)->online = false;
    board.on_agent_offline(id(name), now);
  }
  void enrol_online(const std::string& name) {
    enrol(name);
    online(name);
  }

  Result<JobId> try_create(const proto::ExecSpec& spec, const Caller& caller = admin()) {
    std::optional<Result<JobId>> made;
    board.create(spec, caller, false, now, [&](const Result<const BoardExec*>& job) {
      made = job ? Result<JobId>(JobId{(*job)->record.number()}) : Result<JobId>(job.error());
    });
    REQUIRE(run_until([&] { return made.has_value(); }));
    settle();
    return *made;
  }
  JobId create(const proto::ExecSpec& spec) { return must(try_create(spec)); }
  Error refusal(const proto::ExecSpec& spec, const Caller& caller = admin()) {
    const auto made = try_create(spec, caller);
    REQUIRE_FALSE(made);
    return made.error();
  }
  Result<JobId> retry(JobId job, const std::vector<std::string>& only,
                      const Caller& caller = admin()) {
    proto::RetryRequest request;
    for (const std::string& state : only) request.add_only(state);
    std::optional<Result<JobId>> made;
    board.retry(job, request, caller, now, [&](const Result<const BoardExec*>& again) {
      made = again ? Result<JobId>(JobId{(*again)->record.number()}) : Result<JobId>(again.error());
    });
    REQUIRE(run_until([&] { return made.has_value(); }));
    settle();
    return *made;
  }
  Status steer(void (RunBoard::*how)(JobId, const Caller&, WallTime, RunBoard::Steered), JobId job,
               const Caller& caller = admin()) {
    std::optional<Status> said;
    (board.*how)(job, caller, now, [&](const Status& status) { said = status; });
    REQUIRE(run_until([&] { return said.has_value(); }));
    settle();
    return *said;
  }

  const BoardExec& job(JobId number) {
    const BoardExec* found = board.find(number);
    REQUIRE(found != nullptr);
    return *found;
  }
  const RunStatus& run(JobId number, const std::string& name) {
    const ExecJob& runs = *job(number).job;
    const auto index = runs.index_of(id(name));
    REQUIRE(index.has_value());
    return runs.runs()[*index];
  }
  RunState state(JobId number, const std::string& name) { return run(number, name).state; }

  proto::RunReport word(JobId number, const std::string& name, RunState state_said,
                        std::optional<int> code = {}) {
    proto::RunReport report;
    report.set_id(run(number, name).id.raw());
    report.set_job(number.number);
    report.set_state(std::string(to_string(state_said)));
    report.set_has_code(code.has_value());
    report.set_code(code.value_or(0));
    return report;
  }
  void report(JobId number, const std::string& name, RunState state_said,
              std::optional<int> code = {}) {
    proto::RunReports reports;
    *reports.add_runs() = word(number, name, state_said, code);
    board.on_run_reports(id(name), reports, now);
    settle();
  }
  void write(JobId number, const std::string& name, std::uint64_t offset, const std::string& bytes,
             bool err = false) {
    proto::RunOutput output;
    output.set_id(run(number, name).id.raw());
    output.set_err(err);
    output.set_offset(offset);
    output.set_bytes(bytes);
    board.on_run_output(id(name), output, now);
    settle();
  }
  std::optional<OutputChunk> page(JobId number, std::uint64_t from = 0,
                                  std::optional<std::uint32_t> run_wanted = {}) {
    std::optional<Result<std::optional<OutputChunk>>> read;
    board.read_output(number, from, run_wanted, 64 * 1024,
                      [&](Result<std::optional<OutputChunk>> chunk) { read = std::move(chunk); });
    REQUIRE(run_until([&] { return read.has_value(); }));
    return must(*std::move(read));
  }
  // What one run has written to standard output, as far as it is kept.
  std::string output(JobId number) {
    std::string all;
    const auto chunk = page(number);
    REQUIRE(chunk.has_value());
    for (const auto& piece : chunk->pieces) all += piece.bytes;
    return all;
  }

  // Sent to a node since the last call of take(), of one kind.
  std::vector<proto::TrackerMessage> sent_to(const std::string& name,
                                             proto::TrackerMessage::KindCase kind) {
    std::vector<proto::TrackerMessage> messages;
    for (const auto& [node, message] : agents.sent) {
      if (node == id(name) && message.kind_case() == kind) messages.push_back(message);
    }
    return messages;
  }
  std::size_t offers_to(const std::string& name) {
    return sent_to(name, proto::TrackerMessage::kRun).size();
  }
  bool told_final(const std::string& name) {
    for (const auto& message : sent_to(name, proto::TrackerMessage::kRunKnown)) {
      if (message.run_known().final()) return true;
    }
    return false;
  }
  void take() { agents.sent.clear(); }
};

inline proto::ExecSpec exec_of(const std::string& targets,
                               const std::vector<std::string>& command = {"true"}) {
  proto::ExecSpec spec;
  spec.set_targets(targets);
  for (const std::string& word : command) spec.add_command(word);
  return spec;
}

}  // namespace p2p::test
