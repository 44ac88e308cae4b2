#include "p2pd/part.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <utility>

#include "core/base/buffer.h"
#include "core/delta/reflink_rules.h"
#include "io/content/merkle.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"

namespace p2p {
namespace {

constexpr std::string_view kPartPrefix = ".p2pd-";

constexpr std::uint64_t kReadStep = 1024 * 1024;

// Calls `visit(range)` for what of [from, to) lies outside of the file's data, until it says no.
template <class Visit>
Result<bool> each_gap(const ChunkSpace& space, std::uint64_t from, std::uint64_t to, Visit visit) {
  std::uint64_t at = from;
  for (auto index = static_cast<std::uint32_t>(from / space.chunk_bytes());
       at < to && index < space.count(); ++index) {
    const ChunkIndex chunk{index};
    const std::uint64_t start = space.offset_of(chunk);
    for (const ByteRange& data : space.ranges_of(chunk, kMaxChunkBytes)) {
      const std::uint64_t begin = std::min(start + data.offset, to);
      if (begin > at) {
        auto go_on = visit(ByteRange{at, begin - at});
        if (!go_on || !*go_on) return go_on;
      }
      at = std::max(at, start + data.end());
    }
    const std::uint64_t end = std::min(start + space.size_of(chunk), to);
    if (end > at) {
      auto go_on = visit(ByteRange{at, end - at});
      if (!go_on || !*go_on) return go_on;
      at = end;
    }
  }
  return true;
}

// Those of a chunk that is one hole.
std::vector<Digest> leaves_of_hole(const ChunkSpace& space, ChunkIndex chunk) {
  std::vector<Digest> leaves(space.leaves_of(chunk), zero_block_digest(kBlockBytes));
  const std::uint32_t tail = space.size_of(chunk) % kBlockBytes;
  if (tail != 0) leaves.back() = zero_block_digest(tail);
  return leaves;
}

// Reads the data of a chunk and hashes it; what lies between counts as zeros.
Result<std::vector<Digest>> leaves_of(const ChunkSpace& space, ChunkIndex chunk, int fd,
                                      Buffer& bytes, std::string_view name) {
  std::vector<Digest> leaves = leaves_of_hole(space, chunk);
  for (const ByteRange& range : space.ranges_of(chunk, kMaxChunkBytes)) {
    const auto piece = bytes.span().subspan(range.offset, range.length);
    if (Status read = read_exactly_at(fd, piece, space.offset_of(chunk) + range.offset, name);
        !read) {
      return read.error();
    }
    hash_leaves(piece, leaves.data() + range.offset / kBlockBytes);
  }
  return leaves;
}

}  // namespace

std::string part_name(const ContentId& content, JobId job, NodeId node) {
  return std::string(kPartPrefix) + content.hex().substr(0, 16) + "-" + job.str() + "-" +
         node.str().substr(0, 8) + ".part";
}

DiskPool::Lane content_lane(const ContentId& content) {
  DiskPool::Lane lane = 0;
  for (std::size_t i = 0; i < sizeof lane; ++i) lane = lane << 8 | content.digest.bytes[i];
  return lane & ~DiskPool::Lane{1};
}

std::optional<DiskPool::Lane> content_lane(std::string_view part_name) {
  constexpr std::size_t kDigits = 2 * sizeof(DiskPool::Lane);
  if (!part_name.starts_with(kPartPrefix)) return std::nullopt;
  part_name.remove_prefix(kPartPrefix.size());
  if (part_name.size() <= kDigits || part_name[kDigits] != '-') return std::nullopt;
  DiskPool::Lane lane = 0;
  const char* const last = part_name.data() + kDigits;
  const auto [stop, error] = std::from_chars(part_name.data(), last, lane, 16);
  if (error != std::errc() || stop != last) return std::nullopt;
  return lane & ~DiskPool::Lane{1};
}

Result<Part::Found> Part::open(const PartTools& tools, Order order) {
  const ContentId content = order.content;
  auto known = tools.records.find(content);
  if (!known) return known.error();
  Found found;
  const std::uint32_t chunks = order.space.count();
  if (*known && ((*known)->place.destination.root != order.place.destination.root ||
                 (*known)->place.destination.relative != order.place.destination.relative)) {
    if (Status removed = remove(tools, **known); !removed) return removed.error();
    known->reset();
  }
  if (*known) {
    order.place.part = (*known)->place.part;
    // Landed already? Then its inode bears the final name.
    const auto there = tools.privileged.open_landed(order.place.destination);
    const auto state =
        there ? state_of(there->get(), order.final_path) : Result<FileState>(there.error());
    if (state && (*known)->file.inode != 0 && state->inode == (*known)->file.inode &&
        state->device == (*known)->file.device && state->birth_ns == (*known)->file.birth_ns &&
        state->size == order.space.size()) {
      auto facts = facts_of(*there);
      if (facts && facts->mtime_ns == order.mtime_ns) {
        found.landed = std::move(*facts);
        return found;
      }
    }
    if (Status taken = tools.records.take_over(content, order.place.job); !taken) {
      return taken.error();
    }
  } else if (Status intended = tools.records.intend(content, order.place); !intended) {
    return intended.error().within("checkpoint");
  }

  found.part.reset(new Part(tools, std::move(order)));
  Part& part = *found.part;
  if (Status made = part.make(); !made) return made.error();
  // Before the size is set: a file that was made a moment ago must not fit an old record.
  found.durable = tools.records.durable(content, part.place(), part.state_, chunks);
  const Bitfield verified = tools.records.verified(content, part.place(), part.state_, chunks);
  const bool on_record = !found.durable.none() || !verified.none();
  auto doubtful = part.look(found.durable, on_record);
  if (!doubtful) return doubtful.error();
  found.doubtful = std::move(*doubtful);
  for (std::uint32_t i = verified.find(0, true); i < chunks; i = verified.find(i + 1, true)) {
    if (!found.durable.test(i)) found.doubtful.set(i);
  }

  if (part.order_.allocate) {
    found.needed = part.space().size() - std::min(part.space().size(), part.state_.allocated);
  } else {
    for (std::uint32_t i = 0; i < chunks; ++i) {
      if (found.durable.test(i) || found.doubtful.test(i)) continue;
      found.needed += part.space().data_bytes_of(ChunkIndex{i});
    }
  }
  auto free = tools.privileged.free_space(part.place().destination);
  if (!free) return free.error();
  found.free = *free;
  return found;
}

// The file, whatever it holds.
Status Part::make() {
  auto file = tools_.privileged.open_part(order_.place.destination, order_.place.part);
  if (!file) return file.error();
  auto state = state_of(file->get(), name());
  if (!state) return state.error();
  state_ = *state;
  source_ = std::make_shared<ServeSource>();
  source_->space = order_.space;
  source_->file = std::move(*file);
  source_->name = name();
  source_->look_at_file_system();
  return {};
}

// The chunks that look written and are not on record. A part of which nothing is on record (it is
// new, or the records were lost) is emptied when it holds anything where the file has holes.
Result<Bitfield> Part::look(const Bitfield& durable, bool on_record) {
  const ChunkSpace& space = order_.space;
  Bitfield doubtful(space.count());
  bool ours = on_record || (state_.size == space.size() && state_.size > 0);
  std::vector<ByteRange> kept;
  if (ours) {
    std::uint64_t kept_bytes = 0;
    for (std::uint64_t at = 0; at < space.size();) {
      auto run = next_data(fd(), at, name());
      if (!run) return run.error();
      if (!*run) break;
      kept.push_back(**run);
      kept_bytes += (*run)->length;
      at = (*run)->end();
    }
    // A file system that calls all of it data tells nothing; what was verified is on record.
    const bool tells_holes = kept_bytes < space.size() || state_.allocated >= space.size();
    if (on_record && !tells_holes) kept.clear();
  }
  if (ours && !on_record) {
    for (const ByteRange& run : kept) {
      auto zeros = each_gap(space, run.offset, std::min(run.end(), space.size()),
                            [&](const ByteRange& gap) { return only_zeros(gap); });
      if (!zeros) return zeros.error();
      if (!*zeros) ours = false;
    }
  }
  if (!on_record) {
    if (!ours) {
      if (Status emptied = tools_.files.set_size(fd(), 0, name()); !emptied) {
        return emptied.error();
      }
      kept.clear();
    }
    if (Status sized = size_up(); !sized) return sized.error();
    if (Status begun = tools_.records.begin(order_.content, order_.place, state_); !begun) {
      return begun.error().within("checkpoint");
    }
  }
  // A chunk counts when all of its data is kept: both lists rise.
  std::size_t run = 0;
  for (std::uint32_t i = 0; i < space.count(); ++i) {
    const ChunkIndex chunk{i};
    if (durable.test(i) || space.data_bytes_of(chunk) == 0) continue;
    const std::uint64_t start = space.offset_of(chunk);
    bool whole = true;
    for (const ByteRange& data : space.ranges_of(chunk, kMaxChunkBytes)) {
      while (run < kept.size() && kept[run].end() <= start + data.offset) ++run;
      std::uint64_t covered = start + data.offset;
      // Pieces that touch are one run for the kernel, but it need not be.
      for (std::size_t r = run; r < kept.size() && kept[r].offset <= covered; ++r) {
        covered = std::max(covered, kept[r].end());
      }
      whole = whole && covered >= start + data.end();
    }
    if (whole) doubtful.set(i);
  }
  return doubtful;
}

Status Part::size_up() {
  if (Status sized = tools_.files.set_size(fd(), order_.space.size(), name()); !sized) {
    return sized;
  }
  auto state = state_of(fd(), name());
  if (!state) return state.error();
  state_ = *state;
  return {};
}

Result<bool> Part::only_zeros(const ByteRange& range) {
  std::vector<std::uint8_t> bytes;
  for (std::uint64_t at = range.offset; at < range.end();) {
    bytes.resize(std::min(kReadStep, range.end() - at));
    auto got = read_at(fd(), bytes, at, name());
    if (!got) return got.error();
    if (*got == 0) return true;
    bytes.resize(*got);
    if (std::any_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte != 0; })) {
      return false;
    }
    at += *got;
  }
  return true;
}

Status Part::allocate() {
  return tools_.files.allocate(fd(), order_.space.size(), name());
}

Status Part::write(std::span<const std::uint8_t> bytes, std::uint64_t offset) {
  // On both sides of it: a write behind the end of a file that was cut makes it long again, with
  // zeros where verified bytes were.
  if (Status whole = check_size(); !whole) return whole;
  if (Status written = tools_.files.write_at(fd(), bytes, offset, name()); !written) return written;
  return check_size();
}

Status Part::check_size() const {
  struct stat now {};
  if (::fstat(fd(), &now) != 0) return error_from_errno(errno, "look at " + name());
  const auto size = static_cast<std::uint64_t>(now.st_size);
  if (now.st_nlink == 0) {
    return Error{Errc::corrupt, "the unfinished file of " + name() +
                                    " was deleted while it was written; push again"};
  }
  if (size == state_.size) return {};
  return Error{Errc::corrupt, "the unfinished file of " + name() + " was made " +
                                  (size < state_.size ? "shorter" : "longer") +
                                  " by somebody else while it was written; push again"};
}

Status Part::check(ChunkIndex chunk) {
  Buffer bytes(order_.space.size_of(chunk));
  const auto leaves = leaves_of(order_.space, chunk, fd(), bytes, name());
  if (!leaves) return leaves.error();
  return verify_chunk(order_.space, chunk, *leaves);
}

Status Part::copy(ChunkIndex chunk, const Fd& from) {
  const ChunkSpace& space = order_.space;
  Buffer bytes(space.size_of(chunk));
  const auto leaves = leaves_of(space, chunk, from.get(), bytes, "local copy");
  if (!leaves) return leaves.error();
  if (Status right = verify_chunk(space, chunk, *leaves); !right) return right;
  for (const ByteRange& range : space.ranges_of(chunk, kMaxChunkBytes)) {
    const auto piece = bytes.span().subspan(range.offset, range.length);
    if (Status written = write(piece, space.offset_of(chunk) + range.offset); !written) {
      return written;
    }
  }
  return {};
}

Part::PutTogether Part::put_together(ChunkIndex chunk, const ChunkPlan& plan, const Fd& old_file,
                                     bool share) {
  const ChunkSpace& space = order_.space;
  const std::uint64_t start = space.offset_of(chunk);
  PutTogether result;
  // What is shared is read from the part: the old file may change any time.
  std::vector<CopyRange> copies = plan.copies;
  std::vector<ByteRange> here = plan.missing;
  if (share) share_blocks(start, old_file, copies, here, result.shared_bytes);
  Buffer bytes(space.size_of(chunk));
  for (const CopyRange& copy : copies) {
    const auto into = bytes.span().subspan(copy.new_offset, copy.length);
    auto got = read_at(old_file.get(), into, copy.old_offset, "old file of " + name());
    if (!got) return {got.error(), {}};
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(*got), into.end(), std::uint8_t{0});
  }
  for (const ByteRange& piece : here) {
    const auto into = bytes.span().subspan(piece.offset, piece.length);
    if (Status read = read_exactly_at(fd(), into, start + piece.offset, name()); !read) {
      return {read.error(), {}};
    }
  }
  std::vector<Digest> leaves = leaves_of_hole(space, chunk);
  for (const ByteRange& range : space.ranges_of(chunk, kMaxChunkBytes)) {
    hash_leaves(bytes.span().subspan(range.offset, range.length),
                leaves.data() + range.offset / kBlockBytes);
  }
  if (Status right = verify_chunk(space, chunk, leaves); !right) {
    return {right.error(), std::move(leaves)};
  }
  // Neighbouring copies in one call.
  for (std::size_t i = 0; i < copies.size();) {
    const std::uint64_t first = copies[i].new_offset;
    std::uint64_t end = first;
    for (; i < copies.size() && copies[i].new_offset == end; ++i) end = copies[i].new_end();
    const auto piece = bytes.span().subspan(first, end - first);
    if (Status written = write(piece, start + first); !written) return {written, {}};
  }
  return result;
}

// Takes out of `copies` what could be shared, and adds it to what is `here`.
void Part::share_blocks(std::uint64_t start, const Fd& old_file, std::vector<CopyRange>& copies,
                        std::vector<ByteRange>& here, std::uint32_t& shared_bytes) {
  const std::uint32_t block = block_bytes();
  std::vector<CopyRange> rest;
  bool able = block > 0;
  for (const CopyRange& copy : copies) {
    const CopyRange in_file{start + copy.new_offset, copy.old_offset, copy.length};
    const auto part = able ? shared_part(in_file, block) : std::nullopt;
    if (part) {
      able = tools_.files
                 .clone_range(fd(), part->new_offset, old_file.get(), part->old_offset,
                              part->length, name())
                 .has_value();
    }
    if (!part || !able) {
      rest.push_back(copy);
      continue;
    }
    const std::uint64_t first = part->new_offset - start;
    if (first > copy.new_offset) {
      rest.push_back({copy.new_offset, copy.old_offset, first - copy.new_offset});
    }
    here.push_back({first, part->length});
    shared_bytes += static_cast<std::uint32_t>(part->length);
    const std::uint64_t end = first + part->length;
    if (end < copy.new_end()) {
      rest.push_back({end, part->old_end(), copy.new_end() - end});
    }
  }
  copies = std::move(rest);
}

std::uint32_t Part::block_bytes() const {
  struct statfs facts {};
  if (::fstatfs(fd(), &facts) != 0 || facts.f_bsize <= 0) return 0;
  const auto block = static_cast<std::uint64_t>(facts.f_bsize);
  return std::has_single_bit(block) && block <= (1u << 20) ? static_cast<std::uint32_t>(block) : 0;
}

Status Part::sync() {
  if (Status whole = check_size(); !whole) return whole;
  return tools_.files.sync_data(fd(), name());
}

void Part::forget_cache() {
  drop_cache(fd());
}

Status Part::record_durable(const Bitfield& durable, const std::vector<ChunkIndex>& news) {
  return tools_.records.record_durable(order_.content, state_, durable, news);
}

Status Part::record_verified(const Bitfield& verified, const std::vector<ChunkIndex>& news) {
  return tools_.records.record_verified(order_.content, state_, verified, news);
}

Result<FileFacts> Part::land(const FileMetadata& metadata) {
  if (Status whole = check_size(); !whole) return whole.error();
  const FileIdentity written{state_.device, state_.inode};
  if (const Status landed =
          tools_.privileged.land(order_.place.destination, order_.place.part, written, metadata);
      !landed) {
    return landed.error();
  }
  return facts_of(source_->file);
}

Result<ServeSourcePtr> Part::source_of_landed() const {
  auto landed = std::make_shared<ServeSource>();
  landed->space = order_.space;
  landed->name = name();
  landed->file = Fd(::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
  if (!landed->file) return error_from_errno(errno, "open a second time " + name());
  landed->look_at_file_system();
  landed->watch();
  return ServeSourcePtr(std::move(landed));
}

Status Part::remove() {
  return remove(tools_, {order_.content, order_.place, state_});
}

Status Part::remove(const PartTools& tools, const PartRecords::Known& known) {
  // The file first: a part without a record would never be found again.
  if (Status removed = tools.privileged.remove_part(known.place.destination, known.place.part);
      !removed) {
    return removed;
  }
  return tools.records.erase(known.content);
}

}  // namespace p2p
