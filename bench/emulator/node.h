// One emulated node: a real connection to the tracker, and runs that are nothing but their records.
//
// Everything on the thread of its loop. Without it, while it is between two connections, runs go
// on, as they do on a real node.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bench/emulator/fake_command.h"
#include "bench/emulator/identities.h"
#include "bench/emulator/shared_ledger.h"
#include "p2pd/tracker_link.h"

namespace p2p::emulator {

// Of all nodes; written on their threads.
struct Counters {
  std::atomic<std::size_t> connected{0};
  std::atomic<std::uint64_t> welcomes{0};
  std::atomic<std::uint64_t> offers{0};    // also of runs that are known
  std::atomic<std::uint64_t> accepted{0};  // taken into the ledger
  std::atomic<std::uint64_t> ended{0};
};

class Node final : private TrackerLink::Owner {
 public:
  struct Room {
    boost::asio::io_context& loop;
    SharedLedger& ledger;
    Counters& counters;
    HostPort tracker;
  };

  Node(const Room& room, Member member, Rng rng);
  ~Node();

  // In `pause`, or at once.
  void connect_in(Duration pause);
  // Ends the connection and makes a new one in `pause`.
  void drop_for(Duration pause);

 private:
  struct Stream {
    std::string bytes;
    std::uint64_t sent = 0;
    std::uint64_t taken = 0;
  };
  struct Run {
    proto::RunReport report;  // of the state in the ledger
    FakeCommand command;
    WallTime begun{};
    Stream out;
    bool known = false;  // the tracker has said from where on it wants output
    bool enough = false;
    bool ending = false;  // its end is being written
    std::unique_ptr<boost::asio::steady_timer> timer;
  };

  void on_tracker_up() override;
  void on_tracker_message(const proto::TrackerMessage& message) override;
  void on_tracker_down(const Error& why) override;

  void say_facts();
  void say_figures();
  void report_all();
  void take(const proto::RunTask& task);
  void take_whole(proto::RunTask task);
  void taken(const RunId& id, const proto::RunTask& task, const Result<RunLedger::Answer>& answer);
  void cancel(const proto::CancelRun& message);
  void begin(const RunId& id, Run& run);
  void end(const RunId& id, proto::RunResult result);
  void ended(const RunId& id, const proto::RunRecord& record, const proto::RunResult& result);
  void take_known(const proto::RunKnown& known);
  void take_output_taken(const proto::RunOutputTaken& taken);
  void take_blob(const proto::Blob& blob);
  // Output that may go now; then the end, when all of it has gone.
  void pump(Run& run);
  void send_report(const proto::RunReport& report);
  proto::RunReport report_now(const Run& run) const;

  Room room_;
  Member member_;
  Rng rng_;
  std::optional<TlsContext> tls_;
  std::optional<TrackerLink> link_;
  boost::asio::steady_timer timer_;
  bool welcome_ = false;
  std::map<RunId, Run> runs_;  // of which the tracker may not know the end
  std::map<std::string, std::vector<proto::RunTask>> waiting_;  // for a blob, by its hash
};

}  // namespace p2p::emulator
