#include "io/privileged/helper_server.h"

#include <pthread.h>
#include <sys/socket.h>

#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "io/privileged/helper_channel.h"
#include "proto/privileged.pb.h"

namespace p2p {
namespace {

// An agent has four disk threads and one for each publish; the others can wait.
constexpr int kThreads = 8;
// So that an error that names all roots fits a message.
constexpr std::size_t kMaxDetailBytes = 8 * 1024;

using Request = proto::PrivilegedRequest;
using Reply = proto::PrivilegedReply;

RootedPath path_of(const proto::RootedFile& file) {
  return {.root = file.root(), .relative = file.relative()};
}

FileMetadata metadata_of(const proto::LandRequest& request) {
  return {.mode = request.mode(),
          .mtime_ns = request.mtime_ns(),
          .owner = request.owner(),
          .group = request.group()};
}

void refuse(const Error& why, Reply& reply) {
  reply.clear_result();
  reply.set_error(std::string(to_string(why.code)));
  reply.set_detail(why.detail.substr(0, kMaxDetailBytes));
}

Fd opened(Result<Fd> file, Reply& reply) {
  if (file) return std::move(*file);
  refuse(file.error(), reply);
  return {};
}

void done(const Status& status, Reply& reply) {
  if (!status) refuse(status.error(), reply);
}

void measured(const Result<FreeSpace>& space, Reply& reply) {
  if (!space) return refuse(space.error(), reply);
  reply.mutable_free_space()->set_bytes(space->bytes);
  reply.mutable_free_space()->set_inodes(space->inodes);
  reply.mutable_free_space()->set_device(space->device);
}

void listed(Result<FolderListing> listing, Reply& reply) {
  if (!listing) return refuse(listing.error(), reply);
  for (auto& entry : listing->entries) {
    reply.mutable_listing()->add_names(std::move(entry.name));
  }
  reply.mutable_listing()->set_more(listing->more);
}

// What the reply carries beside itself; no descriptor is -1.
Result<Fd> carry_out(const Request& request, Privileged& executor, Reply& reply) {
  switch (request.kind_case()) {
    case Request::kOpenSource:
      return opened(executor.open_source(request.open_source().path()), reply);
    case Request::kOpenPart: {
      const auto& call = request.open_part();
      return opened(executor.open_part(path_of(call.destination()), call.part()), reply);
    }
    case Request::kOpenLanded:
      return opened(executor.open_landed(path_of(request.open_landed().file())), reply);
    case Request::kLand: {
      const auto& call = request.land();
      const FileIdentity written{call.written_device(), call.written_inode()};
      done(executor.land(path_of(call.destination()), call.part(), written, metadata_of(call)),
           reply);
      return Fd();
    }
    case Request::kRemovePart: {
      const auto& call = request.remove_part();
      done(executor.remove_part(path_of(call.destination()), call.part()), reply);
      return Fd();
    }
    case Request::kFreeSpace:
      measured(executor.free_space(path_of(request.free_space().destination())), reply);
      return Fd();
    case Request::kListFolder: {
      const auto& call = request.list_folder();
      listed(executor.list_folder(call.folder().root(), call.folder().relative(), call.after()),
             reply);
      return Fd();
    }
    case Request::kWriteReadyFile:
      done(executor.write_ready_file(request.write_ready_file().text()), reply);
      return Fd();
    case Request::KIND_NOT_SET:
      break;
  }
  return Error{Errc::corrupt, "a request is of an unknown kind"};
}

class Server {
 public:
  Server(int socket, Privileged& executor) : socket_(socket), executor_(executor) {}

  Status run() {
    std::vector<std::thread> others;
    for (int i = 1; i < kThreads; ++i) {
      others.emplace_back([this] { work(); });
      ::pthread_setname_np(others.back().native_handle(), "privileged");
    }
    work();
    for (std::thread& other : others) other.join();
    return failure_ ? Status(*failure_) : Status();
  }

 private:
  void work() {
    for (bool more = true; more;) {
      const Result<bool> served = serve_one();
      if (!served) fail(served.error());
      more = served && *served;
    }
  }

  // False when the other side is gone.
  Result<bool> serve_one() {
    auto message = receive_from_helper_channel(socket_, /*files_expected=*/false);
    if (!message) return message.error();
    // What a process asked for that has died since might cross what its successor does.
    if (!*message || is_helper_channel_closed(socket_)) return false;
    Request request;
    if (!request.ParseFromString((*message)->bytes) || request.number() == 0) {
      return Error{Errc::corrupt, "a request cannot be read"};
    }
    Reply reply;
    const Result<Fd> file = carry_out(request, executor_, reply);
    if (!file) return file.error();
    reply.set_number(request.number());
    return answer(reply, *file);
  }

  Result<bool> answer(Reply& reply, const Fd& file) {
    Status sent = send_to_helper_channel(socket_, reply.SerializeAsString(), file.get());
    if (!sent && sent.error().code == Errc::exhausted) {
      refuse(sent.error(), reply);
      sent = send_to_helper_channel(socket_, reply.SerializeAsString());
    }
    if (sent) return true;
    if (sent.error().code == Errc::unavailable) return false;
    return sent.error();
  }

  // The first failure counts; it wakes the threads that wait for requests.
  void fail(const Error& why) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = why;
    ::shutdown(socket_, SHUT_RDWR);
  }

  const int socket_;
  Privileged& executor_;
  std::mutex mutex_;
  std::optional<Error> failure_;
};

}  // namespace

Status serve_privileged(int socket, Privileged& executor) {
  return Server(socket, executor).run();
}

}  // namespace p2p
