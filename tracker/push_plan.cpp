// What a push would cost each node, as far as the tracker knows. Changes nothing.
#include <algorithm>
#include <utility>

#include "tracker/job_board.h"
#include "tracker/job_plan.h"

namespace p2p {

Result<proto::PushPlan> JobBoard::push_plan(const proto::PushSpec& spec, WallTime now) const {
  auto source = parse_source(spec.source());
  if (!source) return source.error();
  if (std::holds_alternative<NodePath>(*source)) {
    return Error{Errc::invalid_argument,
                 "plan " + spec.source() +
                     ": what is not hashed yet cannot be compared: publish it first, and give its "
                     "name"};
  }
  Plan made;
  made.only_looks = true;
  if (Status planned = plan_known(spec, *source, made, now); !planned) return planned.error();
  BoardJob& job = made.job;
  const ContentId content = content_of(job);
  const proto::ContentRecord& record = *catalogue_.content(content);
  proto::PushPlan plan;
  plan.set_content_id(content.hex());
  plan.set_file_name(job.record.file_name());
  if (plan.file_name().empty() && catalogue_.name_of(content) != nullptr) {
    plan.set_file_name(shown_name(content));
  }
  plan.set_data_bytes(record.data_bytes());
  for (const TaskStatus& task : job.targets->tasks()) {
    const NodeEntry& node = *std::as_const(registry_).find(task.node);
    proto::NodePlan& entry = *plan.add_nodes();
    entry.set_node(node.record.name());
    entry.set_online(node.online);
    plan_node(job, node, entry);
    plan.set_fetch_bytes(plan.fetch_bytes() + entry.fetch_bytes());
  }
  return plan;
}

void JobBoard::plan_node(BoardJob& job, const NodeEntry& node, proto::NodePlan& plan) const {
  const ContentId content = content_of(job);
  const proto::ContentRecord& record = *catalogue_.content(content);
  if (may_hold_whole(node.id, content)) {
    plan.set_exact(true);
    plan.set_basis("has it already");
    return;
  }
  plan.set_fetch_bytes(record.data_bytes());
  if (job.record.no_delta()) {
    plan.set_exact(true);
    plan.set_basis("old files are not looked at");
    return;
  }
  const std::vector<ContentId> held = held_before(job, node);
  const auto root = Digest::from_raw(record.root());
  // The one that saves most comes first.
  for (const proto::HintRecord* hint : root ? hints_.of(*root) : decltype(hints_.of(*root)){}) {
    const auto old = ContentId::from_raw(hint->old_content());
    if (!old || std::find(held.begin(), held.end(), *old) == held.end()) continue;
    plan.set_fetch_bytes(record.data_bytes() - std::min(record.data_bytes(), hint->copied_bytes()));
    plan.set_exact(true);
    plan.set_basis(shown_name(*old) + ", by recipe");
    return;
  }
  const bool has_signature = root && hints_.signature(*root) != nullptr;
  const std::string tells =
      has_signature ? ": at most, a signature will tell"
                    : ", no recipe yet: at most, one is made when the push begins if it can be";
  if (!job.record.basis().empty()) {
    plan.set_basis(job.record.basis() + ": at most, what is in it is not known here");
  } else if (!held.empty()) {
    plan.set_basis("holds " + shown_name(held.front()) + tells);
  } else {
    plan.set_basis("no older version");
  }
}

}  // namespace p2p
