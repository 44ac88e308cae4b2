// Scripts and inputs that are too large for an order: read on a disk thread, a few at a time.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "io/log/log.h"
#include "tracker/run_board.h"

namespace p2p {

// A node is given what a run of its own needs, and nothing else.
bool RunBoard::may_have_blob(NodeId node, const std::string& sha256) const {
  for (const auto& [id, entry] : jobs_) {
    if (entry.finished() || !entry.stored) continue;
    const auto& task = entry.offer.run();
    if (task.script_sha256() != sha256 && task.input_sha256() != sha256) continue;
    const auto run = entry.job->index_of(node);
    if (!run) continue;
    const RunState state = entry.job->runs()[*run].state;
    if (state != RunState::queued && !is_final(state)) return true;
  }
  return false;
}

void RunBoard::on_blob_wanted(NodeId node, const proto::BlobWanted& wanted) {
  const std::string& sha256 = wanted.sha256();
  if (!may_have_blob(node, sha256)) {
    proto::TrackerMessage message;
    message.mutable_blob()->set_sha256(sha256);
    message.mutable_blob()->set_unknown(true);
    return agents_.send(node, message);
  }
  blob_has_arrived(node);
  const std::pair<NodeId, std::string> one{node, sha256};
  if (std::find(blobs_wanted_.begin(), blobs_wanted_.end(), one) == blobs_wanted_.end()) {
    blobs_wanted_.push_back(one);
  }
  send_blobs();
}

void RunBoard::send_blobs() {
  while (!blobs_wanted_.empty() && !reading_blob_ && blobs_bytes_ < limits_.blobs_under_way) {
    const auto [node, sha256] = blobs_wanted_.front();
    if (last_blob_.first == sha256) {
      blobs_wanted_.pop_front();
      send_blob(node, last_blob_.second);
      continue;
    }
    reading_blob_ = true;
    disk_.post([this, sha256 = sha256] {
      auto bytes = blobs_.get(sha256);
      boost::asio::post(loop_, [this, sha256, bytes = std::move(bytes)]() mutable {
        on_blob_read(sha256, std::move(bytes));
      });
    });
  }
  if (blobs_wanted_.empty() && !reading_blob_) last_blob_ = {};
}

void RunBoard::on_blob_read(const std::string& sha256, Result<std::string> bytes) {
  reading_blob_ = false;
  last_blob_ = {};
  last_blob_.first = sha256;
  proto::Blob& blob = *last_blob_.second.mutable_blob();
  blob.set_sha256(sha256);
  if (bytes) {
    blob.set_bytes(*std::move(bytes));
  } else {
    log_error("runs", "a script or an input cannot be read", {{"why", bytes.error().detail}});
    blob.set_unknown(true);
  }
  send_blobs();
}

void RunBoard::send_blob(NodeId node, const proto::TrackerMessage& message) {
  const std::uint64_t bytes = message.blob().bytes().size();
  auto& out = blobs_out_[node];
  out.first += bytes;
  out.second = monotonic_now();
  blobs_bytes_ += bytes;
  agents_.send(node, message);
}

// The node has said something about runs since, or it has gone.
void RunBoard::blob_has_arrived(NodeId node) {
  const auto found = blobs_out_.find(node);
  if (found == blobs_out_.end()) return;
  blobs_bytes_ -= found->second.first;
  blobs_out_.erase(found);
  if (!blobs_wanted_.empty()) {
    boost::asio::post(loop_, [this] { send_blobs(); });
  }
}

}  // namespace p2p
