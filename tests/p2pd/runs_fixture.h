// An agent's runs with a launcher of their own process, and the tracker's side of the connection.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/content/merkle.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "p2pd/runs.h"
#include "tests/io/run/node.h"

namespace p2p::test {

// A store whose disk has its troubles.
class TroubledStore final : public StateStore {
 public:
  std::atomic<int> reads_to_fail = 0, reads = 0;
  std::atomic<int> writes_to_do = 1'000'000;  // and none behind them

  Result<std::optional<Entry>> get(std::string_view key) override {
    ++reads;
    if (reads_to_fail > 0 && reads_to_fail-- > 0) return Error{Errc::io_failed, "a bad block"};
    return kept_.get(key);
  }
  Status apply(const StateBatch& batch, Durability durability) override {
    if (writes_to_do <= 0) return Error{Errc::exhausted, "disk full"};
    --writes_to_do;
    return kept_.apply(batch, durability);
  }
  Status scan(std::string_view prefix, const Visitor& visit) override {
    return kept_.scan(prefix, visit);
  }

 private:
  MemoryStore kept_;
};

// What the tracker has heard of one run.
struct HeardRun {
  std::vector<std::string> states;  // as they came
  proto::RunReport last;
  std::array<std::string, 2> output;  // with a mark where something is missing
  std::array<std::uint64_t, 2> end{};
  bool output_behind_end = false;
  bool ended() const { return !states.empty() && is_final(*run_state_from(last.state())); }
};

class RunsNode final : private Runs::Owner {
 public:
  explicit RunsNode(ExecPolicy policy = ExecPolicy::any) : node_(policy), policy_(policy) {
    node_.stop_launcher();  // one at a time
    start();
  }
  ~RunsNode() {
    stop();
    node_.start_launcher();
    for (const RunId& id : offered_) {
      if (node_.folders.look(id)->traces.shim_lives) (void)node_.launcher->cancel(id).has_value();
      CHECK(wait_for([&] { return !node_.folders.look(id)->traces.shim_lives; }));
      CHECK(node_.launcher->remove(id));
    }
  }

  // The agent, killed or not, and the next one; the connection is new in either case.
  void restart() {
    stop();
    start();
  }
  // As somebody does who moves the agent's state aside.
  void restart_without_ledger() {
    stop();
    store.emplace();
    start();
  }
  void start() {
    auto channel = make_helper_channel();
    REQUIRE(channel);
    const std::string end = std::to_string(channel->second.get());
    const std::string policy(to_string(policy_));
    launcher_ = ::fork();
    if (launcher_ == 0) {
      ::fcntl(channel->second.get(), F_SETFD, 0);
      ::execl(P2P_RUN_ROLES, "run_roles", "launcher", end.c_str(), node_.folders.path().c_str(),
              policy.c_str(), nullptr);
      ::_exit(127);
    }
    channel->second.reset();
    Fd ours = policy_ == ExecPolicy::off ? Fd() : std::move(channel->first);
    Runs::Owner& owner = *this;
    runs.emplace(control, *store, std::move(ours), RunsSettings{node_.folders.path(), policy_, ""},
                 owner);
    REQUIRE(runs->recover());
    connect();
  }
  void stop() {
    runs.reset();
    if (launcher_ > 0) ::waitpid(std::exchange(launcher_, -1), nullptr, 0);
  }
  void connect() {
    welcomed_.clear();
    runs->on_welcome();
  }
  void disconnect() { runs->on_tracker_down(); }

  void offer(const proto::RunOrder& order, bool accepted_before = false) {
    proto::RunTask task;
    task.set_job(17);
    task.set_accepted_before(accepted_before);
    *task.mutable_order() = order;
    offer(task);
  }
  void offer(const proto::RunTask& task) {
    offered_.push_back(*RunId::from_raw(task.order().id()));
    runs->take(task);
  }
  void cancel(const RunId& id) {
    proto::CancelRun message;
    message.set_id(id.raw());
    message.set_job(17);
    runs->cancel(message);
  }
  void know(const RunId& id, bool final, std::uint64_t out_from = 0, std::uint64_t err_from = 0) {
    proto::RunKnown message;
    message.set_id(id.raw());
    message.set_final(final);
    message.set_out_from(out_from);
    message.set_err_from(err_from);
    runs->take_known(message);
  }
  // The tracker has all that was sent so far.
  void take_output(const RunId& id, bool enough = false) {
    for (const bool err : {false, true}) {
      proto::RunOutputTaken taken;
      taken.set_id(id.raw());
      taken.set_err(err);
      taken.set_upto(heard[id].end[err ? 1 : 0]);
      taken.set_enough(enough);
      runs->take_output_taken(taken);
    }
  }
  void turn() {
    control.restart();
    control.run_for(std::chrono::milliseconds(2));
    runs->on_tick(monotonic_now());
  }
  bool until(const std::function<bool()>& condition) {
    return wait_for([&] {
      turn();
      return condition();
    });
  }
  // With the output taken as it comes.
  const HeardRun& await_end(const RunId& id) {
    REQUIRE(until([&] {
      if (takes_output) take_output(id);
      return heard.contains(id) && heard[id].ended();
    }));
    return heard[id];
  }
  const HeardRun& run(const proto::RunOrder& order) {
    offer(order);
    return await_end(*RunId::from_raw(order.id()));
  }
  bool has_folder(const RunId& id) const { return exists(node_.folders.path_of(id)); }
  const std::string& runs_folder() const { return node_.folders.path(); }
  bool has_result(const RunId& id) const {
    return exists(node_.folders.path_of(id) + "/" + run_files::kResult);
  }
  std::optional<RunState> recorded(const RunId& id) {
    const auto record = RunLedger(*store).find(id);
    REQUIRE(record);
    return *record ? std::optional(state_of(**record)) : std::nullopt;
  }
  // Ids of what was said after the welcome.
  std::vector<std::string> welcomed() const { return welcomed_; }
  std::size_t on_the_way(const RunId& id) { return heard[id].end[0] + heard[id].end[1]; }

  proto::RunOrder command(const std::vector<std::string>& words) { return node_.command(words); }
  proto::RunOrder shell(const std::string& line) { return node_.shell(line); }
  proto::RunOrder script(const std::string& text) { return node_.script(text); }
  std::string operator/(const std::string& name) const { return node_ / name; }
  void kill_launcher() const { ::kill(launcher_, SIGKILL); }

 private:
  void send_to_tracker(const proto::AgentMessage& message) override {
    for (const proto::RunReport& report : message.runs().runs()) {
      HeardRun& run = heard[*RunId::from_raw(report.id())];
      run.states.push_back(report.state());
      run.last = report;
      if (first_to_last_ || message.runs().first()) welcomed_.push_back(report.id());
    }
    if (message.runs().first()) first_to_last_ = true;
    if (message.runs().last()) first_to_last_ = false;
    if (message.has_blob()) blobs_wanted.push_back(message.blob().sha256());
    if (!message.has_output()) return;
    const proto::RunOutput& output = message.output();
    HeardRun& run = heard[*RunId::from_raw(output.id())];
    const std::size_t stream = output.err() ? 1 : 0;
    CHECK(output.bytes().size() <= 32 * 1024);
    CHECK(output.offset() >= run.end[stream]);
    if (output.offset() > run.end[stream]) run.output[stream] += "[...]";
    run.output[stream] += output.bytes();
    run.end[stream] = output.offset() + output.bytes().size();
    run.output_behind_end |= run.ended();
  }
  void on_launcher_lost(const Error& why) override { launcher_lost = why.detail; }
  void on_ledger_broken(const Error& why) override { ledger_broken = why.detail; }

  RunNode node_;
  ExecPolicy policy_;
  pid_t launcher_ = -1;
  std::vector<RunId> offered_;
  std::vector<std::string> welcomed_;
  bool first_to_last_ = false;

 public:
  boost::asio::io_context control{1};
  std::optional<TroubledStore> store{std::in_place};
  std::map<RunId, HeardRun> heard;
  std::vector<std::string> blobs_wanted;
  std::string launcher_lost, ledger_broken;
  bool takes_output = true;
  std::optional<Runs> runs;
};

}  // namespace p2p::test
