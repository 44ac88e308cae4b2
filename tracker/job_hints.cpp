// The part of the board that knows of old files: which hints are asked for, kept, and offered.
#include <algorithm>
#include <utility>

#include "core/base/text.h"
#include "core/model/destination.h"
#include "io/content/manifest_codec.h"
#include "io/log/log.h"
#include "tracker/job_board.h"
#include "tracker/job_plan.h"

namespace p2p {
namespace {

// Versions before that a receiver is told of.
constexpr std::size_t kMostOlder = 16;
// Whole holders that are looked at when hints are to be made.
constexpr std::size_t kMostMakers = 256;
constexpr std::size_t kMaxWaitingOfContent = 16;
constexpr std::size_t kMaxWaitingContents = 1000;
constexpr std::size_t kMaxInVain = 10'000;
constexpr std::chrono::seconds kMakerSilence(10);

std::string raw(const ContentId& content) {
  return std::string(content.digest.view());
}

std::optional<Digest> root_of(const proto::ContentRecord* content) {
  const auto root = content == nullptr ? std::nullopt : Digest::from_raw(content->root());
  return root && *root != Digest{} ? root : std::nullopt;
}

}  // namespace

// ---- who may start from what -------------------------------------------------------------------

const std::vector<ContentId>& JobBoard::older_of(BoardJob& job) const {
  static const std::vector<ContentId> none;
  const ContentId content = content_of(job);
  if (content == ContentId{}) return none;  // still being hashed
  if (job.older) return *job.older;
  job.older.emplace();
  std::string domain, name;
  if (const auto asked = parse_file_name(job.record.file_name())) {
    domain = asked->domain;
    name = asked->name;
  } else if (const auto* file = catalogue_.name_of(content)) {
    domain = file->domain();
    name = file->name();
  }
  for (const auto* file : catalogue_.versions_of(domain, name)) {
    const auto older = ContentId::from_raw(file->content_id());
    if (!older || *older == content || job.older->size() == kMostOlder) continue;
    if (std::find(job.older->begin(), job.older->end(), *older) == job.older->end()) {
      job.older->push_back(*older);
    }
  }
  return *job.older;
}

void JobBoard::note_held(NodeId node, const ContentId& content, const Holder& holder) {
  if (!holder.complete || holder.path.empty()) return;
  const std::string path = normal_path(holder.path);
  // A file that another one has replaced. Not while a node says all that it has: then it may name
  // both, in any order.
  for (const ContentId& other : held_at(node, path)) {
    if (other == content || !announced_.contains(node)) continue;
    on_source_lost(node, other, "replaced at the source", holder.path);
    held_paths_[node][path].erase(other);
    tell_seeds(other);
  }
  held_paths_[node][path].insert(content);
}

std::vector<ContentId> JobBoard::held_at(NodeId node, const std::string& path) const {
  std::vector<ContentId> held;
  const auto paths = held_paths_.find(node);
  if (paths == held_paths_.end()) return held;
  const auto contents = paths->second.find(path);
  if (contents == paths->second.end()) return held;
  for (const ContentId& content : contents->second) {
    const Swarm* swarm = swarm_of(content);
    if (swarm == nullptr) continue;
    const auto holder = swarm->holders().find(node);
    if (holder == swarm->holders().end() || !holder->second.complete) continue;
    if (normal_path(holder->second.path) == path) held.push_back(content);
  }
  return held;
}

// What the node has of which the new file may be made, the likeliest first.
std::vector<ContentId> JobBoard::held_before(BoardJob& job, const NodeEntry& node) const {
  std::vector<ContentId> held;
  for (const ContentId& older : older_of(job)) {
    if (may_hold_whole(node.id, older)) held.push_back(older);
  }
  const ContentId content = content_of(job);
  const auto* record = catalogue_.content(content);
  const std::string own_name =
      record == nullptr ? base_name_of(job.record.source()) : record->original_name();
  const auto resolved =
      resolve_destination(job.record.path(), node.roots, node.record.name(), own_name);
  if (!resolved) return held;
  for (const ContentId& other : held_at(node.id, absolute_path(*resolved, node.roots))) {
    if (other == content || std::find(held.begin(), held.end(), other) != held.end()) continue;
    held.push_back(other);
  }
  return held;
}

// ---- asking for hints --------------------------------------------------------------------------

HintFacts JobBoard::hint_facts(BoardJob& job) const {
  HintFacts facts;
  const ContentId content = content_of(job);
  for (const TaskStatus& task : job.targets->tasks()) {
    const NodeEntry* node = std::as_const(registry_).find(task.node);
    if (node == nullptr || is_final(task.state) || may_hold_whole(task.node, content)) continue;
    auto held = held_before(job, *node);
    if (!held.empty() || !job.record.basis().empty()) facts.candidates.push_back(std::move(held));
  }
  const auto root = root_of(catalogue_.content(content));
  if (!root) return facts;
  facts.signature =
      hints_.signature(*root) != nullptr || hints_in_vain_.contains({content, content});
  for (const auto& held : facts.candidates) {
    for (const ContentId& old : held) {
      const auto old_root = root_of(catalogue_.content(old));
      // The same bytes with other metadata, or an empty file: nobody can make a recipe of that.
      const bool no_use = !old_root || *old_root == *root;
      if (!no_use && hints_.recipe(*root, *old_root) != nullptr) facts.recipes.insert(old);
      if (no_use || hints_in_vain_.contains({content, old})) facts.in_vain.insert(old);
    }
  }
  return facts;
}

// Whole holders that are online: who has hashed it first (its hashes are kept), receivers last.
std::vector<HintFacts::Maker> JobBoard::hint_makers(const BoardJob& job,
                                                    const HintFacts& facts) const {
  const ContentId content = content_of(job);
  const Swarm* swarm = swarm_of(content);
  const auto* record = catalogue_.content(content);
  if (swarm == nullptr || record == nullptr) return {};
  std::set<ContentId> wanted;
  for (const auto& held : facts.candidates) wanted.insert(held.begin(), held.end());

  std::vector<NodeId> nodes;
  const auto add = [&](NodeId node) {
    const auto holder = swarm->holders().find(node);
    const NodeEntry* entry = std::as_const(registry_).find(node);
    if (holder == swarm->holders().end() || !holder->second.complete) return;
    if (holder->second.path.empty() || entry == nullptr || !entry->online) return;
    if (nodes.size() == kMostMakers) return;
    if (std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
  };
  for (auto it = record->publishers().rbegin(); it != record->publishers().rend(); ++it) {
    if (const auto node = NodeId::parse(*it)) add(*node);
  }
  for (const bool is_target : {false, true}) {
    for (const auto& [node, holder] : swarm->holders()) {
      if (job.targets->index_of(node).has_value() == is_target) add(node);
    }
  }
  std::vector<HintFacts::Maker> makers;
  for (const NodeId node : nodes) {
    HintFacts::Maker maker{node, {}};
    for (const ContentId& old : wanted) {
      if (may_hold_whole(node, old)) maker.holds.insert(old);
    }
    makers.push_back(std::move(maker));
  }
  return makers;
}

// True: a holder makes them first, and the targets are told after that.
bool JobBoard::ask_for_hints(BoardJob& job, WallTime now) {
  // A source that is a path was asked together with hashing it.
  if (job.record.no_delta() || job.source) return false;
  if (!root_of(catalogue_.content(content_of(job)))) return false;
  HintFacts facts = hint_facts(job);
  if (facts.candidates.empty()) return false;
  facts.makers = hint_makers(job, facts);
  job.hinting = wish_for(facts);
  if (!job.hinting) return false;
  const NodeId maker = job.hinting->maker;
  job.hinting_path = swarm_of(content_of(job))->holders().at(maker).path;
  log_info("hints", "asked for before the push",
           {{"job", JobId{job.record.number()}.str()},
            {"node", registry_.name_of(maker)},
            {"recipes", job.hinting->bases.size()},
            {"signature", job.hinting->signature}});
  TaskStatus task;
  task.node = maker;
  job.source.emplace(std::vector{task}, JobRules{}, now);
  job.record.set_state(kPreparing);
  job.hints_heard = now;
  job.source->on_node_online(maker, now);
  perform(job, now);
  return true;
}

// An agent that works says so twice a second.
void JobBoard::give_up_mute_maker(BoardJob& job, WallTime now) {
  if (now - job.hints_heard < kMakerSilence) return;
  TaskReport report;
  report.state = TaskState::failed;
  report.detail = "it has said nothing for " + std::to_string(kMakerSilence.count()) + " s";
  job.source->on_report(job.hinting->maker, report, now);
}

// What the node with the file is told: also which hints it shall make.
proto::PublishTask JobBoard::publish_task(BoardJob& job) {
  proto::PublishTask task;
  task.set_job(job.record.number());
  const std::string& source = job.record.source();
  task.set_path(job.hinting ? job.hinting_path : source.substr(source.find(":/") + 1));
  if (job.record.no_delta()) return task;
  if (job.record.kind() == "publish") {
    const auto name = parse_file_name(job.record.name());
    if (!job.record.base().empty()) {
      const auto base = parse_file_name(job.record.base());
      const auto* file = base ? catalogue_.find(*base) : nullptr;
      if (file != nullptr) task.add_bases(file->content_id());
    } else if (name) {
      for (const auto* file : catalogue_.versions_of(name->domain, name->name)) {
        if (static_cast<std::size_t>(task.bases_size()) == HintRules{}.bases) break;
        task.add_bases(file->content_id());
      }
    }
    task.set_signature(task.bases_size() > 0);
    return task;
  }
  std::optional<HintWish> wish = job.hinting;
  if (!wish) {
    HintFacts facts = hint_facts(job);
    HintFacts::Maker maker{job.source->tasks().front().node, {}};
    for (const auto& held : facts.candidates) {
      for (const ContentId& old : held) {
        if (may_hold_whole(maker.node, old)) maker.holds.insert(old);
      }
    }
    facts.makers.push_back(std::move(maker));
    wish = wish_for(facts);
  }
  if (!wish) return task;
  for (const ContentId& base : wish->bases) task.add_bases(raw(base));
  task.set_signature(wish->signature);
  return task;
}

// The content is known: all that counts is what it said of hints before this.
void JobBoard::take_hints(BoardJob& job, NodeId node, const proto::TaskUpdate& update,
                          WallTime now) {
  const ContentId hashed = content_id_of(update.root_record());
  bodies_.erase({node, hashed});
  TaskReport report;
  report.state = TaskState::succeeded;
  if (hashed != content_of(job)) {
    report.state = TaskState::failed;
    report.detail = job.hinting_path + " is not what it was";
  }
  job.source->on_report(node, report, now);
}

// Whatever became of them, the push goes on.
void JobBoard::on_hints_over(BoardJob& job, WallTime now) {
  const TaskStatus task = job.source->tasks().front();
  const HintWish wish = *std::exchange(job.hinting, std::nullopt);
  if (job.record.cancelled() || job.finished()) return;
  const ContentId content = content_of(job);
  const auto root = root_of(catalogue_.content(content));
  if (task.state != TaskState::succeeded) {
    log_warn("hints", "none were made; the push goes on without",
             {{"job", JobId{job.record.number()}.str()},
              {"node", registry_.name_of(task.node)},
              {"why", task.detail}});
  } else if (root) {
    if (hints_in_vain_.size() >= kMaxInVain) hints_in_vain_.clear();
    if (wish.signature && hints_.signature(*root) == nullptr) {
      hints_in_vain_.insert({content, content});
    }
    for (const ContentId& base : wish.bases) {
      const auto old_root = root_of(catalogue_.content(base));
      if (old_root && hints_.recipe(*root, *old_root) == nullptr) {
        hints_in_vain_.insert({content, base});
      }
    }
  }
  job.record.set_state(kRunning);
  begin_targets(job, now);
}

// ---- what is made ------------------------------------------------------------------------------

bool JobBoard::is_publishing(NodeId node) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    const BoardJob& job = entry.second;
    const auto index = job.finished() || !job.source ? std::nullopt : job.source->index_of(node);
    return index && !is_final(job.source->tasks()[*index].state);
  });
}

bool JobBoard::takes_part(NodeId node, const ContentId& content) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    const BoardJob& job = entry.second;
    return content_of(job) == content && job.targets && job.targets->index_of(node);
  });
}

void JobBoard::on_hint_made(NodeId node, const proto::HintMade& made, WallTime now) {
  const auto content = ContentId::from_raw(made.new_content());
  const bool publishing = is_publishing(node);
  const bool known = content && catalogue_.content(*content) != nullptr;
  if (!content || !(publishing || (known && takes_part(node, *content)))) {
    log_warn("hints", "a hint that nobody asked for; ignored",
             {{"node", registry_.name_of(node)},
              {"content", content ? content->short_hex() : std::string("-")}});
    return;
  }
  if (known) {
    StateBatch batch;
    keep_hint(node, made, now, batch);
    if (!batch.changes.empty()) journal_.commit(std::move(batch));
    return;
  }
  const bool room =
      waiting_hints_.size() < kMaxWaitingContents || waiting_hints_.contains({node, *content});
  if (!room || made.root_record().size() > kMaxRecordBytes) return;
  auto& waiting = waiting_hints_[{node, *content}];
  if (waiting.size() < kMaxWaitingOfContent) waiting.push_back(made);
}

// The content is in the catalogue from now on.
void JobBoard::keep_waiting_hints(NodeId node, const ContentId& content, WallTime now,
                                  StateBatch& batch) {
  const auto waiting = waiting_hints_.extract({node, content});
  if (waiting.empty()) return;
  for (const proto::HintMade& made : waiting.mapped()) keep_hint(node, made, now, batch);
}

void JobBoard::keep_hint(NodeId node, const proto::HintMade& made, WallTime now,
                         StateBatch& batch) {
  const auto content = ContentId::from_raw(made.new_content());
  const auto* file = content ? catalogue_.content(*content) : nullptr;
  const bool is_recipe = made.kind() == proto::HINT_RECIPE;
  auto record = Hints::read(made, node, now);
  Status kept = record ? Status() : Status(record.error());
  if (kept && (file == nullptr || file->root() != made.new_root())) {
    kept = Error{Errc::invalid_argument, "the root is not that of the content"};
  }
  if (kept && is_recipe &&
      (made.copied_bytes() > file->data_bytes() ||
       made.copied_bytes() < file->data_bytes() * kLeastSavedPercent / 100)) {
    kept =
        Error{Errc::invalid_argument, "it saves " + std::to_string(made.copied_bytes()) + " of " +
                                          std::to_string(file->data_bytes()) + " bytes of data"};
    // The two have nothing in common: a push need not find that out again.
    const auto old = ContentId::from_raw(made.old_content());
    if (old && catalogue_.content(*old) != nullptr && hints_in_vain_.size() < kMaxInVain) {
      hints_in_vain_.insert({*content, *old});
    }
  }
  if (kept) kept = hints_.add(*std::move(record), catalogue_, batch);
  log_info("hints", kept ? "kept" : "a hint is not kept",
           {{"node", registry_.name_of(node)},
            {"kind", is_recipe ? "recipe" : "signature"},
            {"content", content ? content->short_hex() : std::string("-")},
            {"bytes", made.bytes()},
            {"copied", made.copied_bytes()},
            {"why", kept ? std::string() : kept.error().detail}});
}

void JobBoard::on_hint_blame(NodeId node, const proto::HintBlame& blame) {
  const auto hint = ContentId::from_raw(blame.hint());
  const auto content = ContentId::from_raw(blame.new_content());
  const auto* record = hint ? hints_.find(*hint) : nullptr;
  const auto* file = content ? catalogue_.content(*content) : nullptr;
  if (record == nullptr || file == nullptr || file->root() != record->new_root()) return;
  if (!takes_part(node, *content)) {
    log_warn("hints", "blamed by a node that is not concerned; ignored",
             {{"node", registry_.name_of(node)}, {"content", content->short_hex()}});
    return;
  }
  const auto maker = NodeId::parse(record->maker());
  const std::string maker_name = maker ? registry_.name_of(*maker) : record->maker();
  StateBatch batch;
  const bool dropped = hints_.blame(*hint, node, batch).has_value();
  if (!batch.changes.empty()) journal_.commit(std::move(batch));
  log_warn("hints",
           dropped ? "dropped: it led too many nodes to wrong bytes" : "led to wrong bytes",
           {{"maker", maker_name},
            {"hint", hint->short_hex()},
            {"content", content->short_hex()},
            {"node", registry_.name_of(node)},
            {"reason", printable(blame.reason())}});
}

// ---- what is offered ---------------------------------------------------------------------------

// Recipes from what the node holds, the signature, and where to look for old files. The makers are
// members: they serve what they made.
void JobBoard::add_hints(BoardJob& job, const NodeEntry& node, proto::PushTask& push,
                         std::vector<Swarm::Member>& members) {
  push.set_no_delta(job.record.no_delta());
  push.set_no_reflink(job.record.no_reflink());
  if (job.record.no_delta()) return;
  const ContentId content = content_of(job);
  const auto* record = catalogue_.content(content);
  if (!job.record.basis().empty()) {
    const auto basis = resolve_basis(job.record.basis(), node.shares, node.roots,
                                     node.record.name(), record->original_name());
    // The node says what is wrong with it.
    push.set_basis(basis ? *basis : job.record.basis());
  }
  for (const ContentId& older : older_of(job)) push.add_older(raw(older));
  for (const ContentId& held : held_before(job, node)) {
    const auto& listed = push.older();
    if (std::find(listed.begin(), listed.end(), held.digest.view()) == listed.end()) {
      push.add_older(raw(held));
    }
  }
  const auto root = root_of(record);
  if (!root) return;
  for (const proto::HintRecord* known : hints_.of(*root)) {
    const auto old = ContentId::from_raw(known->old_content());
    const bool is_recipe = known->kind() == proto::HINT_RECIPE;
    // Each needs a ticket of its own, which thousands of nodes without the old file would not use.
    if (is_recipe && (!old || !may_hold_whole(node.id, *old))) continue;
    auto ticket = tickets_.issue(node.id, content_id_of(known->root_record()), wall_now());
    if (!ticket) continue;
    proto::Hint& hint = *push.add_hints();
    hint.set_kind(is_recipe ? proto::HINT_RECIPE : proto::HINT_SIGNATURE);
    hint.set_old_root(known->old_root());
    hint.set_old_content(known->old_content());
    hint.set_root_record(known->root_record());
    hint.set_ticket(*std::move(ticket));
    const auto* file = old ? catalogue_.name_of(*old) : nullptr;
    if (file != nullptr) {
      hint.set_old_name(file->domain() + "/" + file->name() + "@" + file->version());
    }
    const auto maker = NodeId::parse(known->maker());
    const bool member = !maker || std::any_of(members.begin(), members.end(),
                                              [&](const auto& m) { return m.node == *maker; });
    if (!member) members.push_back({*maker, may_hold_whole(*maker, content)});
  }
}

}  // namespace p2p
