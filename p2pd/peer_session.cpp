#include "p2pd/peer_session.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "io/content/merkle.h"

namespace p2p {
namespace {

// Payload handed to the connection and not yet to the kernel: what a CANCEL or a HAVE waits behind.
constexpr std::uint64_t kUnsentMax = 256 * 1024;
// Stretches read before other connections of the thread get their turn: a frame of scattered bytes
// may take a thousand.
constexpr std::size_t kReadsOfTurn = 256;
constexpr std::size_t kPrefix = kFrameHeaderBytes + kDataPrefixBytes;

bool is_known(FrameType type) {
  switch (type) {
    case FrameType::hello:
    case FrameType::control:
    case FrameType::deny_list:
    case FrameType::have:
    case FrameType::offer:
    case FrameType::request:
    case FrameType::cancel:
    case FrameType::data:
    case FrameType::request_ranges:
    case FrameType::run_data:
      return true;
  }
  return false;
}

}  // namespace

void PeerSession::start(std::shared_ptr<Connection> connection) {
  connection_ = std::move(connection);
  connection_->start(this);
}

void PeerSession::send(FrameType type, std::uint16_t channel, const std::string& body,
                       std::uint8_t flags) {
  if (!closed_) connection_->send(type, channel, body, flags);
}

void PeerSession::serve(ServeSourcePtr source, std::uint16_t channel, const ChunkRange& range,
                        std::vector<ByteRange> pieces) {
  if (closed_) return;
  serving_.push_back({std::move(source), channel, range, std::move(pieces)});
  serve_next();
}

void PeerSession::close() {
  if (closed_) return;
  closed_ = true;
  serving_.clear();
  if (connection_) connection_->close();
}

void PeerSession::on_open(const std::optional<Identity>& identity) {
  if (!identity || identity->role != Role::agent) {
    return fail(Error{Errc::denied, connection_->peer() + ": the certificate is not an agent's"});
  }
  events_.on_peer_open(id_, *identity);
}

void PeerSession::on_frame(const FrameHeader& header, Buffer body) {
  const bool data = header.type == FrameType::data || header.type == FrameType::run_data;
  if (data) return take_data(header, std::move(body));
  // What a later version says is passed over here; but it does not begin with it.
  if (std::exchange(heard_, true) && !is_known(header.type)) return;
  hand_over(body.size());
  events_.on_peer_frame(id_, header, std::move(body));
}

// Without an end to what waits for the control thread, a peer that talks faster than it is listened
// to would take all memory, and the turns of all others.
void PeerSession::hand_over(std::size_t body_bytes) {
  const std::size_t cost = body_bytes + settings_.frame_cost;
  if (unhandled_.fetch_add(cost) + cost <= settings_.unhandled_max) return;
  wait_ = true;
  // It may have caught up just before it could see that we wait.
  if (unhandled_ <= settings_.unhandled_max / 2 && wait_.exchange(false)) return;
  connection_->set_reading(false);
}

void PeerSession::handled(std::size_t body_bytes) {
  const std::size_t cost = body_bytes + settings_.frame_cost;
  if (unhandled_.fetch_sub(cost) - cost > settings_.unhandled_max / 2) return;
  if (!wait_.exchange(false)) return;
  boost::asio::post(loop_, [self = shared_from_this()] {
    if (!self->closed_) self->connection_->set_reading(true);
  });
}

void PeerSession::take_data(const FrameHeader& header, Buffer body) {
  const bool of_run = header.type == FrameType::run_data;
  const auto range = of_run ? decode_run_prefix(body.span()) : decode_data_prefix(body.span());
  if (!range || (!of_run && range->offset % kBlockBytes != 0)) {
    return fail(Error{Errc::corrupt, connection_->peer() + ": sent a malformed " +
                                         (of_run ? "RUN_DATA" : "DATA") + " frame"});
  }
  ArrivedData data;
  data.channel = header.channel;
  data.range = *range;
  data.body = std::move(body);
  if (!of_run) {
    data.leaves.resize((range->length + kBlockBytes - 1) / kBlockBytes);
    hash_leaves(data.payload(), data.leaves.data());
  }
  hand_over(data.body.size());
  events_.on_peer_data(id_, std::move(data));
}

void PeerSession::on_data_sent(std::uint32_t payload_bytes) {
  unsent_ -= payload_bytes;
  events_.on_peer_sent(id_, payload_bytes);
  serve_next();
}

void PeerSession::on_closed(const Error& why) {
  if (closed_) return;
  closed_ = true;
  serving_.clear();
  events_.on_peer_closed(id_, why);
}

void PeerSession::fail(Error why) {
  if (closed_) return;
  close();
  events_.on_peer_closed(id_, std::move(why));
}

PeerSession::Part PeerSession::next_part(const Serving& serving) {
  Part part;
  part.range = serving.rest;
  part.range.length = std::min(serving.rest.length, kMaxDataBytes);
  const std::uint64_t chunk = serving.source->space.offset_of(part.range.chunk);
  if (!part.range.of_run) {
    part.reads.push_back({chunk + part.range.offset, part.range.length});
    return part;
  }
  part.next_piece = serving.next_piece;
  part.done_of_it = serving.done_of_it;
  for (std::uint64_t left = part.range.length; left > 0;) {
    const ByteRange& piece = serving.pieces[part.next_piece];
    const std::uint64_t count = std::min(left, piece.length - part.done_of_it);
    part.reads.push_back({chunk + piece.offset + part.done_of_it, count});
    part.done_of_it += count;
    left -= count;
    if (part.done_of_it < piece.length) break;
    ++part.next_piece;
    part.done_of_it = 0;
  }
  return part;
}

void PeerSession::serve_next() {
  std::size_t reads = 0;
  while (!closed_ && !reading_ && !resting_ && !serving_.empty() && unsent_ < kUnsentMax) {
    if (reads >= kReadsOfTurn) return serve_soon();
    const Serving& next = serving_.front();
    Part part = next_part(next);
    reads += part.reads.size();
    Buffer frame(kPrefix + part.range.length);
    if (!read_if_cached(*next.source, part.reads, frame.span().subspan(kPrefix))) {
      return read_on_disk(next, std::move(part), std::move(frame));
    }
    // After the read: what was read before the change is right, what comes behind it is not sent.
    if (next.source->has_changed()) {
      give_up(next.source, changed_while_served(*next.source));
    } else {
      send_part(part, std::move(frame));
    }
  }
}

void PeerSession::serve_soon() {
  resting_ = true;
  boost::asio::post(loop_, [self = shared_from_this()] {
    self->resting_ = false;
    self->serve_next();
  });
}

void PeerSession::read_on_disk(const Serving& serving, Part part, Buffer frame) {
  reading_ = true;
  auto shared = std::make_shared<std::pair<Part, Buffer>>(std::move(part), std::move(frame));
  disk_.post([self = shared_from_this(), source = serving.source, shared] {
    Status read =
        read_blocking(*source, shared->first.reads, shared->second.span().subspan(kPrefix));
    if (read && source->has_changed()) read = changed_while_served(*source);
    boost::asio::post(self->loop_, [self, source, shared, read = std::move(read)] {
      self->reading_ = false;
      if (self->closed_ || self->serving_.empty()) return;
      if (!read) {
        self->give_up(source, read.error());
      } else {
        self->send_part(shared->first, std::move(shared->second));
      }
      self->serve_next();
    });
  });
}

void PeerSession::give_up(ServeSourcePtr source, Error why) {
  refuse_all_of(source);
  events_.on_serve_failed(id_, std::move(source), std::move(why));
}

// What cannot be read is not kept waiting for, neither there nor in the accounts of this side.
void PeerSession::refuse_all_of(const ServeSourcePtr& source) {
  std::uint32_t refused = 0;
  std::deque<Serving> kept;
  for (Serving& serving : std::exchange(serving_, {})) {
    if (serving.source != source) {
      kept.push_back(std::move(serving));
      continue;
    }
    refused += serving.rest.length;
    connection_->send(FrameType::cancel, serving.channel, encode_range(serving.rest),
                      serving.rest.of_run ? kRefusal | kOfRun : kRefusal);
  }
  if (closed_) return;
  serving_ = std::move(kept);
  events_.on_peer_sent(id_, refused);
}

void PeerSession::send_part(const Part& part, Buffer frame) {
  Serving& front = serving_.front();
  const std::uint32_t length = part.range.length;
  const auto header =
      encode_header({static_cast<std::uint32_t>(kDataPrefixBytes + length),
                     part.range.of_run ? FrameType::run_data : FrameType::data, 0, front.channel});
  std::memcpy(frame.data(), header.data(), header.size());
  encode_data_prefix(part.range, std::span<std::uint8_t, kDataPrefixBytes>(
                                     frame.data() + kFrameHeaderBytes, kDataPrefixBytes));
  unsent_ += length;
  front.next_piece = part.next_piece;
  front.done_of_it = part.done_of_it;
  front.rest.offset += length;
  front.rest.length -= length;
  if (front.rest.length == 0) serving_.pop_front();
  connection_->send_data(std::move(frame), length);
}

}  // namespace p2p
