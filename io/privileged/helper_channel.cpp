#include "io/privileged/helper_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

// Room for one descriptor. Were more to come, the kernel would close those that do not fit.
union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// The descriptor that came, if any; every further one is closed.
Fd take_file(msghdr& header) {
  Fd file;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      Fd owned(fd);
      if (!file) file = std::move(owned);
    }
  }
  return file;
}

}  // namespace

Result<std::pair<Fd, Fd>> make_helper_channel() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return error_from_errno(errno, "make a socket pair for the helper");
  }
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

Status send_to_helper_channel(int socket, std::string_view message, int file) {
  P2P_CHECK(!message.empty() && message.size() <= kMaxHelperMessageBytes);
  iovec bytes{.iov_base = const_cast<char*>(message.data()), .iov_len = message.size()};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  ControlBuffer control{};
  if (file >= 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof file);
    std::memcpy(CMSG_DATA(part), &file, sizeof file);
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};
  const std::string why = std::generic_category().message(errno);
  if (errno == EPIPE || errno == ECONNRESET) {
    return Error{Errc::unavailable, "the other process of this node is gone"};
  }
  if (errno == ETOOMANYREFS) {
    return Error{Errc::exhausted, "pass an open file: " + why +
                                      "; raise the limit of open files (ulimit -n, LimitNOFILE)"};
  }
  return Error{Errc::io_failed, "send to the other process of this node: " + why};
}

Result<std::optional<HelperMessage>> receive_from_helper_channel(int socket, bool files_expected) {
  HelperMessage message;
  message.bytes.resize(kMaxHelperMessageBytes);
  iovec bytes{.iov_base = message.bytes.data(), .iov_len = message.bytes.size()};
  ControlBuffer control{};
  msghdr header{};
  ssize_t got = -1;
  do {
    header = {};
    header.msg_iov = &bytes;
    header.msg_iovlen = 1;
    if (files_expected) {
      header.msg_control = control.bytes;
      header.msg_controllen = sizeof control.bytes;
    }
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno != ECONNRESET) {
    return error_from_errno(errno, "receive from the other process of this node");
  }
  // An empty message looks the same as the end; nobody sends one.
  if (got <= 0) return std::optional<HelperMessage>();
  message.file = take_file(header);
  message.file_lost = (header.msg_flags & MSG_CTRUNC) != 0;
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return Error{Errc::corrupt,
                 "a message has more than " + std::to_string(kMaxHelperMessageBytes) + " bytes"};
  }
  if (!files_expected && message.file_lost) {
    return Error{Errc::corrupt, "a request carries a descriptor"};
  }
  message.bytes.resize(static_cast<std::size_t>(got));
  return std::optional(std::move(message));
}

bool is_helper_channel_closed(int socket) {
  pollfd state{.fd = socket, .events = 0, .revents = 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

}  // namespace p2p
