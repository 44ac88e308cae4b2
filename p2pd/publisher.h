// Hashes a file of this node for a publish: facts, manifest, and the record that it is held here.
//
// Control thread; the hashing has a thread of its own that uses all cores.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "core/base/ids.h"
#include "p2pd/content_store.h"
#include "p2pd/hint_maker.h"

namespace p2p {

class Publisher {
 public:
  struct Done {
    LoadedManifest manifest;
    std::string original_name;
    std::string path;
    std::vector<MadeHint> hints;
  };

  // `on_progress` (bytes hashed, of how many) and `on_done` are called on the control thread.
  Publisher(boost::asio::io_context& control, const ContentStore& contents, const HintStore& hints,
            Privileged& privileged, std::string path, HintOrder order,
            std::function<void(std::uint64_t, std::uint64_t)> on_progress,
            std::function<void(Result<Done>)> on_done);
  // Stops the hashing and waits for its thread, a megabyte's time at most.
  ~Publisher();

 private:
  Result<Done> work();
  Result<LoadedManifest> hash(const Fd& file, const FileFacts& facts);

  boost::asio::io_context& control_;
  const ContentStore& contents_;
  const HintStore& hints_;
  Privileged& privileged_;
  std::string path_;
  HintOrder order_;
  std::function<void(std::uint64_t, std::uint64_t)> on_progress_;
  std::function<void(Result<Done>)> on_done_;
  std::atomic<bool> stop_{false};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // control thread only
  std::thread thread_;
};

}  // namespace p2p
