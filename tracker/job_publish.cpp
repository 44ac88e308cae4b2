// The part of the board that has files hashed, and takes what a publishing node says.
#include <algorithm>
#include <boost/asio/post.hpp>

#include "core/base/text.h"
#include "core/model/destination.h"
#include "io/content/manifest_codec.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_board.h"
#include "tracker/job_plan.h"

namespace p2p {
namespace {

// Manifest bodies of all nodes that are publishing at this moment.
constexpr std::size_t kMaxBodiesBytes = 256 * 1024 * 1024;
constexpr std::size_t kMaxBodiesOfNode = 64;

// Checks the manifest against its id; what of it the catalogue keeps.
Result<proto::ContentRecord> describe(const ContentId& id, const std::string& root_record,
                                      const std::string& body, const std::string& name) {
  if (!check_source_path("/" + name) || base_name_of("/" + name) != name) {
    return Error{Errc::invalid_argument, "the file's own name cannot be " + quoted(name)};
  }
  auto record = decode_root_record_of(id, root_record);
  if (!record) return record.error();
  auto manifest = decode_body_of(*record, body);
  if (!manifest) return manifest.error();
  proto::ContentRecord content;
  content.set_content_id(std::string(id.digest.view()));
  content.set_total_bytes(record->total_bytes);
  content.set_data_bytes(record->data_bytes);
  content.set_original_name(name);
  content.set_known_unix(unix_seconds(wall_now()));
  content.set_root(std::string(manifest->entries.front().tree.root.view()));
  return content;
}

}  // namespace

void JobBoard::perform_source(BoardJob& job, WallTime now) {
  for (const Job::Effect& effect : job.source->take_effects()) {
    job.changed = true;
    if (const auto* offer = std::get_if<Job::Offer>(&effect)) {
      proto::TrackerMessage message;
      *message.mutable_publish() = publish_task(job);
      agents_.send(offer->node, message);
    } else if (const auto* withdraw = std::get_if<Job::Withdraw>(&effect)) {
      proto::TrackerMessage message;
      message.mutable_cancel()->set_job(job.record.number());
      agents_.send(withdraw->node, message);
    } else if (std::holds_alternative<Job::Finished>(effect)) {
      if (job.hinting) {
        on_hints_over(job, now);
        continue;
      }
      const TaskStatus& task = job.source->tasks().front();
      if (job.record.kind() == "publish") {
        finish(job, now);
      } else if (task.state == TaskState::succeeded) {
        job.record.set_state(kRunning);
        StateBatch batch;
        put_job(job.record, batch);
        journal_.commit(std::move(batch), [this, id = JobId{job.record.number()}](const Status&) {
          const auto found = jobs_.find(id);
          if (found != jobs_.end() && !found->second.finished()) {
            begin_targets(found->second, wall_now());
          }
        });
      } else if (!job.record.cancelled()) {
        job.record.set_detail("the source could not be published: " + task.detail);
        job.targets->on_impossible(job.record.detail(), now);
      }
    }
  }
}

void JobBoard::on_body_piece(NodeId node, const proto::BodyPiece& piece) {
  const auto content = ContentId::from_raw(piece.content_id());
  if (!content) return;
  const bool publishing = std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    return !entry.second.finished() && entry.second.source && entry.second.source->index_of(node);
  });
  std::size_t held = 0;
  std::size_t of_node = 0;
  for (const auto& [key, body] : bodies_) {
    held += body.size();
    of_node += key.first == node && key.second != *content ? 1 : 0;
  }
  std::string& body = bodies_[{node, *content}];
  if (piece.offset() == 0) body.clear();
  if (!publishing || of_node >= kMaxBodiesOfNode || piece.offset() != body.size() ||
      held + piece.bytes().size() > kMaxBodiesBytes) {
    log_warn("jobs", "a piece of a manifest that fits nothing; dropped",
             {{"node", node.str()}, {"content", content->short_hex()}});
    bodies_.erase({node, *content});
    return;
  }
  body += piece.bytes();
}

void JobBoard::take_published(BoardJob& job, NodeId node, const proto::TaskUpdate& update) {
  const ContentId id = content_id_of(update.root_record());
  TaskReport report;
  report.state = TaskState::succeeded;
  report.bytes_done = update.bytes_done();
  report.bytes_total = update.bytes_total();
  report.path = utf8_prefix(update.path(), kMaxPathBytes);
  const JobId job_id{job.record.number()};
  if (job.storing) return;  // said twice
  job.storing = true;
  std::string body;
  if (const auto found = bodies_.find({node, id}); found != bodies_.end()) {
    body = std::move(found->second);
    bodies_.erase(found);
  }
  disk_.post([this, job_id, node, report, id, body = std::move(body),
              root_record = update.root_record(), name = update.original_name()]() mutable {
    auto content = describe(id, root_record, body, name);
    Status stored =
        content ? catalogue_.write_manifest(id, root_record, body) : Status(content.error());
    boost::asio::post(loop_, [this, job_id, node, report, stored = std::move(stored),
                              content = content ? *content : proto::ContentRecord{}]() mutable {
      on_manifest_stored(job_id, node, report, std::move(content), std::move(stored));
    });
  });
}

void JobBoard::on_manifest_stored(JobId id, NodeId node, TaskReport report,
                                  proto::ContentRecord content, Status stored) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second.finished() || !found->second.source) return;
  BoardJob& job = found->second;
  const WallTime now = wall_now();
  if (!stored) {
    job.storing = false;
    report.state = TaskState::failed;
    report.detail = "the tracker refused the manifest: " + stored.error().detail;
    job.source->on_report(node, report, now);
    return perform(job, now);
  }
  content.add_publishers(node.str());
  StateBatch batch;
  if (job.reserved) {
    const NodeEntry* publisher = registry_.find(node);
    catalogue_.publish(*job.reserved, content,
                       publisher == nullptr ? node.str() : publisher->record.name(), now, batch);
    job.reserved.reset();
  } else {
    catalogue_.add_content(content, batch);
  }
  job.record.set_content_id(content.content_id());
  put_job(job.record, batch);
  // The node said that it holds it before anybody here knew the content.
  const ContentId content_id = content_of(job);
  keep_waiting_hints(node, content_id, now, batch);
  const NodeEntry* holder = registry_.find(node);
  if (holder != nullptr && holder->online) {
    const Holder whole{true, content.total_bytes(), report.path};
    swarms_[content_id].on_holder(node, whole);
    note_held(node, content_id, whole);
    on_whole_holder(node, content_id);
  }
  journal_.commit(std::move(batch), [this, id, node, report](const Status& durable) {
    const auto again = jobs_.find(id);
    if (again == jobs_.end()) return;
    again->second.storing = false;
    if (again->second.finished()) return;
    TaskReport final_report = report;
    if (!durable) {
      final_report.state = TaskState::failed;
      final_report.detail = durable.error().detail;
    }
    const WallTime then = wall_now();
    again->second.source->on_report(node, final_report, then);
    perform(again->second, then);
  });
}

}  // namespace p2p
