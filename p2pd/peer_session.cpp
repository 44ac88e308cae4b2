#include "p2pd/peer_session.h"

#include <sys/uio.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "io/content/merkle.h"
#include "io/disk/file_io.h"

namespace p2p {
namespace {

// Payload handed to the connection and not yet to the kernel: what a CANCEL or a HAVE waits behind.
constexpr std::uint64_t kUnsentMax = 256 * 1024;

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

// Reads without waiting for a device; false when that is not possible or the file is too short.
bool read_if_cached(const ServeSource& source, std::uint64_t offset, std::span<std::uint8_t> into) {
  if (source.in_memory()) {
    if (offset + into.size() > source.memory.size()) return false;
    std::memcpy(into.data(), source.memory.data() + offset, into.size());
    return true;
  }
  iovec part{into.data(), into.size()};
  const ssize_t count = ::preadv2(source.file.get(), &part, 1, static_cast<off_t>(offset),
                                  source.always_cached ? 0 : RWF_NOWAIT);
  return count == static_cast<ssize_t>(into.size());
}

Error changed(const ServeSource& source) {
  return Error{Errc::corrupt, source.name + " was written to while it was served"};
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

void PeerSession::serve(ServeSourcePtr source, std::uint16_t channel, const ChunkRange& range) {
  if (closed_) return;
  serving_.push_back({std::move(source), channel, range});
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
  if (header.type == FrameType::data) return take_data(header, std::move(body));
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
  const auto range = decode_data_prefix(body.span());
  if (!range || range->offset % kBlockBytes != 0) {
    return fail(Error{Errc::corrupt, connection_->peer() + ": sent a malformed DATA frame"});
  }
  ArrivedData data;
  data.channel = header.channel;
  data.range = *range;
  data.leaves.resize((range->length + kBlockBytes - 1) / kBlockBytes);
  data.body = std::move(body);
  hash_leaves(data.payload(), data.leaves.data());
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

void PeerSession::serve_next() {
  while (!closed_ && !reading_ && !serving_.empty() && unsent_ < kUnsentMax) {
    Serving& next = serving_.front();
    const ChunkRange piece{next.rest.chunk, next.rest.offset,
                           std::min(next.rest.length, kMaxDataBytes)};
    const std::uint64_t offset = next.source->space.offset_of(piece.chunk) + piece.offset;
    constexpr std::size_t kPrefix = kFrameHeaderBytes + kDataPrefixBytes;
    Buffer frame(kPrefix + piece.length);
    if (read_if_cached(*next.source, offset, frame.span().subspan(kPrefix))) {
      // After the read: what was read before the change is right, what comes behind it is not sent.
      if (next.source->has_changed()) {
        give_up(next.source, changed(*next.source));
      } else {
        send_piece(next, piece, std::move(frame));
      }
      continue;
    }
    reading_ = true;
    auto shared = std::make_shared<Buffer>(std::move(frame));
    disk_.post([self = shared_from_this(), source = next.source, piece, offset, shared] {
      Status read = source->in_memory()
                        ? Status(Error{Errc::corrupt, source->name + ": too short"})
                        : read_exactly_at(source->file.get(), shared->span().subspan(kPrefix),
                                          offset, source->name);
      if (read && source->has_changed()) read = changed(*source);
      boost::asio::post(self->loop_, [self, source, piece, shared, read = std::move(read)] {
        self->reading_ = false;
        if (self->closed_ || self->serving_.empty()) return;
        if (!read) {
          self->give_up(source, read.error());
        } else {
          self->send_piece(self->serving_.front(), piece, std::move(*shared));
        }
        self->serve_next();
      });
    });
  }
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
    connection_->send(FrameType::cancel, serving.channel, encode_range(serving.rest), kRefusal);
  }
  if (closed_) return;
  serving_ = std::move(kept);
  events_.on_peer_sent(id_, refused);
}

void PeerSession::send_piece(const Serving& serving, const ChunkRange& piece, Buffer frame) {
  const auto header = encode_header({static_cast<std::uint32_t>(kDataPrefixBytes + piece.length),
                                     FrameType::data, 0, serving.channel});
  std::memcpy(frame.data(), header.data(), header.size());
  encode_data_prefix(piece, std::span<std::uint8_t, kDataPrefixBytes>(
                                frame.data() + kFrameHeaderBytes, kDataPrefixBytes));
  unsent_ += piece.length;
  Serving& front = serving_.front();
  front.rest.offset += piece.length;
  front.rest.length -= piece.length;
  if (front.rest.length == 0) serving_.pop_front();
  connection_->send_data(std::move(frame), piece.length);
}

}  // namespace p2p
