// Making exec jobs: what is checked, and what is stored before any agent hears of one.
#include "tracker/run_plan.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <set>
#include <utility>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/node_set.h"
#include "core/model/place.h"
#include "io/content/merkle.h"
#include "io/log/log.h"
#include "io/run/run_order.h"

namespace p2p {
namespace {

constexpr std::uint64_t kDefaultTimeoutMs = 2 * 3600 * 1000;
constexpr std::uint32_t kDefaultUmask = 022;
constexpr std::size_t kMaxExecInputBytes = 512 * 1024;
// Orders wait in memory for thousands of nodes at once: what is larger is a script, or its input.
constexpr std::size_t kMaxExecWordsBytes = 64 * 1024;
constexpr std::size_t kShownCommandBytes = 4096;
constexpr std::size_t kMaxFoldedBytes = 4096;
constexpr std::size_t kMaxTargetsBytes = kMaxRecordBytes / 2;

Error bad(std::string why) {
  return {Errc::invalid_argument, std::move(why)};
}

Status check_spec(const proto::ExecSpec& spec) {
  if (!spec.retry_of().empty()) return bad("retry_of: use POST /v1/jobs/{id}/retry");
  if (spec.script().empty() && (spec.command().empty() || spec.command(0).empty())) {
    return bad("nothing to run: name a command, or a script");
  }
  if (spec.targets().empty()) return bad("no targets: name nodes with --to; '*' is all of them");
  if (spec.targets().size() > kMaxTargetsBytes) {
    return bad("targets of more than 16 KiB: select nodes by ranges, groups or labels");
  }
  if (spec.input().size() > kMaxExecInputBytes) {
    return bad("standard input of more than 512 KiB: push a file to the nodes, and read it there");
  }
  std::size_t words = 0;
  for (const std::string& word : spec.command()) words += word.size() + 1;
  for (const std::string& word : spec.environment()) words += word.size() + 1;
  if (words > kMaxExecWordsBytes) {
    return bad(
        "more than 64 KiB of arguments and environment: put them into the script or its "
        "standard input");
  }
  return {};
}

void set_rollout(const proto::Rollout& rollout, proto::RolloutRecord& record) {
  record.set_waves(rollout.waves());
  record.set_window(rollout.window());
  record.set_pause_between_ms(rollout.pause_between_ms());
  record.set_max_fail(rollout.max_fail());
  record.set_on_max_fail(rollout.on_max_fail());
  record.set_order(rollout.order());
  record.set_offline(rollout.offline());
  record.set_ttl_seconds(rollout.ttl_seconds());
}

void set_command(const google::protobuf::RepeatedPtrField<std::string>& command,
                 proto::ExecRecord& record) {
  std::size_t room = kShownCommandBytes;
  for (const std::string& word : command) {
    if (room == 0) return;
    const std::string shown = printable(word, room);
    record.add_command(shown);
    room -= std::min(room, shown.size() + 1);
  }
}

Result<std::uint64_t> timeout_of(const proto::ExecSpec& spec, const proto::AccountRecord& account) {
  const std::uint64_t most = account.wall_ms();
  if (spec.timeout_ms() == 0)
    return most == 0 ? kDefaultTimeoutMs : std::min(most, kDefaultTimeoutMs);
  if (most > 0 && spec.timeout_ms() > most) {
    return bad("--timeout: runs as " + account.name() + " have at most " +
               format_duration(std::chrono::milliseconds(most)));
  }
  return spec.timeout_ms();
}

// All of the order but script, input and id.
Status set_order(const proto::ExecSpec& spec, const proto::AccountRecord& account,
                 proto::RunOrder& order) {
  for (const std::string& word : spec.command()) order.add_arguments(word);
  order.set_is_script(!spec.script().empty());
  order.set_account(account.user());
  order.set_folder(spec.folder().empty() ? account.folder() : spec.folder());
  // Later ones win.
  for (const std::string& variable : account.environment()) order.add_environment(variable);
  for (const std::string& variable : spec.environment()) order.add_environment(variable);
  order.set_umask(account.umask() == 0 ? kDefaultUmask : account.umask());
  order.mutable_limits()->set_cpu_seconds(account.cpu_seconds());
  order.mutable_limits()->set_memory_bytes(account.memory_bytes());
  order.mutable_limits()->set_processes(account.processes());
  order.mutable_limits()->set_open_files(account.open_files());
  order.mutable_limits()->set_file_bytes(account.file_bytes());
  const auto timeout = timeout_of(spec, account);
  if (!timeout) return timeout.error();
  order.set_timeout_ms(*timeout);
  order.set_grace_ms(spec.grace_ms() == 0 ? kDefaultGraceMs : spec.grace_ms());
  order.set_keep_bytes(spec.keep_bytes() == 0 ? kDefaultKeepBytes : spec.keep_bytes());
  proto::RunOrder checked = order;
  checked.set_id(RunId::make(WallTime{}, {}).raw());
  return check_run_order(checked);
}

// A retry takes the order as it was, with the account's user, limits and folder in it.
Status check_unchanged(const proto::ExecRecord& job, const proto::AccountRecord& account) {
  if (job.account_changed_unix_ms() == account.changed_unix_ms()) return {};
  return bad("account " + job.account() + " was changed after job " + JobId{job.number()}.str() +
             " was made, and a retry repeats what was ordered then: run it anew with p2pctl exec "
             "or p2pctl script run, on the nodes that p2pctl job show " +
             JobId{job.number()}.str() + " names");
}

std::set<RunState> states_of(const proto::RetryRequest& request, bool& failed_too, Status& status) {
  std::set<RunState> states;
  for (const std::string& name : request.only()) {
    const auto state = name == "timed_out" ? RunState::timed_out : run_state_from(name);
    if (name == "failed") {
      failed_too = true;
    } else if (state && is_final(*state)) {
      states.insert(*state);
    } else {
      status = bad("--only " + quoted(name, 40) +
                   ": name states in which runs end: failed, exited, rejected, undeliverable, "
                   "expired, timed_out, cancelled, lost, skipped");
    }
  }
  return states;
}

}  // namespace

std::string fold_targets(const std::vector<RunStatus>& runs, const Registry& registry) {
  std::vector<std::string> names;
  names.reserve(runs.size());
  for (const RunStatus& run : runs) names.push_back(registry.name_of(run.node));
  return fold_names(std::move(names), kMaxFoldedBytes).str();
}

bool set_order(BoardExec& entry, const std::string& order_bytes) {
  const std::string& known = entry.record.order_sha256();
  if (sha256(order_bytes).view() != known) return false;
  if (!entry.offer.mutable_run()->ParseFromString(order_bytes)) return false;
  entry.offer.mutable_run()->set_job(entry.record.number());
  const proto::RunOrder& order = entry.offer.run().order();
  const std::uint64_t longest = order.timeout_ms() == 0 ? 0 : order.timeout_ms() + order.grace_ms();
  entry.job->set_longest(std::chrono::milliseconds(longest));
  return true;
}

// Whether the caller may use it, before anything else is looked at; then whether it may be used on
// these nodes.
Status RunBoard::check_account(const std::string& name, const Caller& caller,
                               const std::vector<NodeId>& nodes,
                               proto::AccountRecord& account) const {
  if (name.empty()) {
    if (caller.admin) return {};
    return Error{
        Errc::denied,
        "name an account with --as: only administrators may leave it to each node's owner"};
  }
  auto usable = accounts_.usable(name, caller);
  if (!usable) return usable.error();
  account = *std::move(usable);
  if (account.nodes().empty() || nodes.empty()) return {};
  const auto allowed = registry_.resolve(account.nodes());
  if (!allowed)
    return allowed.error().within("account " + name + " may be used on " + account.nodes());
  const std::set<NodeId> among(allowed->begin(), allowed->end());
  std::vector<std::string> others;
  for (const NodeId node : nodes) {
    if (!among.contains(node)) others.push_back(registry_.name_of(node));
  }
  if (others.empty()) return {};
  return Error{Errc::denied, "account " + name + " may be used on " + account.nodes() +
                                 " only, not on " + fold_names(std::move(others), 300).str()};
}

std::vector<NodeId> RunBoard::in_order(std::vector<NodeId> nodes, const std::string& order) {
  if (order == "random") {
    rng_.shuffle(nodes);
  } else if (order == "rack-spread") {
    std::vector<std::string> racks;
    for (const NodeId node : nodes) {
      const NodeEntry* entry = registry_.find(node);
      racks.push_back(entry == nullptr ? std::string()
                                       : rack_of({entry->record.labels().begin(),
                                                  entry->record.labels().end()}));
    }
    std::vector<NodeId> spread;
    for (const std::size_t i : spread_over_racks(racks)) spread.push_back(nodes[i]);
    nodes = std::move(spread);
  }
  return nodes;
}

std::vector<RunStatus> RunBoard::freeze(const std::vector<NodeId>& nodes, WallTime now) {
  std::vector<RunStatus> runs(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    runs[i].node = nodes[i];
    std::array<std::uint8_t, 16> random;
    const std::uint64_t draws[2] = {rng_.next(), rng_.next()};
    std::memcpy(random.data(), draws, sizeof draws);
    runs[i].id = RunId::make(now, random);
  }
  return runs;
}

Result<RunBoard::Plan> RunBoard::plan(const proto::ExecSpec& spec, const Caller& caller,
                                      WallTime now) {
  Plan plan;
  proto::AccountRecord account;
  // Who may not use an account learns nothing of what it could be used for.
  if (Status usable = check_account(spec.account(), caller, {}, account); !usable) {
    return usable.error();
  }
  if (Status checked = check_spec(spec); !checked) return checked.error();
  if (!spec.script().empty()) {
    const auto script = scripts_.find(spec.script());
    if (!script) return script.error();
    plan.script_sha256 = script->sha256();
    plan.record.set_script_sha256(script->sha256());
    plan.record.set_script_name(script->name() + "@" + std::to_string(script->version()));
  }
  if (Status set = set_order(spec, account, *plan.task.mutable_order()); !set) return set.error();
  set_rollout(spec.rollout(), *plan.record.mutable_rollout());
  auto rules = exec_rules_of(plan.record.rollout());
  if (!rules) return rules.error();
  plan.rules = *std::move(rules);

  auto nodes = registry_.resolve(spec.targets());
  if (!nodes) return nodes.error();
  if (nodes->size() > kMaxRunsOfJob) {
    return bad("a job has at most " + std::to_string(kMaxRunsOfJob) + " targets, these are " +
               std::to_string(nodes->size()));
  }
  if (Status allowed = check_account(spec.account(), caller, *nodes, account); !allowed) {
    return allowed.error();
  }
  plan.runs = freeze(in_order(*std::move(nodes), spec.rollout().order()), now);
  plan.input = spec.input();
  plan.record.set_targets(spec.targets());
  plan.record.set_account(spec.account());
  plan.record.set_account_changed_unix_ms(account.changed_unix_ms());
  set_command(spec.command(), plan.record);
  plan.record.set_timeout_ms(plan.task.order().timeout_ms());
  return plan;
}

Result<RunBoard::Plan> RunBoard::plan_retry(const BoardExec& old,
                                            const proto::RetryRequest& request,
                                            const Caller& caller, WallTime now) {
  // Before the account: its name is not for everybody.
  if (Status visible = may_look(old, caller); !visible) return visible.error();
  proto::AccountRecord account;
  if (Status usable = check_account(old.record.account(), caller, {}, account); !usable) {
    return usable.error();
  }
  if (Status same = check_unchanged(old.record, account); !same) return same.error();
  bool failed_too = false;
  Status named;
  const std::set<RunState> states = states_of(request, failed_too, named);
  if (!named) return named.error();
  const std::string id = JobId{old.record.number()}.str();
  std::vector<NodeId> nodes;
  for (const RunStatus& run : old.job->runs()) {
    const bool good = run.state == RunState::exited && !is_failure(run);
    const bool failed = run.state == RunState::exited && !good;
    const bool chosen = request.only().empty()
                            ? is_final(run.state) && !good
                            : states.contains(run.state) || (failed_too && failed);
    if (chosen && registry_.find(run.node) != nullptr) nodes.push_back(run.node);
  }
  if (nodes.empty()) {
    return bad("nothing to repeat: no target of job " + id +
               " that is still in the cluster has ended like that");
  }
  if (Status allowed = check_account(old.record.account(), caller, nodes, account); !allowed) {
    return allowed.error();
  }
  Plan plan;
  plan.record = old.record;
  for (const auto clear : {&proto::ExecRecord::clear_finished_unix_ms,
                           &proto::ExecRecord::clear_cancelled, &proto::ExecRecord::clear_detail}) {
    (plan.record.*clear)();
  }
  set_memory(Rollout::Memory{}, *plan.record.mutable_rollout());
  auto rules = exec_rules_of(plan.record.rollout());
  if (!rules) return rules.error();
  plan.rules = *std::move(rules);
  plan.runs = freeze(nodes, now);
  plan.record.set_retry_of(old.record.number());
  plan.record.set_targets(fold_targets(plan.runs, registry_));
  plan.order_of = old.record.number();
  return plan;
}

void RunBoard::create(const proto::ExecSpec& spec, const Caller& caller, bool dry_run, WallTime now,
                      Done done) {
  auto planned = plan(spec, caller, now);
  if (!planned) return done(planned.error());
  planned->record.set_created_by(caller.name);
  planned->record.set_created_by_id(caller.id);
  make(*std::move(planned), dry_run, now, std::move(done));
}

void RunBoard::retry(JobId id, const proto::RetryRequest& request, const Caller& caller,
                     WallTime now, Done done) {
  const BoardExec* old = find(id);
  if (old == nullptr) return done(Error{Errc::not_found, "no job " + id.str()});
  auto planned = plan_retry(*old, request, caller, now);
  if (!planned) return done(planned.error());
  planned->record.set_created_by(caller.name);
  planned->record.set_created_by_id(caller.id);
  make(*std::move(planned), /*dry_run=*/false, now, std::move(done));
}

void RunBoard::make(Plan planned, bool dry_run, WallTime now, Done done) {
  auto plan = std::make_shared<Plan>(std::move(planned));
  plan->record.set_number(dry_run ? 0 : numbers_.next());
  plan->record.set_created_unix_ms(unix_millis(now));
  plan->record.set_target_count(static_cast<std::uint32_t>(plan->runs.size()));
  if (plan->order_of != 0) repeated_.insert(plan->order_of);
  disk_.post([this, plan, dry_run, done = std::move(done)]() mutable {
    Status prepared;
    if (plan->order_of != 0) {
      auto bytes = files_.read_order(plan->order_of);
      if (!bytes) {
        prepared = bytes.error();
      } else if (sha256(*bytes).view() != plan->record.order_sha256()) {
        prepared = Error{Errc::corrupt, "the order of job " + JobId{plan->order_of}.str() +
                                            " is damaged on the tracker's disk: run it anew"};
      } else {
        plan->order_bytes = *std::move(bytes);
      }
    } else {
      prepared = complete_order(*plan, blobs_, dry_run);
    }
    if (prepared && !dry_run) {
      prepared = files_.write_order(plan->record.number(), plan->order_bytes);
    }
    boost::asio::post(loop_, [this, plan, dry_run, prepared, done = std::move(done)] {
      if (plan->order_of != 0) repeated_.extract(plan->order_of);
      if (!prepared) return done(prepared.error());
      if (!dry_run) return store_made(plan, done);
      const BoardExec shown = board_form(*plan, wall_now());
      done(&shown);
    });
  });
}

// Script and input, or their names. On a disk thread.
Status RunBoard::complete_order(Plan& plan, const Blobs& blobs, bool dry_run) {
  proto::RunOrder& order = *plan.task.mutable_order();
  if (!plan.script_sha256.empty()) {
    auto script = blobs.get(plan.script_sha256);
    if (!script) return script.error().within("script " + plan.record.script_name());
    if (script->size() <= kMaxInlineBytes) {
      order.set_script(*std::move(script));
    } else {
      plan.task.set_script_sha256(plan.script_sha256);
    }
  }
  if (plan.input.size() <= kMaxInlineBytes) {
    order.set_input(plan.input);
  } else {
    std::string hash(sha256(plan.input).view());
    if (!dry_run) {
      auto put = blobs.put(plan.input);
      if (!put) return put.error();
    }
    plan.record.set_input_sha256(hash);
    plan.task.set_input_sha256(std::move(hash));
  }
  plan.order_bytes = plan.task.SerializeAsString();
  plan.record.set_order_sha256(std::string(sha256(plan.order_bytes).view()));
  return {};
}

BoardExec RunBoard::board_form(const Plan& plan, WallTime now) const {
  BoardExec entry;
  entry.record = plan.record;
  ExecRules rules = plan.rules;
  rules.patient_until = patient_until_;
  entry.folded = fold_targets(plan.runs, registry_);
  entry.job.emplace(plan.runs, rules, Rollout::Memory{}, false, now);
  return entry;
}

// Pages first, the head last: a crash in between leaves no job, rather than one without targets.
void RunBoard::store_made(std::shared_ptr<Plan> plan, Done done) {
  const WallTime now = wall_now();
  const std::uint64_t number = plan->record.number();
  BoardExec& entry = jobs_[JobId{number}];
  entry = board_form(*plan, now);
  const bool good = set_order(entry, plan->order_bytes);
  P2P_CHECK(good);
  entry.log.file = std::make_shared<OutputLog>(files_.output_path(number));
  entry.log.streams.resize(plan->runs.size());
  entry.known_told.assign(plan->runs.size(), false);
  for (std::size_t i = 0; i < plan->runs.size(); ++i) {
    const RunStatus& run = plan->runs[i];
    places_[run.id] = {number, i};
    const NodeEntry* node = registry_.find(run.node);
    if (node == nullptr) {
      entry.job->on_node_removed(run.node, now);
    } else if (ready_.contains(run.node)) {
      entry.job->on_node_online(run.node, now);
    } else if (node->online) {
      entry.job->on_node_coming(run.node, now);
    } else if (node->last_seen != WallTime{} ||
               from_unix_seconds(node->record.enrolled_unix()) >= started_) {
      entry.job->on_node_seen(run.node);
    }
  }
  // Whose turn it is now is stored as offered at once, and sent when that is done.
  perform(entry, now);
  entry.first_offers = std::exchange(entry.offers, {});
  store(entry, WithHead::no, nullptr);
  set_memory(entry.job->rollout().memory(), *entry.record.mutable_rollout());
  entry.stored_memory = entry.job->rollout().memory();
  StateBatch head;
  put_exec(entry.record, head);
  std::function<void()> take_back;
  if (made_) take_back = made_(entry, head);
  journal_.commit(std::move(head),
                  [this, number, take_back, upto = entry.stored_changes, end = entry.finished(),
                   done = std::move(done)](const Status& stored) {
                    BoardExec& durable = jobs_.at(JobId{number});
                    if (!stored) {
                      if (take_back) take_back();
                      for (const RunStatus& run : durable.job->runs()) places_.erase(run.id);
                      jobs_.erase(JobId{number});
                      return done(stored.error());
                    }
                    durable.stored = true;
                    durable.end_stored = end;
                    if (end) keep(durable.record);
                    tell_decided(durable, upto);
                    log_info("runs", "job begins",
                             {{"job", JobId{number}.str()},
                              {"targets", durable.folded},
                              {"account", durable.record.account()},
                              {"script", durable.record.script_name()},
                              {"by", durable.record.created_by()}});
                    const WallTime begun = wall_now();
                    // Those that came up since the pages went to the store wait for theirs.
                    send_offers(durable, std::exchange(durable.first_offers, {}), begun);
                    perform(durable, begun);
                    done(&durable);
                  });
}

}  // namespace p2p
