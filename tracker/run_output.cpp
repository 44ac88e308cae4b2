#include "tracker/run_output.h"

#include <fcntl.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

constexpr std::uint32_t kMagic = 0x4f4e5552;  // "RUNO"
constexpr std::uint64_t kErrBit = std::uint64_t{1} << 63;
constexpr std::size_t kChecksumAt = 24;
constexpr std::size_t kReadBytes = 1024 * 1024;
// Read at most for one page when only one run's pieces are wanted.
constexpr std::uint64_t kMaxScanned = 16 * 1024 * 1024;

void put32(char* at, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(value >> (8 * i));
}
void put64(char* at, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<char>(value >> (8 * i));
}
std::uint64_t get(const char* at, int bytes) {
  std::uint64_t value = 0;
  for (int i = bytes; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(at[i]);
  return value;
}

std::uint64_t checksum(const char* header, std::string_view bytes, std::uint64_t position) {
  const XXH64_hash_t head = XXH3_64bits_withSeed(header, kChecksumAt, position);
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), head);
}

// A record as it stands at the beginning of `bytes`; nothing when it is not whole, or not good.
struct Record {
  OutputPieceAt at;
  std::string_view bytes;
};
std::optional<Record> parse(std::string_view bytes, std::uint64_t position) {
  if (bytes.size() < kOutputHeaderBytes || get(bytes.data(), 4) != kMagic) return std::nullopt;
  const std::size_t length = get(bytes.data() + 16, 4);
  if (length > kMaxOutputPieceBytes || bytes.size() - kOutputHeaderBytes < length) {
    return std::nullopt;
  }
  Record record;
  record.at.run = static_cast<std::uint32_t>(get(bytes.data() + 4, 4));
  const std::uint64_t offset = get(bytes.data() + 8, 8);
  record.at.err = (offset & kErrBit) != 0;
  record.at.offset = offset & ~kErrBit;
  record.bytes = bytes.substr(kOutputHeaderBytes, length);
  if (get(bytes.data() + kChecksumAt, 8) != checksum(bytes.data(), record.bytes, position)) {
    return std::nullopt;
  }
  return record;
}

// Good records from `from` on, until `visit` says no, the file ends, or one is not good. Where that
// is; `stopped` says that `visit` was the reason.
struct Walk {
  std::uint64_t end = 0;
  bool stopped = false;
};
Result<Walk> walk(int fd, const std::string& path, std::uint64_t from, std::uint64_t end,
                  const std::function<bool(const Record&, std::uint64_t behind)>& visit) {
  std::string buffer;
  std::uint64_t position = from;
  while (position < end) {
    buffer.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kReadBytes, end - position)));
    auto* into = reinterpret_cast<std::uint8_t*>(buffer.data());
    const auto read = read_at(fd, {into, buffer.size()}, position, path);
    if (!read) return read.error();
    std::string_view rest(buffer.data(), *read);
    const std::uint64_t before = position;
    while (const auto record = parse(rest, position)) {
      const std::size_t size = kOutputHeaderBytes + record->bytes.size();
      if (!visit(*record, position + size)) return Walk{position, true};
      position += size;
      rest.remove_prefix(size);
    }
    if (position == before) break;  // not even one: a bad one, or the end
  }
  return Walk{position, false};
}

Result<std::optional<Fd>> open_to_read(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (file) return std::optional(std::move(file));
  if (errno == ENOENT) return std::optional<Fd>();
  return error_from_errno(errno, "open " + path);
}

}  // namespace

void append_output_record(std::string& out, std::uint64_t position, const OutputPieceAt& piece,
                          std::string_view bytes) {
  char header[kOutputHeaderBytes] = {};
  put32(header, kMagic);
  put32(header + 4, piece.run);
  put64(header + 8, piece.offset | (piece.err ? kErrBit : 0));
  put32(header + 16, static_cast<std::uint32_t>(bytes.size()));
  put64(header + kChecksumAt, checksum(header, bytes, position));
  out.append(header, sizeof header);
  out.append(bytes);
}

Status OutputLog::open() {
  file_ = Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_) return error_from_errno(errno, "open " + path_);
  return {};
}

Status OutputLog::append(std::uint64_t position, const std::string& records) {
  if (failed_) return *failed_;
  Status done = file_ ? Status() : open();
  const auto* first = reinterpret_cast<const std::uint8_t*>(records.data());
  if (done) done = calls_.write_at(file_.get(), {first, records.size()}, position, path_);
  if (done) return {};
  failed_ = done.error();
  if (file_) {
    // What is left of it would be cut off at the next start; those who read now must not see it.
    if (const Status cut = calls_.set_size(file_.get(), position, path_); !cut) {
      failed_->detail += "; " + cut.error().detail;
    }
  }
  return *failed_;
}

Status OutputLog::sync() {
  if (!file_) return failed_ ? Status(*failed_) : Status();
  Status done = calls_.sync_data(file_.get(), path_);
  if (done && !name_synced_) {
    const std::string folder = path_.substr(0, path_.rfind('/'));
    const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    done = fd ? calls_.sync_folder(fd.get(), folder) : error_from_errno(errno, "open " + folder);
    name_synced_ = done.has_value();
  }
  if (!done && !failed_) failed_ = done.error();
  return done;
}

Result<std::uint64_t> recover_output(const std::string& path, const OutputVisitor& visit,
                                     FileCalls& calls) {
  auto file = open_to_read(path);
  if (!file) return file.error();
  if (!*file) return std::uint64_t{0};
  const int fd = (*file)->get();
  const auto state = state_of(fd, path);
  if (!state) return state.error();
  const auto walked = walk(fd, path, 0, state->size, [&](const Record& record, std::uint64_t) {
    visit(record.at, record.bytes.size());
    return true;
  });
  if (!walked) return walked.error();
  if (walked->end < state->size) {
    if (Status cut = calls.set_size(fd, walked->end, path); !cut) return cut.error();
  }
  // What was read may have been in memory only; from now on it counts as being on the disk.
  if (Status synced = calls.sync_all(fd, path); !synced) return synced.error();
  return walked->end;
}

Result<OutputChunk> read_output(const std::string& path, const OutputWish& wish) {
  auto file = open_to_read(path);
  if (!file) return file.error();
  if (!*file) return Error{Errc::not_found, path + " is not there"};
  const auto state = state_of((*file)->get(), path);
  if (!state) return state.error();
  const std::uint64_t end = std::min(state->size, wish.end.value_or(state->size));
  OutputChunk chunk;
  chunk.next = wish.from;
  if (wish.from > end) {
    return Error{Errc::invalid_argument, "there is no output behind " + std::to_string(wish.from)};
  }
  std::size_t bytes = 0;
  const auto walked =
      walk((*file)->get(), path, wish.from, end, [&](const Record& record, std::uint64_t behind) {
        if (bytes > 0 && bytes + record.bytes.size() > wish.bytes_max) {
          return false;
        }
        if (behind - wish.from > kMaxScanned) return false;
        chunk.next = behind;
        if (wish.run && *wish.run != record.at.run) return true;
        bytes += record.bytes.size();
        chunk.pieces.push_back({record.at, std::string(record.bytes)});
        return true;
      });
  if (!walked) return walked.error();
  if (!walked->stopped && walked->end < end) {
    if (walked->end == wish.from) {
      return Error{Errc::invalid_argument, std::to_string(wish.from) +
                                               " is no place to read on from: use one that an "
                                               "answer has named, or 0"};
    }
    return Error{Errc::corrupt, path + " cannot be read at " + std::to_string(walked->end)};
  }
  chunk.more = chunk.next < end;
  return chunk;
}

}  // namespace p2p
