// Hears of it when something in the folder of a run changes (inotify).
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>
#include <string>

namespace p2p {

enum class RunChange {
  out,    // more of it, perhaps many times a second
  err,    // the same
  state,  // the command has begun, there is a result, or the shim has ended
};

class RunWatch {
 public:
  // `on_change` is called on the thread of `control`; `watch` is what add() gave.
  RunWatch(boost::asio::io_context& control,
           std::function<void(int watch, RunChange change)> on_change);
  ~RunWatch() { *alive_ = false; }

  // False where the system has no room for a watch: then nothing is ever heard.
  bool works() const { return inotify_ >= 0; }
  // Watches a folder until it is removed, or remove() is called. -1: it cannot. From any thread.
  int add(const std::string& folder) const;
  void remove(int watch) const;

 private:
  void wait();
  void read();

  int inotify_ = -1;  // the descriptor's
  boost::asio::posix::stream_descriptor descriptor_;
  std::function<void(int, RunChange)> on_change_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  alignas(8) std::array<char, 16 * 1024> events_{};
};

}  // namespace p2p
