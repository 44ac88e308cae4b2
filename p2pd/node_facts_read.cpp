// What node_facts.cpp understands, read from this machine.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <set>
#include <string>

#include "io/disk/file_io.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/node_facts.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
constexpr std::uint64_t kSectorBytes = 512;  // of /sys/block, whatever the disk has
constexpr int kMaxDisks = 64;

// Empty where there is none, or nobody may read it.
std::string text_in(const char* path) {
  auto text = read_file(path, kMaxFileBytes);
  return text ? std::move(*text) : std::string();
}

std::vector<std::string> own_addresses() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  std::set<std::string> found;
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* address = nullptr;
    if (at->ifa_addr->sa_family == AF_INET) {
      address = &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr;
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      address = &reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr;
    }
    if (address != nullptr &&
        ::inet_ntop(at->ifa_addr->sa_family, address, text.data(), text.size()) != nullptr) {
      found.insert(text.data());
    }
  }
  ::freeifaddrs(all);
  return {found.begin(), found.end()};
}

void add_disks(std::map<std::string, std::string>& values) {
  std::error_code error;
  std::filesystem::directory_iterator at("/sys/block", error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!is_disk(name)) continue;
    const std::uint64_t sectors =
        std::strtoull(text_in((at->path() / "size").c_str()).c_str(), nullptr, 10);
    if (sectors > 0) values["disk." + name] = std::to_string(sectors * kSectorBytes);
  }
}

void add_space(proto::Figures& figures) {
  for (const std::string& mount : parse_mounts(text_in("/proc/self/mounts"))) {
    struct statvfs space {};
    if (::statvfs(mount.c_str(), &space) != 0 || space.f_blocks == 0) continue;
    auto& disk = *figures.add_disks();
    disk.set_mount(mount);
    disk.set_total_bytes(std::uint64_t{space.f_blocks} * space.f_frsize);
    disk.set_free_bytes(std::uint64_t{space.f_bavail} * space.f_frsize);
    if (figures.disks_size() == kMaxDisks) return;
  }
}

}  // namespace

proto::Facts read_facts() {
  std::string release = text_in("/etc/os-release");
  if (release.empty()) release = text_in("/usr/lib/os-release");
  const auto os = parse_os_release(release);
  const auto of_os = [&](const char* name) {
    const auto found = os.find(name);
    return found == os.end() ? std::string() : found->second;
  };
  std::map<std::string, std::string> values = {{"os.id", of_os("ID")},
                                               {"os.version", of_os("VERSION_ID")},
                                               {"os.name", of_os("PRETTY_NAME")}};
  utsname system{};
  if (::uname(&system) == 0) {
    values["kernel"] = system.release;
    values["arch"] = system.machine;
    values["hostname"] = system.nodename;
  }
  values["cpus"] = std::to_string(::sysconf(_SC_NPROCESSORS_ONLN));
  struct sysinfo memory {};
  if (::sysinfo(&memory) == 0) {
    values["mem"] = std::to_string(std::uint64_t{memory.totalram} * memory.mem_unit);
    values["swap"] = std::to_string(std::uint64_t{memory.totalswap} * memory.mem_unit);
  }
  add_disks(values);
  return fit_facts(values, own_addresses());
}

NodeSample sample_node() {
  NodeSample sample;
  sample.at_ns = monotonic_now().since_start.count();
  sample.cpu = parse_cpu_times(text_in("/proc/stat"));
  sample.net = parse_net_dev(text_in("/proc/net/dev"));
  return sample;
}

proto::Figures figures_since(const NodeSample& before) {
  proto::Figures figures;
  add_rates(before, sample_node(), figures);
  struct sysinfo system {};
  if (::sysinfo(&system) == 0) {
    figures.set_load1(static_cast<double>(system.loads[0]) / (1 << SI_LOAD_SHIFT));
    figures.set_uptime_seconds(static_cast<std::uint64_t>(system.uptime));
    figures.set_memory_bytes(std::uint64_t{system.totalram} * system.mem_unit);
  }
  const auto memory = parse_meminfo(text_in("/proc/meminfo"));
  if (const auto available = memory.find("MemAvailable"); available != memory.end()) {
    figures.set_memory_available_bytes(available->second);
  }
  add_space(figures);
  return figures;
}

}  // namespace p2p
