// Streams about one exec job, for as long as somebody listens: what has changed since it was last
// told, or the whole job each time.
//
// Control thread. However slow the reader is, a stream holds one line and a cursor.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "tracker/registry.h"
#include "tracker/router.h"
#include "tracker/run_board.h"

namespace p2p {

// GET /v1/jobs/{id}/events: lines of JobEvent.
class RunEvents : public std::enable_shared_from_this<RunEvents> {
 public:
  // The board and the registry outlive the loop.
  RunEvents(boost::asio::io_context& loop, RunBoard& board, const Registry& registry,
            Exchange exchange, JobId job, std::uint64_t from);
  void start();

 private:
  void wake();
  void arm(Duration delay);
  void pump();
  void stop();
  bool next_line(const BoardExec& job);
  bool next_runs(const BoardExec& job);
  bool read_more(const BoardExec& job);
  void on_output(Result<std::optional<OutputChunk>> chunk);
  void set_line(const google::protobuf::Message& event);

  RunBoard& board_;
  const Registry& registry_;
  Exchange exchange_;
  const JobId job_;
  boost::asio::steady_timer timer_;
  std::uint64_t handle_ = 0;
  std::string line_;         // that the client has not taken yet
  bool final_line_ = false;  // is in line_
  bool armed_ = false;
  bool blocked_ = false;  // until the client has taken what waits for it
  bool over_ = false;
  bool quiet_too_long_ = false;
  Duration pace_;  // between two tellings
  Time pumped_{};  // the end of the last one
  Time told_{};

  bool begun_ = false;            // the first line is told
  bool all_told_ = false;         // every run once
  std::uint64_t seen_ = 0;        // changes of runs that are told
  std::uint64_t pass_until_ = 0;  // those that this pass over the runs will have told
  std::size_t pass_at_ = 0;
  bool passing_ = false;
  std::uint64_t cursor_;  // of the output
  bool reading_ = false;
};

// GET /v1/jobs/{id}/watch of an exec job: lines of Job, at most four a second.
class RunWatch : public std::enable_shared_from_this<RunWatch> {
 public:
  RunWatch(boost::asio::io_context& loop, RunBoard& board, const Registry& registry,
           Exchange exchange, JobId job);
  void start();

 private:
  void wake(Duration delay);
  void tell();
  void stop();

  RunBoard& board_;
  const Registry& registry_;
  Exchange exchange_;
  const JobId job_;
  boost::asio::steady_timer timer_;
  std::uint64_t handle_ = 0;
  bool armed_ = false;
  bool changed_ = true;
  bool over_ = false;
  Time told_{};
};

}  // namespace p2p
