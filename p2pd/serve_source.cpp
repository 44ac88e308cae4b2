#include "p2pd/serve_source.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <array>
#include <climits>
#include <cstring>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

std::optional<FileStamp> stamp_of(const Fd& file) {
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return std::nullopt;
  return FileStamp{static_cast<std::uint64_t>(facts.st_size),
                   facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec};
}

// A gap this short is read and thrown away: that costs less than another call. Most edits of pages
// leave gaps of whole pages.
constexpr std::uint64_t kGapMax = 4096;

// Reads the first of the ranges, as far as they are near each other, with one call. How many ranges
// that were; 0: not all of their bytes came.
std::size_t read_near(const ServeSource& source, std::span<const ByteRange> ranges,
                      std::uint8_t* into, int flags) {
  std::array<std::uint8_t, kGapMax> gap;
  std::array<iovec, 64> parts;
  static_assert(parts.size() <= IOV_MAX);
  std::size_t used = 0;
  std::size_t bytes = 0;
  std::size_t count = 0;
  std::uint64_t end = ranges.front().offset;
  for (; count < ranges.size() && used + 2 <= parts.size(); ++count) {
    const ByteRange& range = ranges[count];
    const std::uint64_t skipped = range.offset - end;
    if (skipped > kGapMax) break;
    if (skipped > 0) parts[used++] = {gap.data(), skipped};
    parts[used++] = {into, range.length};
    into += range.length;
    bytes += skipped + range.length;
    end = range.end();
  }
  const ssize_t got = ::preadv2(source.file.get(), parts.data(), static_cast<int>(used),
                                static_cast<off_t>(ranges.front().offset), flags);
  return got == static_cast<ssize_t>(bytes) ? count : 0;
}

bool read_memory(const ServeSource& source, std::span<const ByteRange> ranges, std::uint8_t* into) {
  for (const ByteRange& range : ranges) {
    if (range.end() > source.memory.size()) return false;
    std::memcpy(into, source.memory.data() + range.offset, range.length);
    into += range.length;
  }
  return true;
}

}  // namespace

void ServeSource::look_at_file_system() {
  // tmpfs refuses RWF_NOWAIT, although its reads never wait.
  struct statfs facts {};
  always_cached = ::fstatfs(file.get(), &facts) == 0 && facts.f_type == TMPFS_MAGIC;
}

void ServeSource::watch() {
  stamp = stamp_of(file);
}

bool ServeSource::has_changed() const {
  return stamp && stamp_of(file) != stamp;
}

Error changed_while_served(const ServeSource& source) {
  return Error{Errc::corrupt, source.name + " was written to while it was served"};
}

bool read_if_cached(const ServeSource& source, std::span<const ByteRange> ranges,
                    std::span<std::uint8_t> into) {
  if (source.in_memory()) return read_memory(source, ranges, into.data());
  std::uint8_t* next = into.data();
  while (!ranges.empty()) {
    const std::size_t count =
        read_near(source, ranges, next, source.always_cached ? 0 : RWF_NOWAIT);
    if (count == 0) return false;
    for (const ByteRange& range : ranges.first(count)) next += range.length;
    ranges = ranges.subspan(count);
  }
  return true;
}

Status read_blocking(const ServeSource& source, std::span<const ByteRange> ranges,
                     std::span<std::uint8_t> into) {
  if (source.in_memory()) {
    if (read_memory(source, ranges, into.data())) return {};
    return Error{Errc::corrupt, source.name + ": too short"};
  }
  while (!ranges.empty()) {
    std::size_t count = read_near(source, ranges, into.data(), 0);
    if (count == 0) {  // an error, or an interruption: the plain way deals with both
      count = 1;
      const std::span<std::uint8_t> one = into.first(ranges.front().length);
      Status read = read_exactly_at(source.file.get(), one, ranges.front().offset, source.name);
      if (!read) return read;
    }
    for (const ByteRange& range : ranges.first(count)) into = into.subspan(range.length);
    ranges = ranges.subspan(count);
  }
  return {};
}

}  // namespace p2p
