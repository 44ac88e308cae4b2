#include "io/privileged/helper_client.h"

#include <pthread.h>
#include <sys/socket.h>

#include <utility>

#include "io/privileged/beneath.h"
#include "proto/privileged.pb.h"

namespace p2p {
namespace {

void set_file(const RootedPath& path, proto::RootedFile& file) {
  file.set_root(path.root);
  file.set_relative(path.relative);
}

}  // namespace

HelperPrivileged::HelperPrivileged(Fd socket, std::vector<std::string> roots,
                                   std::vector<std::string> shares)
    : socket_(std::move(socket)),
      roots_(std::move(roots)),
      shares_(std::move(shares)),
      reader_([this] { read_replies(); }) {
  ::pthread_setname_np(reader_.native_handle(), "privileged");
}

HelperPrivileged::~HelperPrivileged() {
  {
    const std::lock_guard lock(mutex_);
    P2P_CHECK(waiting_.empty());
    closing_ = true;
  }
  ::shutdown(socket_.get(), SHUT_RDWR);
  reader_.join();
}

void HelperPrivileged::on_lost(std::function<void(const Error&)> call) {
  std::optional<Error> lost;
  {
    const std::lock_guard lock(mutex_);
    if (lost_) {
      lost = lost_;
    } else {
      on_lost_ = std::move(call);
    }
  }
  if (lost) call(*lost);
}

Result<Fd> HelperPrivileged::open_source(const std::string& absolute_path) {
  proto::PrivilegedRequest request;
  request.mutable_open_source()->set_path(absolute_path);
  return ask_for_file(request);
}

Result<Fd> HelperPrivileged::open_part(const RootedPath& destination, const std::string& part) {
  proto::PrivilegedRequest request;
  set_file(destination, *request.mutable_open_part()->mutable_destination());
  request.mutable_open_part()->set_part(part);
  return ask_for_file(request);
}

Result<Fd> HelperPrivileged::open_landed(const RootedPath& path) {
  proto::PrivilegedRequest request;
  set_file(path, *request.mutable_open_landed()->mutable_file());
  return ask_for_file(request);
}

Status HelperPrivileged::land(const RootedPath& destination, const std::string& part,
                              const FileIdentity& written, const FileMetadata& metadata) {
  proto::PrivilegedRequest request;
  proto::LandRequest& call = *request.mutable_land();
  set_file(destination, *call.mutable_destination());
  call.set_part(part);
  call.set_written_device(written.device);
  call.set_written_inode(written.inode);
  call.set_mode(metadata.mode);
  call.set_mtime_ns(metadata.mtime_ns);
  call.set_owner(metadata.owner);
  call.set_group(metadata.group);
  return ask_for_act(request);
}

Status HelperPrivileged::remove_part(const RootedPath& destination, const std::string& part) {
  proto::PrivilegedRequest request;
  set_file(destination, *request.mutable_remove_part()->mutable_destination());
  request.mutable_remove_part()->set_part(part);
  return ask_for_act(request);
}

Result<FreeSpace> HelperPrivileged::free_space(const RootedPath& destination) {
  proto::PrivilegedRequest request;
  set_file(destination, *request.mutable_free_space()->mutable_destination());
  proto::PrivilegedReply reply;
  if (const Result<Fd> asked = ask(request, reply); !asked) return asked.error();
  const auto& space = reply.free_space();
  return FreeSpace{.bytes = space.bytes(), .inodes = space.inodes(), .device = space.device()};
}

Result<FolderListing> HelperPrivileged::list_folder(std::uint32_t root, const std::string& relative,
                                                    const std::string& after) {
  proto::PrivilegedRequest request;
  set_file({root, relative}, *request.mutable_list_folder()->mutable_folder());
  request.mutable_list_folder()->set_after(after);
  proto::PrivilegedReply reply;
  if (const Result<Fd> asked = ask(request, reply); !asked) return asked.error();
  FolderListing listing{.entries = {}, .more = reply.listing().more()};
  for (std::string& name : *reply.mutable_listing()->mutable_names()) {
    const bool is_part = paths::has_part_prefix(name);
    listing.entries.push_back({std::move(name), is_part});
  }
  return listing;
}

Status HelperPrivileged::write_ready_file(const std::string& text) {
  proto::PrivilegedRequest request;
  request.mutable_write_ready_file()->set_text(text);
  return ask_for_act(request);
}

Result<Fd> HelperPrivileged::ask_for_file(proto::PrivilegedRequest& request) {
  proto::PrivilegedReply reply;
  Result<Fd> file = ask(request, reply);
  if (!file || *file) return file;
  return Error{Errc::exhausted,
               "no descriptor is left for a file that the helper has opened; raise the limit of "
               "open files (ulimit -n, LimitNOFILE)"};
}

Status HelperPrivileged::ask_for_act(proto::PrivilegedRequest& request) {
  proto::PrivilegedReply reply;
  if (const Result<Fd> asked = ask(request, reply); !asked) return asked.error();
  return {};
}

Result<Fd> HelperPrivileged::ask(proto::PrivilegedRequest& request, proto::PrivilegedReply& reply) {
  {
    const std::lock_guard lock(mutex_);
    request.set_number(++last_number_);
  }
  const std::string bytes = request.SerializeAsString();
  if (bytes.size() > kMaxHelperMessageBytes) {
    return Error{Errc::invalid_argument, "a request to the helper has more than " +
                                             std::to_string(kMaxHelperMessageBytes) +
                                             " bytes: a path in it is too long"};
  }
  Result<HelperMessage> answer = exchange(request.number(), bytes);
  if (!answer) return answer.error();
  P2P_CHECK(reply.ParseFromString(answer->bytes));  // take_reply has done it before
  if (!reply.error().empty()) {
    return Error{errc_from(reply.error()).value_or(Errc::io_failed), reply.detail()};
  }
  return std::move(answer->file);
}

Result<HelperMessage> HelperPrivileged::exchange(std::uint64_t number, const std::string& request) {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  if (told_) return *lost_;
  waiting_[number] = &waiting;
  lock.unlock();
  // When it cannot be sent, the reader learns that the helper is gone and answers; on_lost comes
  // first then, so that whoever gets the error knows why.
  if (!send_to_helper_channel(socket_.get(), request)) ::shutdown(socket_.get(), SHUT_RDWR);
  lock.lock();
  waiting.wake.wait(lock, [&] { return waiting.outcome.has_value(); });
  return std::move(*waiting.outcome);
}

void HelperPrivileged::read_replies() {
  for (;;) {
    auto message = receive_from_helper_channel(socket_.get(), /*files_expected=*/true);
    if (!message) return lose(message.error().within("helper"));
    if (!*message) {
      return lose({Errc::unavailable, "the helper process has ended; its log says why"});
    }
    if (!take_reply(std::move(**message))) {
      return lose({Errc::corrupt, "the helper process sent an answer that cannot be read"});
    }
  }
}

bool HelperPrivileged::take_reply(HelperMessage message) {
  proto::PrivilegedReply reply;
  if (!reply.ParseFromString(message.bytes)) return false;
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(reply.number());
  if (found == waiting_.end()) return false;
  found->second->outcome.emplace(std::move(message));
  found->second->wake.notify_one();
  waiting_.erase(found);
  return true;
}

void HelperPrivileged::lose(const Error& why) {
  const Error lost{Errc::unavailable, why.detail};
  std::function<void(const Error&)> call;
  {
    const std::lock_guard lock(mutex_);
    lost_ = lost;
    if (!closing_) call = std::exchange(on_lost_, {});
  }
  ::shutdown(socket_.get(), SHUT_RDWR);
  if (call) call(lost);
  const std::lock_guard lock(mutex_);
  told_ = true;
  for (const auto& [number, waiting] : waiting_) {
    waiting->outcome.emplace(lost);
    waiting->wake.notify_one();
  }
  waiting_.clear();
}

}  // namespace p2p
