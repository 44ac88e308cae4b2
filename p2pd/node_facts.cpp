#include "p2pd/node_facts.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <set>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr int kMaxFacts = 64;
constexpr int kMaxAddresses = 64;
constexpr std::size_t kMaxFactBytes = 255;

// Calls `take` with each line of the text.
template <class Take>
void for_lines(std::string_view text, Take take) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    take(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// As a shell would read it: in quotation marks or not, with backslashes.
std::string unquoted(std::string_view text) {
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
      text.back() == text.front()) {
    text = text.substr(1, text.size() - 2);
  }
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

// /proc/self/mounts writes blanks and backslashes as \040 and so on.
std::string unescaped(std::string_view text) {
  const auto octal = [&](std::size_t at) {
    return at < text.size() && text[at] >= '0' && text[at] <= '7';
  };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::map<std::string, std::string> parse_os_release(std::string_view text) {
  std::map<std::string, std::string> values;
  for_lines(text, [&](std::string_view line) {
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || line.starts_with('#')) return;
    values[std::string(line.substr(0, equals))] = unquoted(line.substr(equals + 1));
  });
  return values;
}

std::map<std::string, std::uint64_t> parse_meminfo(std::string_view text) {
  std::map<std::string, std::uint64_t> bytes;
  for_lines(text, [&](std::string_view line) {
    const auto words = words_of(line);
    if (words.size() != 3 || words[2] != "kB" || !words[0].ends_with(':')) return;
    if (const auto number = number_of(words[1])) {
      bytes[std::string(words[0].substr(0, words[0].size() - 1))] = *number * 1024;
    }
  });
  return bytes;
}

CpuTimes parse_cpu_times(std::string_view text) {
  // user nice system idle iowait irq softirq steal; what guests have is in user and nice already.
  constexpr std::size_t kColumns = 8;
  const auto words = words_of(text.substr(0, std::min(text.find('\n'), text.size())));
  CpuTimes times;
  if (words.empty() || words[0] != "cpu") return times;
  for (std::size_t i = 1; i <= kColumns && i < words.size(); ++i) {
    const auto ticks = number_of(words[i]).value_or(0);
    times.total += ticks;
    if (i != 4 && i != 5) times.busy += ticks;
  }
  return times;
}

std::map<std::string, NetCounters> parse_net_dev(std::string_view text) {
  constexpr std::size_t kSentColumn = 8;
  std::map<std::string, NetCounters> counters;
  for_lines(text, [&](std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    const auto name = words_of(line.substr(0, colon));
    const auto words = words_of(line.substr(colon + 1));
    if (name.size() != 1 || name[0] == "lo" || words.size() <= kSentColumn) return;
    counters[std::string(name[0])] = {number_of(words[0]).value_or(0),
                                      number_of(words[kSentColumn]).value_or(0)};
  });
  return counters;
}

std::vector<std::string> parse_mounts(std::string_view text) {
  std::set<std::string_view> seen;
  std::vector<std::string> mounts;
  for_lines(text, [&](std::string_view line) {
    const auto words = words_of(line);
    if (words.size() < 3) return;
    const bool disk = words[0].starts_with("/dev/") && !words[0].starts_with("/dev/loop");
    if (!disk && words[1] != "/" && words[2] != "zfs") return;
    if (seen.insert(words[0]).second) mounts.push_back(unescaped(words[1]));
  });
  return mounts;
}

bool is_disk(std::string_view name) {
  constexpr std::array<std::string_view, 5> kOthers = {"loop", "ram", "zram", "sr", "fd"};
  return std::none_of(kOthers.begin(), kOthers.end(), [&](std::string_view other) {
    return name.starts_with(other) && name.size() > other.size() &&
           std::isdigit(static_cast<unsigned char>(name[other.size()])) != 0;
  });
}

proto::Facts fit_facts(const std::map<std::string, std::string>& values,
                       const std::vector<std::string>& addresses) {
  constexpr std::size_t kDots = 3;
  proto::Facts facts;
  for (const auto& [name, value] : values) {
    if (value.empty() || facts.values_size() == kMaxFacts) continue;
    (*facts.mutable_values())[printable(name, kMaxFactBytes - kDots)] =
        printable(value, kMaxFactBytes - kDots);
  }
  for (const std::string& address : addresses) {
    if (facts.addresses_size() < kMaxAddresses) facts.add_addresses(address);
  }
  return facts;
}

void add_rates(const NodeSample& before, const NodeSample& after, proto::Figures& figures) {
  const std::int64_t over = std::max<std::int64_t>(after.at_ns - before.at_ns, 1);
  const auto rate = [&](std::uint64_t from, std::uint64_t to) {
    // An interface that was made anew begins with zero.
    return to < from ? 0
                     : static_cast<std::uint64_t>(static_cast<double>(to - from) * 1e9 /
                                                  static_cast<double>(over));
  };
  figures.set_over_ms(static_cast<std::uint32_t>(over / 1'000'000));
  if (after.cpu.total > before.cpu.total && after.cpu.busy >= before.cpu.busy) {
    figures.set_cpu_busy(static_cast<double>(after.cpu.busy - before.cpu.busy) /
                         static_cast<double>(after.cpu.total - before.cpu.total));
  }
  for (const auto& [name, now] : after.net) {
    const auto then = before.net.find(name);
    if (then == before.net.end()) continue;
    auto& interface = *figures.add_interfaces();
    interface.set_name(name);
    interface.set_received_bytes_per_second(rate(then->second.received, now.received));
    interface.set_sent_bytes_per_second(rate(then->second.sent, now.sent));
  }
}

}  // namespace p2p
