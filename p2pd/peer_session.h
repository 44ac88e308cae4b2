// The data thread's half of a connection between two agents.
//
// Moves bytes and hashes them; decides nothing. It lives on one data thread; everything that it
// learns goes to the control thread as values, and the control thread's wishes come the same way
// (PeerHandle in p2pd/peer_mesh.h posts them).
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/ids.h"
#include "core/transfer/chunk_range.h"
#include "io/disk/disk_pool.h"
#include "io/net/connection.h"
#include "p2pd/serve_source.h"

namespace p2p {

// Bytes of a chunk with the hashes of their blocks, or bytes of a run of it without.
struct ArrivedData {
  std::uint16_t channel = 0;  // the sender's number
  ChunkRange range;
  Buffer body;                 // the payload begins at kDataPrefixBytes
  std::vector<Digest> leaves;  // none of a run: its bytes are parts of blocks

  std::span<const std::uint8_t> payload() const { return body.span().subspan(kDataPrefixBytes); }
};

struct PeerSessionSettings {
  // What was read of a peer and not handled by the control thread; above it nothing more is read
  // until half of it is handled. Each frame counts frame_cost beside its body: 512 empty ones, 100
  // of data.
  std::size_t unhandled_max = 8 * 1024 * 1024;
  std::size_t frame_cost = 16 * 1024;
};

class PeerSession final : public Connection::Handler,
                          public std::enable_shared_from_this<PeerSession> {
 public:
  using Id = std::uint64_t;

  // Called on the data thread: implementations post to the control thread.
  struct Events {
    virtual void on_peer_open(Id session, const Identity& identity) = 0;
    // Everything but DATA and RUN_DATA.
    virtual void on_peer_frame(Id session, FrameHeader header, Buffer body) = 0;
    virtual void on_peer_data(Id session, ArrivedData data) = 0;
    virtual void on_peer_sent(Id session, std::uint32_t payload_bytes) = 0;
    // A read of what was to be served failed: the content is no longer what it was.
    virtual void on_serve_failed(Id session, ServeSourcePtr source, Error why) = 0;
    virtual void on_peer_closed(Id session, Error why) = 0;

   protected:
    ~Events() = default;
  };

  PeerSession(Id id, Events& events, boost::asio::io_context& loop, DiskPool& disk,
              const PeerSessionSettings& settings)
      : id_(id), events_(events), loop_(loop), disk_(disk), settings_(settings) {}

  void start(std::shared_ptr<Connection> connection);
  void send(FrameType type, std::uint16_t channel, const std::string& body, std::uint8_t flags);
  // Queues a range; it is read and sent part by part, in order, as the connection takes them. A
  // range of a run is what `pieces` of the chunk are, one behind the other.
  void serve(ServeSourcePtr source, std::uint16_t channel, const ChunkRange& range,
             std::vector<ByteRange> pieces = {});
  void close();
  // Any thread: a frame of the events, whose body had so many bytes, has been handled.
  void handled(std::size_t body_bytes);

 private:
  struct Serving {
    ServeSourcePtr source;
    std::uint16_t channel = 0;
    ChunkRange rest;
    std::vector<ByteRange> pieces;  // of a run
    std::size_t next_piece = 0;     // the rest begins in it,
    std::uint64_t done_of_it = 0;   // so many bytes behind its start
  };
  // What goes into one frame, and where it is read.
  struct Part {
    ChunkRange range;
    std::vector<ByteRange> reads;  // rising offsets in the source
    std::size_t next_piece = 0;    // where the one after it begins
    std::uint64_t done_of_it = 0;
  };

  void on_open(const std::optional<Identity>& identity) override;
  void on_frame(const FrameHeader& header, Buffer body) override;
  void on_data_sent(std::uint32_t payload_bytes) override;
  void on_closed(const Error& why) override;
  void take_data(const FrameHeader& header, Buffer body);
  void hand_over(std::size_t body_bytes);
  static Part next_part(const Serving& serving);
  void serve_next();
  void serve_soon();
  void read_on_disk(const Serving& serving, Part part, Buffer frame);
  void send_part(const Part& part, Buffer frame);
  void give_up(ServeSourcePtr source, Error why);
  void refuse_all_of(const ServeSourcePtr& source);
  void fail(Error why);

  Id id_;
  Events& events_;
  boost::asio::io_context& loop_;
  DiskPool& disk_;
  PeerSessionSettings settings_;
  std::atomic<std::size_t> unhandled_{0};  // handed over, frame_cost included
  std::atomic<bool> wait_{false};          // for the control thread, which clears it
  bool heard_ = false;
  std::shared_ptr<Connection> connection_;
  std::deque<Serving> serving_;
  std::uint64_t unsent_ = 0;  // payload handed to the connection
  bool reading_ = false;      // a disk thread reads the next part
  bool resting_ = false;      // others of the thread have their turn
  bool closed_ = false;
};

}  // namespace p2p
