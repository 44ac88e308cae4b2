#include "io/run/run_order.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <vector>

#include "core/base/text.h"
#include "io/disk/file_io.h"

namespace p2p {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Error bad(const std::string& what) {
  return {Errc::invalid_argument, "run: " + what};
}

Status check_words(const proto::RunOrder& order) {
  std::size_t bytes = 0;
  const auto check = [&](const auto& words, const char* what) -> Status {
    for (const std::string& word : words) {
      if (word.find('\0') != std::string::npos) return bad(std::string(what) + " with a NUL byte");
      if (word.size() > kMaxWordBytes) return bad(std::string(what) + " of 128 KiB or more");
      bytes += word.size() + 1;
    }
    return {};
  };
  if (Status checked = check(order.arguments(), "an argument"); !checked) return checked;
  if (Status checked = check(order.environment(), "an environment variable"); !checked) {
    return checked;
  }
  for (const std::string& variable : order.environment()) {
    const std::size_t equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return bad("environment " + quoted(variable, 60) + ": write it as NAME=VALUE");
    }
  }
  if (bytes > kMaxWordsBytes) return bad("more than 256 KiB of arguments and environment");
  return {};
}

}  // namespace

proto::RunOrder new_run_order(const RunId& id) {
  proto::RunOrder order;
  order.set_id(id.raw());
  order.set_umask(022);
  order.set_grace_ms(kDefaultGraceMs);
  order.set_keep_bytes(kDefaultKeepBytes);
  return order;
}

RunKind kind_of(const proto::RunOrder& order) {
  return order.is_script() ? RunKind::script : RunKind::command;
}

Status permit_order(ExecPolicy policy, const proto::RunOrder& order) {
  if (Status permitted = permit_run(policy, kind_of(order)); !permitted) return permitted;
  for (const std::string& variable : order.environment()) {
    if (Status permitted = permit_variable(policy, variable); !permitted) return permitted;
  }
  return {};
}

Status check_run_order(const proto::RunOrder& order) {
  if (!RunId::from_raw(order.id())) return bad("its id is none");
  if (!order.is_script() && (order.arguments().empty() || order.arguments(0).empty())) {
    return bad("the command is empty");
  }
  if (!order.is_script() && !order.script().empty()) return bad("a command with a script");
  if (order.script().size() > kMaxScriptBytes) return bad("a script of more than 1 MiB");
  if (order.input().size() > kMaxInputBytes) return bad("standard input of more than 1 MiB");
  if (Status checked = check_words(order); !checked) return checked;
  const std::string& folder = order.folder();
  if (!folder.empty() && (folder[0] != '/' || folder.find('\0') != std::string::npos)) {
    return bad("working folder " + quoted(folder, 60) + ": name an absolute path");
  }
  if (order.account().find('\0') != std::string::npos || order.account().size() > 255) {
    return bad("account " + quoted(order.account(), 60) + " is not a name");
  }
  if (order.umask() > 0777) return bad("a umask above 0777");
  if (order.timeout_ms() > kMaxTimeoutMs) return bad("a timeout above 30 days");
  if (order.grace_ms() > kMaxGraceMs) return bad("more than 10 minutes between TERM and KILL");
  if (order.keep_bytes() < kMinKeepBytes || order.keep_bytes() > kMaxKeepBytes) {
    return bad("output to keep that is not between 8 KiB and 64 MiB");
  }
  return {};
}

Result<Fd> seal_bytes(const std::string& bytes, const char* name) {
  Fd memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return error_from_errno(errno, "make memory for a run");
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (Status written = write_all_at(memory.get(), {first, bytes.size()}, 0, name); !written) {
    return written.error();
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0) {
    return error_from_errno(errno, "seal memory for a run");
  }
  return memory;
}

Result<proto::RunOrder> unseal_order(const Fd& memory) {
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return bad("its order could still be changed");
  struct stat facts {};
  if (::fstat(memory.get(), &facts) != 0) return error_from_errno(errno, "look at the order");
  if (static_cast<std::size_t>(facts.st_size) > kMaxOrderBytes) return bad("more than 4 MiB");
  std::string bytes(static_cast<std::size_t>(facts.st_size), '\0');
  auto* first = reinterpret_cast<std::uint8_t*>(bytes.data());
  if (Status read = read_exactly_at(memory.get(), {first, bytes.size()}, 0, "the order"); !read) {
    return read.error();
  }
  proto::RunOrder order;
  if (!order.ParseFromString(bytes)) return Error{Errc::corrupt, "run: its order cannot be read"};
  if (Status checked = check_run_order(order); !checked) return checked.error();
  return order;
}

}  // namespace p2p
