// What this node is, and how it does at this moment, as the system shows it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/control.pb.h"

namespace p2p {

// ---- the system's texts ------------------------------------------------------------------------

// /etc/os-release: values by name, without their quotation marks.
std::map<std::string, std::string> parse_os_release(std::string_view text);

// /proc/meminfo: bytes by name. Lines without kB are left out.
std::map<std::string, std::uint64_t> parse_meminfo(std::string_view text);

struct CpuTimes {
  std::uint64_t busy = 0;  // both in ticks since boot, of all processors
  std::uint64_t total = 0;
};
// The first line of /proc/stat. Zero when it is none.
CpuTimes parse_cpu_times(std::string_view text);

struct NetCounters {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};
// /proc/net/dev: by interface, without lo.
std::map<std::string, NetCounters> parse_net_dev(std::string_view text);

// /proc/self/mounts: where a disk of this machine can be reached, once for each; and /, whatever
// it is.
std::vector<std::string> parse_mounts(std::string_view text);

// Whether a name in /sys/block is a disk: no loop device, RAM disk, optical drive or floppy.
bool is_disk(std::string_view name);

// Without what cannot be sent (control.proto, Facts): no more than 64 values of 255 bytes.
proto::Facts fit_facts(const std::map<std::string, std::string>& values,
                       const std::vector<std::string>& addresses);

// ---- this machine ------------------------------------------------------------------------------

// Blocking.
proto::Facts read_facts();

// The counters of one moment; what is at hand only then stands in the figures.
struct NodeSample {
  std::int64_t at_ns = 0;  // of a monotonic clock
  CpuTimes cpu;
  std::map<std::string, NetCounters> net;
};
// Blocking.
NodeSample sample_node();
// What happened since `before`, and how it is now. Blocking.
proto::Figures figures_since(const NodeSample& before);
// Pure: the rates between two samples.
void add_rates(const NodeSample& before, const NodeSample& after, proto::Figures& figures);

}  // namespace p2p
