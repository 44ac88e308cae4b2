// Tells the tracker what this node is, and when asked, how it does.
//
// Control thread; what blocks is done by the disk pool.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "core/base/time.h"
#include "io/disk/disk_pool.h"
#include "p2pd/node_facts.h"
#include "proto/control.pb.h"

namespace p2p {

class NodeNews {
 public:
  // `send` drops what it is given while there is no connection. `running`: runs that go on here.
  NodeNews(boost::asio::io_context& control, DiskPool& disk,
           std::function<void(const proto::AgentMessage&)> send,
           std::function<std::uint32_t()> running);
  ~NodeNews() { *alive_ = false; }

  // A tracker that may know nothing.
  void on_welcome();
  // Reads the facts once a minute, and says them when they have changed.
  void on_tick(Time now);
  // Answers after a fifth of a second, over which it counts.
  void take_figures_wanted();

 private:
  void read();

  boost::asio::io_context& control_;
  DiskPool& disk_;
  std::function<void(const proto::AgentMessage&)> send_;
  std::function<std::uint32_t()> running_;
  boost::asio::steady_timer timer_;
  bool counting_ = false;
  bool reading_ = false;
  bool connected_ = false;
  std::string said_;  // the facts, as they were sent last on this connection
  Time read_at_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
