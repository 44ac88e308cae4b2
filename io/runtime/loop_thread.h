// A thread that runs one single-threaded io_context: a data thread.
#pragma once

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <string>
#include <thread>

namespace p2p {

class LoopThread {
 public:
  // `name` shows in ps and in debuggers, at most 15 characters.
  explicit LoopThread(const std::string& name)
      : guard_(boost::asio::make_work_guard(loop_)), thread_([this] { loop_.run(); }) {
    pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
  }
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;
  ~LoopThread() { stop(); }

  // What runs there must be thread-safe or belong to that thread.
  boost::asio::io_context& loop() { return loop_; }
  // Ends after the handler that is running; what is still queued is destroyed with the loop.
  void stop() {
    guard_.reset();
    loop_.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
  std::thread thread_;
};

}  // namespace p2p
