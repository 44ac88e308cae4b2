// Frames, and the protobuf messages in them, of agents and trackers.
#include <algorithm>
#include <string>

#include "core/base/check.h"
#include "core/model/manifest.h"
#include "io/config/config.h"
#include "io/wire/frames.h"
#include "io/wire/hello.h"
#include "p2pd/channels.h"
#include "proto/control.pb.h"
#include "proto/peer.pb.h"
#include "tests/fuzz/target.h"

namespace p2p::fuzz {
namespace {

bool same(std::string_view encoded, Bytes body) {
  return encoded == text_of(body);
}

void run_run_request(Bytes body) {
  const auto request = decode_run_request(body);
  if (!request) return;
  P2P_CHECK(same(encode_run_request(request->run, request->pieces), body));
  P2P_CHECK(request->run.of_run && request->run.end() > request->run.offset);
  P2P_CHECK(request->run.end() <= kMaxChunkBytes && request->run.length <= kMaxRequestBytes);
  P2P_CHECK(!request->pieces.empty() && request->pieces.size() <= kMaxRequestRanges);
  std::uint64_t end = 0;
  std::uint64_t sum = 0;
  for (const ByteRange& piece : request->pieces) {
    P2P_CHECK(piece.offset >= end && piece.length > 0);
    end = piece.end();
    sum += piece.length;
  }
  P2P_CHECK(end <= kMaxChunkBytes && sum == request->run.length);
}

std::vector<std::string> run_request_seeds() {
  const auto encoded = [](std::uint32_t offset, const std::vector<ByteRange>& pieces) {
    return encode_run_request({ChunkIndex{3}, offset, 0, /*of_run=*/true}, pieces);
  };
  std::vector<ByteRange> dense;
  for (std::uint64_t i = 0; i < kMaxRequestRanges; ++i) dense.push_back({8192 * i + 100, 16});
  const std::vector<ByteRange> pages = {{0, 4096}, {65536, 8192}, {kMaxChunkBytes - 1, 1}};
  const std::vector<ByteRange> one = {{0, 1}};
  const std::vector<ByteRange> most = {{77, kMaxRequestBytes}};
  return {encoded(0, dense), encoded(123'457, pages), encoded(kMaxChunkBytes / 2, most),
          encoded(0, one) + std::string("\x80\x80\x80\x80\x10\1", 6)};
}

void run_body(const FrameHeader& header, Bytes body) {
  // What a body says must be what it was made of, whatever it is called.
  if (const auto runs = decode_have(body)) P2P_CHECK(same(encode_have(*runs), body));
  if (const auto range = decode_range(body)) {
    P2P_CHECK(range->length > 0 && range->length <= kMaxRequestBytes);
    P2P_CHECK(range->end() > range->offset && same(encode_range(*range), body));
  }
  run_run_request(body);
  if (const auto offer = decode_offer(body)) P2P_CHECK(same(encode_offer(*offer), body));
  if (const auto range = decode_data_prefix(body)) {
    P2P_CHECK(range->length == body.size() - kDataPrefixBytes && range->end() > range->offset);
    const auto of_run = decode_run_prefix(body);
    P2P_CHECK(of_run.has_value() == (range->length <= kMaxDataBytes));
    P2P_CHECK(!of_run || (of_run->of_run && of_run->end() == range->end()));
  }
  if (header.type == FrameType::hello) {
    const auto hello = read_hello(body);
    P2P_CHECK(hello || !hello.error().detail.empty());
  }
}

// A connection's bytes as frames one after the other, as Connection cuts them.
void run_frames(Bytes input) {
  while (input.size() >= kFrameHeaderBytes) {
    const FrameHeader header = decode_header(input.first<kFrameHeaderBytes>());
    const auto again = encode_header(header);
    P2P_CHECK(std::equal(again.begin(), again.end(), input.begin()));
    input = input.subspan(kFrameHeaderBytes);
    if (header.length > kMaxFrameBytes) return;
    const Bytes body = input.first(std::min<std::size_t>(header.length, input.size()));
    run_body(header, body);
    input = input.subspan(body.size());
  }
}

std::string frame(FrameType type, const std::string& body, std::uint8_t flags = 0) {
  const auto header = encode_header({static_cast<std::uint32_t>(body.size()), type, flags, 1});
  return std::string(header.begin(), header.end()) + body;
}

std::vector<std::string> frame_seeds() {
  const ChunkRange range{ChunkIndex{3}, 64 * 1024, 128 * 1024};
  const std::vector<ChunkRun> runs = {{0, 7}, {9, 1}};
  const std::string have = frame(FrameType::have, encode_have(runs));
  const std::string request = frame(FrameType::request, encode_range(range));
  const std::string ranges = frame(FrameType::request_ranges, run_request_seeds()[1]);
  return {have + request,
          ranges + have,
          frame(FrameType::cancel, encode_range(range), kRefusal),
          frame(FrameType::offer, encode_offer({5, 1000})) + have,
          frame(FrameType::data, std::string("\1\0\0\0\0\100\0\0", 8) + std::string(100, 'x')),
          frame(FrameType::run_data, std::string("\1\0\0\0\7\100\0\0", 8) + std::string(100, 'x')),
          frame(FrameType::cancel, encode_range(range), kRefusal | kOfRun),
          frame(FrameType::hello, make_hello(7402).SerializeAsString())};
}

// A stream of messages of one agent, each one behind its length: what the mesh does with them
// before it decides anything.
void run_peer_messages(Bytes input) {
  PeerChannels channels;
  while (!input.empty()) {
    const std::size_t length = std::min<std::size_t>(input.front(), input.size() - 1);
    const Bytes body = input.subspan(1, length);
    input = input.subspan(1 + length);
    proto::PeerMessage message;
    if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) return;
    if (message.has_open()) {
      const auto& open = message.open();
      const auto content = ContentId::from_raw(open.content_id());
      if (!content || open.channel() == 0 || open.channel() > 0xffff) return;
      const SpaceKey space{*content, open.space() == proto::SPACE_BODY};
      const auto number = static_cast<std::uint16_t>(open.channel());
      if (!channels.open(number, space)) return;
      P2P_CHECK(channels.find(number) == space && !channels.was_closed(number));
    } else if (message.has_close()) {
      const auto content = ContentId::from_raw(message.close().content_id());
      if (!content) return;
      channels.close({*content, message.close().space() == proto::SPACE_BODY});
    } else if (message.has_leaves_wanted()) {
      (void)ContentId::from_raw(message.leaves_wanted().content_id());
    } else if (message.has_leaves()) {
      (void)ContentId::from_raw(message.leaves().content_id());
    }
  }
}

std::string with_length(const google::protobuf::MessageLite& message) {
  const std::string bytes = message.SerializeAsString();
  return std::string(1, static_cast<char>(bytes.size())) + bytes;
}

std::vector<std::string> peer_message_seeds() {
  proto::PeerMessage open;
  open.mutable_open()->set_channel(7);
  open.mutable_open()->set_content_id(std::string(32, 'c'));
  open.mutable_open()->set_wants(true);
  open.mutable_open()->set_ticket("ticket");
  proto::PeerMessage close;
  close.mutable_close()->set_content_id(std::string(32, 'c'));
  close.mutable_close()->set_reason("not here");
  proto::PeerMessage ticket;
  ticket.mutable_ticket()->set_content_id(std::string(32, 'c'));
  proto::PeerMessage version;
  version.set_deny_version(3);
  proto::PeerMessage wanted;
  wanted.mutable_leaves_wanted()->set_content_id(std::string(32, 'c'));
  wanted.mutable_leaves_wanted()->set_chunk(7);
  proto::PeerMessage leaves;
  leaves.mutable_leaves()->set_content_id(std::string(32, 'c'));
  leaves.mutable_leaves()->set_leaves(std::string(64, 'l'));
  return {with_length(open) + with_length(close) + with_length(open),
          with_length(ticket) + with_length(version), with_length(wanted) + with_length(leaves)};
}

// Both directions between agent and tracker.
void run_control_messages(Bytes input) {
  const int size = static_cast<int>(input.size());
  proto::AgentMessage from_agent;
  if (from_agent.ParseFromArray(input.data(), size)) {
    for (const auto& holding : from_agent.holdings().holdings()) {
      (void)ContentId::from_raw(holding.content_id());
    }
    (void)NodeId::parse(from_agent.report().node_id());
    proto::AgentMessage again;
    P2P_CHECK(again.ParseFromString(from_agent.SerializeAsString()));
  }
  proto::TrackerMessage from_tracker;
  if (from_tracker.ParseFromArray(input.data(), size)) {
    for (const auto& peer : from_tracker.push().peers()) {
      (void)NodeId::parse(peer.node_id());
      (void)parse_host_port(peer.address());
    }
  }
}

std::vector<std::string> control_message_seeds() {
  proto::AgentMessage holdings;
  holdings.mutable_holdings()->set_first(true);
  auto& holding = *holdings.mutable_holdings()->add_holdings();
  holding.set_content_id(std::string(32, 'c'));
  holding.set_path("/srv/image");
  proto::AgentMessage report;
  report.mutable_report()->set_node_id("0b8c6a3e-4b39-4a8b-9a39-6f2f5d3d1c11");
  report.mutable_report()->set_reason("sent a wrong chunk");
  proto::TrackerMessage push;
  push.mutable_push()->set_job(4);
  auto& peer = *push.mutable_push()->add_peers();
  peer.set_node_id("0b8c6a3e-4b39-4a8b-9a39-6f2f5d3d1c11");
  peer.set_address("[::1]:7402");
  return {holdings.SerializeAsString(), report.SerializeAsString(), push.SerializeAsString()};
}

}  // namespace

std::vector<Target> wire_targets() {
  return {{"frames", run_frames, frame_seeds},
          {"run_request", run_run_request, run_request_seeds},
          {"peer_messages", run_peer_messages, peer_message_seeds},
          {"control_messages", run_control_messages, control_message_seeds}};
}

}  // namespace p2p::fuzz
