#include "tools/p2pctl/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/units.h"
#include "io/disk/fd.h"

namespace p2p {

Result<std::string> read_input(const std::string& path, const char* what, std::size_t bytes_max) {
  const std::string name = std::string(what) + " " + (path == "-" ? "standard input" : path);
  Fd file;
  int from = STDIN_FILENO;
  if (path != "-") {
    file = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
      return Error{errno == ENOENT ? Errc::not_found : Errc::io_failed,
                   name + ": " + std::strerror(errno)};
    }
    from = file.get();
  }
  std::string all;
  std::array<char, 64 * 1024> part;
  while (true) {
    const ssize_t got = ::read(from, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error{Errc::io_failed, name + ": " + std::strerror(errno)};
    if (got == 0) return all;
    all.append(part.data(), static_cast<std::size_t>(got));
    if (all.size() > bytes_max) {
      return Error{Errc::exhausted, name + ": more than " + format_bytes(bytes_max) +
                                        ", the most there may be: bring large files to the nodes "
                                        "with p2pctl push"};
    }
  }
}

}  // namespace p2p
