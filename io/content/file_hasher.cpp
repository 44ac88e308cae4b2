#include "io/content/file_hasher.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include "core/base/check.h"
#include "io/content/merkle.h"

namespace p2p {
namespace {

constexpr std::uint32_t kReadBytes = 1024 * 1024;
constexpr unsigned kMaxThreads = 64;
constexpr std::chrono::milliseconds kProgressInterval{100};

Error system_error(const std::string& what, int number) {
  return Error{Errc::io_failed, what + ": " + std::generic_category().message(number)};
}

Error changed(const std::string& how) {
  return Error{Errc::corrupt, "the file changed while it was hashed: " + how +
                                  "; try again when nobody writes to it"};
}

Status check_size(int fd, std::uint64_t size) {
  struct stat facts;
  if (::fstat(fd, &facts) != 0) return system_error("stat", errno);
  if (!S_ISREG(facts.st_mode)) {
    return Error{Errc::invalid_argument, "not a regular file; only those can be hashed"};
  }
  if (static_cast<std::uint64_t>(facts.st_size) != size) {
    return changed("its size is " + std::to_string(facts.st_size) + " instead of " +
                   std::to_string(size));
  }
  return {};
}

Status read_exactly(int fd, std::uint64_t offset, std::span<std::uint8_t> into) {
  while (!into.empty()) {
    const ssize_t got = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read at " + std::to_string(offset), errno);
    if (got == 0) return changed("it ends at " + std::to_string(offset));
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

// Collects runs of data in rising order and makes them keep the rules of a manifest.
class ExtentList {
 public:
  explicit ExtentList(std::uint64_t size) : size_(size) {}

  void add(std::uint64_t begin, std::uint64_t end) {
    begin = begin / kBlockBytes * kBlockBytes;
    end = std::min((end + kBlockBytes - 1) / kBlockBytes * kBlockBytes, size_);
    if (begin < kMinHoleBytes) begin = 0;
    if (size_ - end < kMinHoleBytes) end = size_;
    append(ranges_, begin, end);
    while (ranges_.size() > kMaxDataExtents) widen();
  }

  std::vector<ByteRange> take() && {
    // A hole that is a whole small file is too short to be one.
    if (ranges_.empty() && size_ > 0 && size_ < kMinHoleBytes) ranges_.push_back({0, size_});
    return std::move(ranges_);
  }

 private:
  void append(std::vector<ByteRange>& ranges, std::uint64_t begin, std::uint64_t end) const {
    if (!ranges.empty() && begin < ranges.back().end() + min_hole_) {
      ranges.back().length = std::max(end, ranges.back().end()) - ranges.back().offset;
    } else {
      ranges.push_back({begin, end - begin});
    }
  }
  void widen() {
    min_hole_ *= 2;
    std::vector<ByteRange> fewer;
    for (const ByteRange& range : ranges_) append(fewer, range.offset, range.end());
    ranges_ = std::move(fewer);
  }

  std::uint64_t size_;
  std::uint64_t min_hole_ = kMinHoleBytes;
  std::vector<ByteRange> ranges_;
};

// Calls add(begin, end) for every run of data in [from, to).
template <class Add>
Status walk_data(int fd, std::uint64_t from, std::uint64_t to, Add add) {
  while (from < to) {
    const off_t begin = ::lseek(fd, static_cast<off_t>(from), SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return {};
    const off_t end = begin < 0 ? begin : ::lseek(fd, begin, SEEK_HOLE);
    // The end moved below `begin` between the two calls; reading or the last look at the size
    // finds that.
    if (begin >= 0 && end < 0 && errno == ENXIO) return {};
    if (end < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
      add(from, to);
      return {};
    }
    if (end < 0) return system_error("look for data from " + std::to_string(from), errno);
    if (static_cast<std::uint64_t>(begin) >= to) return {};
    add(static_cast<std::uint64_t>(begin), std::min(static_cast<std::uint64_t>(end), to));
    from = static_cast<std::uint64_t>(end);
  }
  return {};
}

// Chunks of an open file, read and hashed one at a time with one buffer. One thread's.
class ChunkReader {
 public:
  // For reads of at most `read_bytes`.
  ChunkReader(int fd, std::uint32_t read_bytes) : fd_(fd), buffer_(read_bytes) {}

  // `step(bytes)` hears of every read when it is hashed and returns false to stop
  // (Errc::cancelled). Blocks outside of `ranges`, which are relative to the chunk, count as zeros.
  template <class Step>
  Result<Digest> root_of(const ChunkSpace& space, ChunkIndex chunk,
                         const std::vector<ByteRange>& ranges, Step step) {
    const std::uint32_t size = space.size_of(chunk);
    leaves_.assign(space.leaves_of(chunk), zero_block_digest(kBlockBytes));
    const std::uint32_t tail = size % kBlockBytes;
    if (tail != 0) leaves_.back() = zero_block_digest(tail);
    for (const ByteRange& range : ranges) {
      const std::span<std::uint8_t> bytes(buffer_.data(), range.length);
      if (Status read = read_exactly(fd_, space.offset_of(chunk) + range.offset, bytes); !read) {
        return read.error();
      }
      hash_leaves(bytes, leaves_.data() + range.offset / kBlockBytes);
      if (!step(range.length)) return Error{Errc::cancelled, "hashing was stopped"};
    }
    return merkle_root(leaves_, space.padded_leaves_of(chunk));
  }

 private:
  int fd_;
  std::vector<std::uint8_t> buffer_;
  std::vector<Digest> leaves_;
};

// One run of hash_file: workers take chunk after chunk; the caller's thread waits and reports.
class HashRun {
 public:
  HashRun(int fd, ChunkSpace space, const HashOptions& options)
      : fd_(fd), options_(options), space_(std::move(space)), roots_(space_.count()) {}

  Result<std::vector<Digest>> run() {
    const Digest zero = zero_block_digest(kBlockBytes);
    hole_root_ = merkle_root(std::vector<Digest>(space_.chunk_bytes() / kBlockBytes, zero),
                             space_.chunk_bytes() / kBlockBytes);
    std::vector<std::jthread> workers;
    start(workers);
    if (workers.empty()) {
      return Error{Errc::exhausted,
                   "no thread could be started for hashing: the limit on"
                   " processes is reached"};
    }
    report(workers.size());
    workers.clear();
    if (error_) return *error_;
    return std::move(roots_);
  }

 private:
  void start(std::vector<std::jthread>& workers) {
    unsigned wanted =
        options_.threads != 0 ? options_.threads : std::thread::hardware_concurrency();
    wanted = std::min({std::max(wanted, 1u), kMaxThreads, space_.count()});
    workers.reserve(wanted);
    try {
      while (workers.size() < wanted) workers.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // Fewer threads than wanted do the same work.
    }
  }

  void work() {
    ChunkReader reader(fd_, std::min(space_.chunk_bytes(), kReadBytes));
    for (;;) {
      const std::uint32_t next = next_.fetch_add(1, std::memory_order_relaxed);
      if (next >= space_.count() || failed_.load(std::memory_order_relaxed)) break;
      if (Status status = hash_chunk(reader, ChunkIndex{next}); !status) {
        fail(status.error());
        break;
      }
    }
    const std::lock_guard lock(mutex_);
    ++finished_;
    finished_changed_.notify_one();
  }

  Status hash_chunk(ChunkReader& reader, ChunkIndex chunk) {
    const std::vector<ByteRange> ranges = space_.ranges_of(chunk, kReadBytes);
    const std::uint32_t size = space_.size_of(chunk);
    if (stopped()) return Error{Errc::cancelled, "hashing was stopped"};
    std::uint64_t counted = 0;
    if (ranges.empty() && size == space_.chunk_bytes()) {
      roots_[chunk.value] = hole_root_;
    } else {
      const Result<Digest> root = reader.root_of(space_, chunk, ranges, [&](std::uint64_t bytes) {
        counted += bytes;
        done_.fetch_add(bytes, std::memory_order_relaxed);
        return !stopped();
      });
      if (!root) return root.error();
      roots_[chunk.value] = *root;
    }
    done_.fetch_add(size - counted, std::memory_order_relaxed);
    return {};
  }

  bool stopped() const {
    return failed_.load(std::memory_order_relaxed) ||
           (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed));
  }

  // The first error is the one that is told.
  void fail(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
    failed_.store(true, std::memory_order_relaxed);
  }

  void report(std::size_t workers) {
    const auto all_finished = [&] { return finished_ == workers; };
    std::unique_lock lock(mutex_);
    if (!options_.progress) {
      finished_changed_.wait(lock, all_finished);
      return;
    }
    while (!finished_changed_.wait_for(lock, kProgressInterval, all_finished)) {
      lock.unlock();
      options_.progress(done_.load(std::memory_order_relaxed));
      lock.lock();
    }
  }

  const int fd_;
  const HashOptions& options_;
  const ChunkSpace space_;
  Digest hole_root_;
  std::vector<Digest> roots_;  // each written by one worker, read after all have ended
  std::atomic<std::uint32_t> next_ = 0;
  std::atomic<std::uint64_t> done_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::condition_variable finished_changed_;
  std::size_t finished_ = 0;    // guarded by mutex_
  std::optional<Error> error_;  // guarded by mutex_
};

// A tree with the right shape for its size, its hashes not known yet.
HashTree blank_tree(std::uint64_t size) {
  HashTree tree;
  tree.size = size;
  if (const std::uint32_t chunks = chunk_count_for(size); chunks > 1) tree.layer.resize(chunks);
  return tree;
}

}  // namespace

Result<std::vector<ByteRange>> data_extents_of(int fd, std::uint64_t size) {
  ExtentList list(size);
  const auto add = [&](std::uint64_t begin, std::uint64_t end) { list.add(begin, end); };
  if (Status walked = walk_data(fd, 0, size, add); !walked) return walked.error();
  return std::move(list).take();
}

Result<FileHash> hash_file(int fd, std::uint64_t size, const HashOptions& options) {
  if (size > kMaxFileBytes) {
    return Error{Errc::invalid_argument, "a file of " + std::to_string(size) +
                                             " bytes is above the limit of " +
                                             std::to_string(kMaxFileBytes)};
  }
  if (Status same = check_size(fd, size); !same) return same.error();
  Result<std::vector<ByteRange>> data = data_extents_of(fd, size);
  if (!data) return data.error();
  FileHash hash{blank_tree(size), *std::move(data)};
  if (size > 0) {
    // Advice only: without it hashing is slower, not wrong.
    static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    HashRun run(fd, ChunkSpace(hash.tree, hash.data), options);
    Result<std::vector<Digest>> roots = run.run();
    if (!roots) return roots.error();
    if (roots->size() == 1) {
      hash.tree.root = roots->front();
    } else {
      hash.tree.layer = *std::move(roots);
      hash.tree.root = root_of_layer(hash.tree.layer, chunk_bytes_for(size) / kBlockBytes);
    }
    // What was cut off inside a hole is seen by nobody who reads data only.
    if (Status same = check_size(fd, size); !same) return same.error();
  }
  if (options.progress) options.progress(size);
  return hash;
}

Result<Digest> hash_chunk_of_file(int fd, const ChunkSpace& space, ChunkIndex chunk) {
  const std::uint64_t begin = space.offset_of(chunk);
  const std::uint64_t end = begin + space.size_of(chunk);
  struct stat facts;
  if (::fstat(fd, &facts) != 0) return system_error("stat", errno);
  if (static_cast<std::uint64_t>(facts.st_size) < end) {
    return Error{Errc::corrupt, "chunk " + std::to_string(chunk.value) + " ends at " +
                                    std::to_string(end) + ", the file at " +
                                    std::to_string(facts.st_size)};
  }
  ExtentList extents(end - begin);
  const auto add = [&](std::uint64_t from, std::uint64_t to) {
    extents.add(from - begin, to - begin);
  };
  if (Status walked = walk_data(fd, begin, end, add); !walked) return walked.error();
  std::vector<ByteRange> reads;
  for (const ByteRange& extent : std::move(extents).take()) {
    for (std::uint64_t at = extent.offset; at < extent.end(); at += kReadBytes) {
      reads.push_back({at, std::min<std::uint64_t>(kReadBytes, extent.end() - at)});
    }
  }
  ChunkReader reader(fd, std::min(space.chunk_bytes(), kReadBytes));
  return reader.root_of(space, chunk, reads, [](std::uint64_t) { return true; });
}

Result<Manifest> make_file_manifest(std::string base_name, const FileFacts& facts, FileHash hash) {
  if (facts.size != hash.tree.size) {
    return changed("its size is " + std::to_string(facts.size) + " instead of " +
                   std::to_string(hash.tree.size));
  }
  ManifestEntry entry;
  entry.path = std::move(base_name);
  entry.mode = facts.mode;
  entry.owner = facts.owner;
  entry.group = facts.group;
  entry.mtime_ns = facts.mtime_ns;
  entry.tree = std::move(hash.tree);
  entry.data = std::move(hash.data);
  Manifest manifest;
  manifest.entries.push_back(std::move(entry));
  if (const Status valid = validate(manifest); !valid) return valid.error();
  return manifest;
}

}  // namespace p2p
