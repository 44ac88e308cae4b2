// What librsyncwrap and recipes cost and find.
//   delta_wrap speed [--block 4096] [--size 256MiB]     speeds and memory on data made here
//   delta_wrap files OLD NEW [--block 4096]             what is missing of NEW to who has OLD
//   delta_wrap data vm|tar|tarhdr|dense|unrelated [--size 256MiB] [--block 4096]
// Speeds are MB (10^6 bytes) per CPU-second of one thread.
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "io/content/recipe_codec.h"
#include "io/content/recipe_maker.h"
#include "io/disk/fd.h"
#include "librsyncwrap/block_index.h"
#include "librsyncwrap/file_match.h"
#include "librsyncwrap/in_place.h"
#include "librsyncwrap/matcher.h"
#include "librsyncwrap/signature_builder.h"
#include "tests/support/delta_data.h"

namespace {

using namespace p2p;
using namespace p2p::rsync;
using delta_data::Bytes;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "delta_wrap: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) fail(result.error().detail);
  return *std::move(result);
}

void must(const Status& status) {
  if (!status) fail(status.error().detail);
}

void print_speed(const char* what, std::uint64_t bytes, double seconds) {
  std::printf("%-44s %8.0f MB/s\n", what, static_cast<double>(bytes) / 1e6 / seconds);
}

std::vector<Record> summed(const Bytes& file, std::uint32_t block, const char* what) {
  SignatureBuilder builder(block);
  const double start = cpu_seconds();
  must(builder.feed(file));
  must(builder.finish());
  if (what != nullptr) print_speed(what, file.size(), cpu_seconds() - start);
  return decode_records(builder.take());
}

// Scans until the bytes end or `seconds_max` of CPU are used.
void scan(BlockIndex& index, const Bytes& old_file, double seconds_max, const char* what) {
  const double start = cpu_seconds();
  double spent = 0;
  Matcher matcher(index, 0);
  std::span<const std::uint8_t> left = old_file;
  while (!left.empty() && spent < seconds_max) {
    left = left.subspan(must(matcher.feed(left)));
    spent = cpu_seconds() - start;
  }
  must(matcher.finish());
  print_speed(what, old_file.size() - left.size(), spent);
}

void speed(std::uint32_t block, std::uint64_t size) {
  const Bytes file = delta_data::random_bytes(1, size);
  const SignatureLayout layout = must(SignatureLayout::of(size, block));
  std::printf("blocks of %u bytes, file of %s\n", block, format_bytes(size).c_str());
  const std::vector<Record> records = summed(file, block, "signature");
  std::printf("%-44s %8.2f bytes\n", "signature, a block",
              static_cast<double>(layout.signature_bytes()) / layout.blocks());

  double start = cpu_seconds();
  InPlaceMatcher in_place(layout, 0, records);
  must(in_place.feed(file));
  must(in_place.finish());
  print_speed("in place", size, cpu_seconds() - start);
  if (!in_place.equal().all()) fail("the file does not equal itself");

  std::vector<std::uint32_t> blocks(layout.blocks());
  std::iota(blocks.begin(), blocks.end(), 0u);
  {
    BlockIndex index = must(BlockIndex::build(layout, blocks, records));
    Bytes shifted(1, 0);
    shifted.insert(shifted.end(), file.begin(), file.end());
    scan(index, shifted, 1e9, "rolling, all of it matches");
    if (!index.all_found()) fail("the shifted file was not found");
  }
  {
    // Half of the pages are new: what an image with many changes looks like to the second tier.
    Bytes half = file;
    for (std::size_t page = 0; page + 8192 <= half.size(); page += 8192) {
      const Bytes fresh = delta_data::random_bytes(page + 2, 4096);
      std::memcpy(half.data() + page, fresh.data(), fresh.size());
    }
    BlockIndex index = must(BlockIndex::build(layout, blocks, records));
    scan(index, half, 10, "rolling, every second page of 4 KiB is new");
  }

  const Bytes other = delta_data::random_bytes(3, 64 << 20);
  std::printf("\n%10s %12s %12s %16s\n", "blocks", "bytes/block", "build, s", "no match, MB/s");
  Rng rng(4);
  const SignatureLayout largest =
      must(SignatureLayout::of(static_cast<std::uint64_t>(kSegmentBlocks) * block, block));
  for (std::uint32_t count = 1024; count <= largest.segment_blocks(); count *= 4) {
    std::vector<std::uint32_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), 0u);
    std::vector<Record> drawn(count);
    for (Record& record : drawn) record = rng.next();
    const std::size_t before = heap_bytes() - count * (sizeof(Record) + sizeof(std::uint32_t));
    start = cpu_seconds();
    BlockIndex index = must(BlockIndex::build(largest, std::move(numbers), std::move(drawn)));
    const double built = cpu_seconds() - start;
    const double each = static_cast<double>(heap_bytes() - before) / count;
    start = cpu_seconds();
    double spent = 0;
    Matcher matcher(index, 0);
    std::span<const std::uint8_t> left = other;
    while (!left.empty() && spent < 2) {
      left = left.subspan(must(matcher.feed(left)));
      spent = cpu_seconds() - start;
    }
    std::printf("%10u %12.1f %12.3f %16.1f\n", count, each, built,
                static_cast<double>(other.size() - left.size()) / 1e6 / spent);
  }
}

Fd opened(const std::string& path, std::uint64_t& size) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (fd.get() < 0 || fstat(fd.get(), &info) != 0) fail(path + ": " + std::strerror(errno));
  size = static_cast<std::uint64_t>(info.st_size);
  return fd;
}

Result<std::size_t> read_at(const Fd& fd, std::uint64_t offset, std::span<std::uint8_t> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        pread(fd.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0) return Error{Errc::io_failed, std::strerror(errno)};
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

using ReadAt = std::function<Result<std::size_t>(std::uint64_t, std::span<std::uint8_t>)>;

double percent(std::uint64_t part, std::uint64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(std::max<std::uint64_t>(1, whole));
}

// Bytes, in steps of 1 MiB, that are not the same in both files.
std::uint64_t wrong_bytes(const CopyMap& map, const ReadAt& read_old, const ReadAt& read_new) {
  std::uint64_t wrong = 0;
  Bytes here(1 << 20);
  Bytes there(here.size());
  for (const CopyRange& range : map.ranges()) {
    for (std::uint64_t at = 0; at < range.length; at += here.size()) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(here.size(), range.length - at));
      const std::size_t a = must(read_new(range.new_offset + at, std::span(here).first(count)));
      const std::size_t b = must(read_old(range.old_offset + at, std::span(there).first(count)));
      if (a != count || b != count || std::memcmp(here.data(), there.data(), count) != 0) {
        wrong += count;
      }
    }
  }
  return wrong;
}

void match(const ReadAt& read_old, std::uint64_t old_size, const ReadAt& read_new,
           std::uint64_t new_size, std::uint32_t block) {
  if (block == 0) block = block_bytes_for(new_size);
  const SignatureLayout layout = must(SignatureLayout::of(new_size, block));
  std::printf("old %s, new %s, blocks of %u, signature %llu bytes\n",
              format_bytes(old_size).c_str(), format_bytes(new_size).c_str(), block,
              static_cast<unsigned long long>(layout.signature_bytes()));

  double start = cpu_seconds();
  SignatureBuilder builder(block);
  const auto header = encode_signature_header(layout);
  Bytes signature(header.begin(), header.end());
  const auto take = [&] {
    const Bytes made = builder.take();
    signature.insert(signature.end(), made.begin(), made.end());
  };
  Bytes buffer(1 << 20);
  for (std::uint64_t at = 0; at < new_size;) {
    const std::size_t got = must(read_new(at, buffer));
    if (got == 0) fail("the new file became shorter");
    must(builder.feed(std::span(buffer).first(got)));
    take();
    at += got;
  }
  must(builder.finish());
  take();
  print_speed("signature", new_size, cpu_seconds() - start);

  MatchInput input;
  input.old_bytes = old_size;
  if (old_size > 0) input.old_data = {{0, old_size}};
  input.read_old = read_old;
  input.read_signature = [&](std::uint64_t offset, std::span<std::uint8_t> out) -> Status {
    std::memcpy(out.data(), signature.data() + offset, out.size());
    return {};
  };
  start = cpu_seconds();
  const SampleResult sample = must(sample_file(layout, input));
  std::printf("sample: %.3f s, of %s %.1f %% stand in place, %.1f %% nearby\n",
              cpu_seconds() - start, format_bytes(sample.old_bytes).c_str(),
              percent(sample.in_place_bytes, sample.old_bytes),
              percent(sample.rolled_bytes, sample.old_bytes));

  double rolling_since = 0;
  start = cpu_seconds();
  input.pace = [&](const MatchProgress& progress) {
    if (progress.tier == MatchTier::rolling && rolling_since == 0) rolling_since = cpu_seconds();
    return MatchPace::go_on;
  };
  const std::vector<ByteRange> all{{0, new_size}};
  const MatchResult result = must(match_file(layout, all, input));
  const double end = cpu_seconds();
  const double rolled = rolling_since == 0 ? 0 : end - rolling_since;
  const std::uint64_t missing = new_size - result.map.copied_bytes();
  std::printf("in place: %.2f s for %s, found %s\n", end - start - rolled,
              format_bytes(result.old_bytes_summed).c_str(),
              format_bytes(result.in_place_bytes).c_str());
  std::printf("rolling:  %.2f s for %s, found %s\n", rolled,
              format_bytes(result.old_bytes_rolled).c_str(),
              format_bytes(result.rolled_bytes).c_str());
  std::printf("%zu ranges; missing %llu bytes (%.2f %%), with the signature %llu\n",
              result.map.ranges().size(), static_cast<unsigned long long>(missing),
              percent(missing, new_size),
              static_cast<unsigned long long>(missing + layout.signature_bytes()));
  std::printf("wrong: %llu bytes\n",
              static_cast<unsigned long long>(wrong_bytes(result.map, read_old, read_new)));

  start = cpu_seconds();
  const auto whole = [](std::uint64_t file_size, const ReadAt& read) {
    RecipeInput file{file_size, {}, read};
    if (file_size > 0) file.data = {{0, file_size}};
    return file;
  };
  const CopyMap copies =
      must(find_copies(whole(old_size, read_old), whole(new_size, read_new), {}));
  const double made_in = cpu_seconds() - start;
  const std::string recipe = encode_recipe({{old_size, {}}, {new_size, {}}, copies.ranges()});
  const std::uint64_t left = new_size - copies.copied_bytes();
  std::printf(
      "recipe: %.2f s, %zu ranges in %zu bytes; missing %llu bytes (%.2f %%), with the "
      "recipe %llu; wrong: %llu bytes\n",
      made_in, copies.ranges().size(), recipe.size(), static_cast<unsigned long long>(left),
      percent(left, new_size), static_cast<unsigned long long>(left + recipe.size()),
      static_cast<unsigned long long>(wrong_bytes(copies, read_old, read_new)));
}

void files(const std::string& old_path, const std::string& new_path, std::uint32_t block) {
  std::uint64_t old_size = 0;
  std::uint64_t new_size = 0;
  const Fd old_fd = opened(old_path, old_size);
  const Fd new_fd = opened(new_path, new_size);
  const auto reader = [](const Fd& fd) -> ReadAt {
    return [&fd](std::uint64_t offset, std::span<std::uint8_t> out) {
      return read_at(fd, offset, out);
    };
  };
  match(reader(old_fd), old_size, reader(new_fd), new_size, block);
}

void made(const std::string& kind, std::uint64_t size, std::uint32_t block) {
  delta_data::Pair pair;
  if (kind == "vm") {
    pair = delta_data::vm_image(1, size);
  } else if (kind == "tar" || kind == "tarhdr") {
    // Files have 22 KiB on average.
    pair = delta_data::archive(1, static_cast<int>(size / (22 * 1024)), kind == "tarhdr");
  } else if (kind == "dense") {
    pair = delta_data::dense_edits(1, size);
  } else {
    pair = {delta_data::random_bytes(1, size), delta_data::random_bytes(2, size)};
  }
  const auto reader = [](const Bytes& bytes) -> ReadAt {
    return [&bytes](std::uint64_t offset, std::span<std::uint8_t> out) -> Result<std::size_t> {
      if (offset >= bytes.size()) return std::size_t{0};
      const std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - offset);
      std::memcpy(out.data(), bytes.data() + offset, count);
      return count;
    };
  };
  match(reader(pair.old_file), pair.old_file.size(), reader(pair.new_file), pair.new_file.size(),
        block);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"delta_wrap: what librsyncwrap and recipes cost and find"};
  app.require_subcommand(1);
  std::uint32_t block = 0;
  std::string size = "256MiB";
  std::string old_path;
  std::string new_path;
  std::string kind;
  const char* of_size = "bytes; none: as for the file's size";
  CLI::App* speeds = app.add_subcommand("speed", "speeds and memory on data made here");
  speeds->add_option("--block", block, of_size);
  speeds->add_option("--size", size, "of the file")->capture_default_str();
  CLI::App* pair = app.add_subcommand("files", "what is missing of NEW to who has OLD");
  pair->add_option("old", old_path)->required();
  pair->add_option("new", new_path)->required();
  pair->add_option("--block", block, of_size);
  CLI::App* data = app.add_subcommand("data", "the same for files made here");
  data->add_option("kind", kind)
      ->required()
      ->check(CLI::IsMember({"vm", "tar", "tarhdr", "dense", "unrelated"}));
  data->add_option("--size", size, "of the old file, about")->capture_default_str();
  data->add_option("--block", block, of_size);
  CLI11_PARSE(app, argc, argv);
  const std::uint64_t bytes = must(parse_size(size));
  if (speeds->parsed()) {
    speed(block == 0 ? block_bytes_for(bytes) : block, bytes);
  } else if (pair->parsed()) {
    files(old_path, new_path, block);
  } else {
    made(kind, bytes, block);
  }
  return 0;
}
