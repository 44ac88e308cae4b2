#include "bench/emulator/node.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/runs/exec_policy.h"
#include "io/content/merkle.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/hello.h"

namespace p2p::emulator {
namespace {

namespace asio = boost::asio;

constexpr std::uint64_t kMemory = 64ull << 30;
constexpr std::uint64_t kDisk = 1ull << 40;
constexpr std::size_t kPieceBytes = 32 * 1024;
constexpr std::uint64_t kOnTheWay = 64 * 1024;
constexpr int kReportsTogether = 200;

RunSight sight_of(const proto::RunResult& result) {
  RunSight sight;
  sight.traces.begun = true;
  sight.traces.end = result.end() == proto::RunResult::TIMED_OUT   ? RunEnd::by_timeout
                     : result.end() == proto::RunResult::CANCELLED ? RunEnd::by_cancel
                                                                   : RunEnd::by_itself;
  sight.result = result;
  return sight;
}

proto::RunReport report_of(const proto::RunRecord& record) {
  proto::RunReport report;
  report.set_id(record.id());
  report.set_job(record.job());
  report.set_state(record.state());
  report.set_text(record.text());
  report.set_has_code(record.has_code());
  report.set_code(record.code());
  report.set_signal(record.signal());
  report.set_account(record.account());
  return report;
}

bool has_ended(const proto::RunReport& report) {
  const auto state = run_state_from(report.state());
  return state && is_final(*state);
}

}  // namespace

Node::Node(const Room& room, Member member, Rng rng)
    : room_(room), member_(std::move(member)), rng_(rng), timer_(room.loop) {}

Node::~Node() = default;

void Node::connect_in(Duration pause) {
  timer_.expires_after(pause);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    if (!tls_) {
      auto tls = make_client_context(member_.credentials, {kAlpn});
      if (!tls) {
        return log_error("emulator", "a node cannot connect",
                         {{"node", member_.reply.name()}, {"why", tls.error().detail}});
      }
      tls_ = std::move(*tls);
    }
    TrackerLink::Owner& owner = *this;
    link_.emplace(room_.loop, room_.tracker, member_.reply.cluster_id(), std::uint16_t{0}, owner,
                  rng_.split());
    link_->set_context(*tls_);
    link_->start();
  });
}

void Node::drop_for(Duration pause) {
  if (!welcome_) return;
  link_.reset();
  on_tracker_down(Error{Errc::cancelled, "dropped"});
  connect_in(pause);
}

void Node::on_tracker_up() {
  proto::AgentMessage message;
  auto& hello = *message.mutable_hello();
  hello.set_version(kSoftwareVersion);
  // Nobody transfers files with it.
  hello.set_advertise("127.0.0.1:1");
  if (const auto validity = validity_of(member_.credentials.chain_pem)) {
    hello.set_certificate_expires_unix(
        static_cast<std::uint64_t>(unix_seconds(validity->not_after)));
  }
  hello.set_exec(std::string(to_string(ExecPolicy::any)));
  link_->send(message);
}

void Node::on_tracker_down(const Error&) {
  if (std::exchange(welcome_, false)) --room_.counters.connected;
  waiting_.clear();
  for (auto& [id, run] : runs_) {
    run.known = false;
    run.out.sent = run.out.taken = 0;
  }
}

void Node::on_tracker_message(const proto::TrackerMessage& message) {
  using Kind = proto::TrackerMessage::KindCase;
  switch (message.kind_case()) {
    case Kind::kWelcome: {
      if (!std::exchange(welcome_, true)) ++room_.counters.connected;
      ++room_.counters.welcomes;
      say_facts();
      proto::AgentMessage holdings;
      holdings.mutable_holdings()->set_first(true);
      holdings.mutable_holdings()->set_last(true);
      link_->send(holdings);
      report_all();
      break;
    }
    case Kind::kRun:
      take(message.run());
      break;
    case Kind::kCancelRun:
      cancel(message.cancel_run());
      break;
    case Kind::kRunKnown:
      take_known(message.run_known());
      break;
    case Kind::kOutputTaken:
      take_output_taken(message.output_taken());
      break;
    case Kind::kBlob:
      take_blob(message.blob());
      break;
    case Kind::kFigures:
      say_figures();
      break;
    case Kind::kRefusal:
      log_error("emulator", "refused by the tracker",
                {{"node", member_.reply.name()}, {"why", message.refusal().detail()}});
      if (message.refusal().removed()) link_->set_slow(true);
      break;
    default:
      break;  // of file transfers, which it takes no part in
  }
}

void Node::say_facts() {
  proto::AgentMessage message;
  auto& values = *message.mutable_facts()->mutable_values();
  values["os.id"] = "debian";
  values["os.version"] = "12";
  values["os.name"] = "Debian GNU/Linux 12 (bookworm)";
  values["kernel"] = "6.1.0-emulated";
  values["arch"] = "x86_64";
  values["cpus"] = "16";
  values["mem"] = std::to_string(kMemory);
  values["swap"] = "0";
  values["disk.sda"] = std::to_string(kDisk);
  values["hostname"] = member_.reply.name();
  const std::size_t number =
      std::stoul(member_.reply.name().substr(member_.reply.name().find('-') + 1));
  message.mutable_facts()->add_addresses("10.99." + std::to_string(number / 256) + "." +
                                         std::to_string(number % 256));
  link_->send(message);
}

void Node::say_figures() {
  proto::AgentMessage message;
  auto& figures = *message.mutable_figures();
  figures.set_memory_bytes(kMemory);
  figures.set_memory_available_bytes(kMemory / 2);
  auto& disk = *figures.add_disks();
  disk.set_mount("/");
  disk.set_total_bytes(kDisk);
  disk.set_free_bytes(kDisk / 2);
  figures.set_uptime_seconds(3600);
  figures.set_over_ms(100);
  figures.set_runs(static_cast<std::uint32_t>(runs_.size()));
  link_->send(message);
}

// ---- runs ------------------------------------------------------------------------------------

void Node::report_all() {
  proto::AgentMessage message;
  message.mutable_runs()->set_first(true);
  for (const auto& [id, run] : runs_) {
    *message.mutable_runs()->add_runs() = report_now(run);
    if (message.runs().runs_size() < kReportsTogether) continue;
    link_->send(message);
    message.mutable_runs()->Clear();
  }
  message.mutable_runs()->set_last(true);
  link_->send(message);
}

void Node::send_report(const proto::RunReport& report) {
  if (!welcome_) return;
  proto::AgentMessage message;
  *message.mutable_runs()->add_runs() = report;
  link_->send(message);
}

// A final state is said behind all output.
proto::RunReport Node::report_now(const Run& run) const {
  if (!has_ended(run.report) || run.enough || run.out.sent >= run.out.bytes.size()) {
    return run.report;
  }
  proto::RunReport report;
  report.set_id(run.report.id());
  report.set_job(run.report.job());
  report.set_account(run.report.account());
  report.set_state(std::string(to_string(RunState::running)));
  report.set_begun_unix_ms(unix_millis(run.begun));
  return report;
}

void Node::take(const proto::RunTask& task) {
  ++room_.counters.offers;
  for (const std::string* wanted : {&task.script_sha256(), &task.input_sha256()}) {
    if (wanted->empty()) continue;
    auto& waiting = waiting_[*wanted];
    waiting.push_back(task);
    if (waiting.size() > 1) return;  // asked for already
    proto::AgentMessage message;
    message.mutable_blob()->set_sha256(*wanted);
    link_->send(message);
    return;
  }
  take_whole(task);
}

void Node::take_blob(const proto::Blob& blob) {
  auto found = waiting_.extract(blob.sha256());
  if (found.empty()) return;
  for (proto::RunTask& task : found.mapped()) {
    if (blob.unknown()) {
      proto::RunReport report;
      report.set_id(task.order().id());
      report.set_job(task.job());
      report.set_state(std::string(to_string(RunState::rejected)));
      report.set_text("the tracker does not have the script or the input of this run");
      send_report(report);
      continue;
    }
    if (task.script_sha256() == blob.sha256()) {
      task.clear_script_sha256();
      task.mutable_order()->set_script(blob.bytes());
    } else {
      task.clear_input_sha256();
      task.mutable_order()->set_input(blob.bytes());
    }
    take(task);
  }
}

void Node::take_whole(proto::RunTask task) {
  const auto id = RunId::from_raw(task.order().id());
  if (!id) return;
  const auto shared = std::make_shared<const proto::RunTask>(std::move(task));
  room_.ledger.post([this, id = *id, shared](const RunLedger& ledger) -> SharedLedger::Say {
    auto answer = ledger.take({.id = id, .accepted_before = shared->accepted_before()},
                              shared->order(), shared->job(), wall_now());
    return [this, id, shared, answer = std::move(answer)](const Status& synced) {
      auto result = synced ? answer : Result<RunLedger::Answer>(synced.error());
      asio::post(room_.loop,
                 [this, id, shared, result = std::move(result)] { taken(id, *shared, result); });
    };
  });
}

void Node::taken(const RunId& id, const proto::RunTask& task,
                 const Result<RunLedger::Answer>& answer) {
  if (!answer) {
    // Only an order that is wrong is refused; of everything else nothing is known to be written.
    if (answer.error().code != Errc::invalid_argument) {
      return log_error("emulator", "a run is not taken", {{"why", answer.error().detail}});
    }
    proto::RunReport report;
    report.set_id(id.raw());
    report.set_job(task.job());
    report.set_state(std::string(to_string(RunState::rejected)));
    report.set_text(answer.error().detail);
    return send_report(report);
  }
  if (const auto known = runs_.find(id); known != runs_.end()) {
    return send_report(report_now(known->second));
  }
  if (answer->answer != OfferAnswer::begin) return send_report(report_of(answer->record));
  ++room_.counters.accepted;
  Run& run = runs_[id];
  run.report = report_of(answer->record);
  run.begun = wall_now();
  send_report(run.report);
  const auto command = fake_command(task.order(), member_.reply.name());
  if (command) {
    run.command = *command;
    return begin(id, run);
  }
  run.ending = true;
  room_.ledger.post(
      [this, id, why = command.error()](const RunLedger& ledger) -> SharedLedger::Say {
        auto record = ledger.reject(id, why);
        return [this, id, record = std::move(record)](const Status& synced) {
          if (!synced || !record) return;
          asio::post(room_.loop,
                     [this, id, record = *record] { ended(id, record, proto::RunResult()); });
        };
      });
}

void Node::begin(const RunId& id, Run& run) {
  if (run.command.takes <= Duration::zero()) {
    return end(id, result_of(run.command, run.begun, run.begun));
  }
  run.report.set_state(std::string(to_string(RunState::running)));
  run.report.set_begun_unix_ms(unix_millis(run.begun));
  send_report(run.report);
  run.timer = std::make_unique<asio::steady_timer>(room_.loop, run.command.takes);
  run.timer->async_wait([this, id](boost::system::error_code error) {
    const auto found = runs_.find(id);
    if (error || found == runs_.end()) return;
    end(id, result_of(found->second.command, found->second.begun, wall_now()));
  });
}

void Node::end(const RunId& id, proto::RunResult result) {
  Run& run = runs_.at(id);
  if (std::exchange(run.ending, true)) return;
  run.timer.reset();
  room_.ledger.post([this, id,
                     result = std::move(result)](const RunLedger& ledger) -> SharedLedger::Say {
    auto record = ledger.update(id, sight_of(result));
    return [this, id, result, record = std::move(record)](const Status& synced) {
      if (!synced || !record) {
        return log_error("emulator", "the end of a run is not written",
                         {{"why", (synced ? record.error() : synced.error()).detail}});
      }
      asio::post(room_.loop, [this, id, result, record = *record] { ended(id, record, result); });
    };
  });
}

void Node::ended(const RunId& id, const proto::RunRecord& record, const proto::RunResult& result) {
  const auto found = runs_.find(id);
  if (found == runs_.end()) return;
  ++room_.counters.ended;
  Run& run = found->second;
  run.report = report_of(record);
  run.report.set_begun_unix_ms(result.begun_unix_ms());
  run.report.set_ended_unix_ms(result.ended_unix_ms());
  *run.report.mutable_out() = result.out();
  *run.report.mutable_err() = result.err();
  if (result.end() == proto::RunResult::EXITED) run.out.bytes = run.command.out;
  pump(run);
}

void Node::pump(Run& run) {
  if (!welcome_ || !has_ended(run.report)) return;
  if (!run.enough && run.out.sent < run.out.bytes.size()) {
    if (!run.known) return;
    while (run.out.sent < run.out.bytes.size() && run.out.sent - run.out.taken < kOnTheWay) {
      const std::size_t size = std::min(kPieceBytes, run.out.bytes.size() - run.out.sent);
      proto::AgentMessage message;
      message.mutable_output()->set_id(run.report.id());
      message.mutable_output()->set_offset(run.out.sent);
      message.mutable_output()->set_bytes(run.out.bytes.substr(run.out.sent, size));
      link_->send(message);
      run.out.sent += size;
    }
    if (run.out.sent < run.out.bytes.size()) return;
  }
  send_report(run.report);
}

void Node::take_known(const proto::RunKnown& known) {
  const auto id = RunId::from_raw(known.id());
  const auto found = id ? runs_.find(*id) : runs_.end();
  if (found == runs_.end()) return;
  Run& run = found->second;
  if (known.final()) {
    if (!has_ended(run.report)) return;
    runs_.erase(found);
    room_.ledger.post([id = *id](const RunLedger& ledger) -> SharedLedger::Say {
      const Status noted = ledger.set_reported(id);
      if (!noted) log_warn("emulator", "not noted", {{"why", noted.error().detail}});
      return nullptr;
    });
    return;
  }
  if (std::exchange(run.known, true)) return;
  // Perhaps before there is any output.
  run.out.sent = run.out.taken = known.out_from();
  if (!run.out.bytes.empty()) pump(run);
}

void Node::take_output_taken(const proto::RunOutputTaken& taken) {
  const auto id = RunId::from_raw(taken.id());
  const auto found = id ? runs_.find(*id) : runs_.end();
  if (found == runs_.end() || taken.err()) return;
  Run& run = found->second;
  const bool waits = has_ended(run.report) && !run.enough && run.out.sent < run.out.bytes.size();
  run.enough = run.enough || taken.enough();
  run.out.taken = std::min(std::max(run.out.taken, taken.upto()), run.out.sent);
  if (waits) pump(run);
}

void Node::cancel(const proto::CancelRun& message) {
  const auto id = RunId::from_raw(message.id());
  if (!id) return;
  const auto found = runs_.find(*id);
  if (found != runs_.end()) {
    if (has_ended(found->second.report)) return send_report(report_now(found->second));
    return end(*id, cancelled_result(found->second.begun, wall_now()));
  }
  room_.ledger.post([this, id = *id, job = message.job()](const RunLedger& ledger) {
    auto record = ledger.find(id);
    return [this, id, job, record = std::move(record)](const Status&) {
      proto::RunReport report;
      if (record && *record) {
        report = report_of(**record);
      } else {
        report.set_id(id.raw());
        report.set_job(job);
        report.set_state(std::string(to_string(RunState::cancelled)));
        report.set_text("cancelled before this node had heard of it; nothing was started");
      }
      asio::post(room_.loop, [this, report] { send_report(report); });
    };
  });
}

}  // namespace p2p::emulator
