// The network process's side of the channel: requests go to a helper process.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/privileged/helper_channel.h"
#include "io/privileged/privileged.h"

namespace p2p::proto {
class PrivilegedReply;
class PrivilegedRequest;
}  // namespace p2p::proto

namespace p2p {

// Several threads may ask at once; a thread of its own takes the replies. When the helper is gone,
// every request that waits or comes later fails as `unavailable`, after what was given to on_lost
// has been called.
class HelperPrivileged final : public Privileged {
 public:
  // `socket` is this side's end of make_helper_channel(); `roots` and `shares` are the names that
  // LocalPrivileged gives to the folders that the helper was started with.
  HelperPrivileged(Fd socket, std::vector<std::string> roots, std::vector<std::string> shares);
  // Closes the channel, which ends the helper. No request may be under way.
  ~HelperPrivileged() override;

  void on_lost(std::function<void(const Error&)> call) override;

  const std::vector<std::string>& roots() const override { return roots_; }
  const std::vector<std::string>& shares() const override { return shares_; }
  Result<Fd> open_source(const std::string& absolute_path) override;
  Result<Fd> open_part(const RootedPath& destination, const std::string& part) override;
  Result<Fd> open_landed(const RootedPath& path) override;
  Status land(const RootedPath& destination, const std::string& part, const FileIdentity& written,
              const FileMetadata& metadata) override;
  Status remove_part(const RootedPath& destination, const std::string& part) override;
  Result<FreeSpace> free_space(const RootedPath& destination) override;
  Result<FolderListing> list_folder(std::uint32_t root, const std::string& relative,
                                    const std::string& after) override;
  Status write_ready_file(const std::string& text) override;

 private:
  // One request under way: lives on the stack of the thread that asked.
  struct Waiting {
    std::optional<Result<HelperMessage>> outcome;
    std::condition_variable wake;
  };

  // Sends the request and waits for its reply, with the descriptor that came with it.
  Result<Fd> ask(proto::PrivilegedRequest& request, proto::PrivilegedReply& reply);
  Result<HelperMessage> exchange(std::uint64_t number, const std::string& request);
  Result<Fd> ask_for_file(proto::PrivilegedRequest& request);
  Status ask_for_act(proto::PrivilegedRequest& request);
  void read_replies();
  // False when the helper said what it must not.
  bool take_reply(HelperMessage message);
  void lose(const Error& why);

  const Fd socket_;
  const std::vector<std::string> roots_;
  const std::vector<std::string> shares_;
  std::mutex mutex_;  // of all that follows but the thread
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, Waiting*> waiting_;
  std::optional<Error> lost_;
  bool told_ = false;  // on_lost_ has been called: requests fail from now on
  std::function<void(const Error&)> on_lost_;
  bool closing_ = false;
  std::thread reader_;
};

}  // namespace p2p
