// Hashing files on disk gives what hashing their bytes in memory gives, holes or not.
#include "io/content/file_hasher.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "core/base/rng.h"
#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

// A file without a name: it goes away with its descriptor.
class ScratchFile {
 public:
  ScratchFile() {
    std::string name = (std::filesystem::temp_directory_path() / "p2pd-hash-XXXXXX").string();
    fd_ = Fd(::mkstemp(name.data()));
    REQUIRE(fd_);
    REQUIRE(::unlink(name.c_str()) == 0);
  }

  int fd() const { return fd_.get(); }
  void write(std::uint64_t offset, std::string_view bytes) {
    REQUIRE(::pwrite(fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(bytes.size()));
  }
  void resize(std::uint64_t size) { REQUIRE(::ftruncate(fd(), static_cast<off_t>(size)) == 0); }

 private:
  Fd fd_;
};

std::string random_bytes(std::size_t size) {
  Rng rng(size + 1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.next());
  return bytes;
}

// Asks the file system itself; a test about holes has nothing to say where there are none.
bool holes_are_known() {
  ScratchFile file;
  file.resize(kMiB);
  const bool known = ::lseek(file.fd(), 0, SEEK_HOLE) == 0;
  if (!known) WARN("this file system does not report holes: nothing checked");
  return known;
}

FileHash hash_of(const ScratchFile& file, std::uint64_t size, unsigned threads = 2) {
  HashOptions options;
  options.threads = threads;
  Result<FileHash> hash = hash_file(file.fd(), size, options);
  if (!hash) FAIL(hash.error().detail);
  return *std::move(hash);
}

}  // namespace

using Catch::Matchers::Contains;
using Ranges = std::vector<ByteRange>;

TEST_CASE("A file hashes as its bytes do, whatever the number of threads", "[io][content]") {
  const std::size_t size = GENERATE(0, 1, 16383, 16384, 16385, 256 * 1024, 256 * 1024 + 1, 777777,
                                    3 * 1024 * 1024 + 12345);
  const unsigned threads = GENERATE(0u, 1u, 3u);
  CAPTURE(size, threads);
  const std::string bytes = random_bytes(size);
  ScratchFile file;
  file.write(0, bytes);
  const FileHash hash = hash_of(file, size, threads);
  CHECK(hash.tree == tree_of_bytes(bytes));
  CHECK(hash.data == (size == 0 ? Ranges{} : Ranges{{0, size}}));
}

TEST_CASE("A file above 512 MiB hashes with larger chunks, as its bytes do", "[io][content]") {
  const std::uint64_t size = 512 * kMiB + 1;
  const std::string head = random_bytes(5 * kMiB);
  ScratchFile file;
  file.write(0, head);
  file.resize(size);
  std::string bytes = head;
  bytes.resize(size);
  const HashTree tree = hash_of(file, size).tree;
  CHECK(tree == tree_of_bytes(bytes));
  CHECK(tree.layer.size() == 1025);
}

TEST_CASE("Holes are found, rounded to blocks, and hash as zeros", "[io][content]") {
  if (!holes_are_known()) return;
  // A megabyte of hole, data that starts inside a block, two megabytes of hole, data at the end.
  const std::uint64_t size = 4 * kMiB + 100;
  const std::string middle = random_bytes(70 * kKiB);
  std::string bytes(size, '\0');
  ScratchFile file;
  file.resize(size);
  file.write(kMiB + 5 * kKiB, middle);
  bytes.replace(kMiB + 5 * kKiB, middle.size(), middle);
  file.write(4 * kMiB, "the end");
  bytes.replace(4 * kMiB, 7, "the end");
  const FileHash hash = hash_of(file, size);
  CHECK(hash.data == Ranges{{kMiB, 80 * kKiB}, {4 * kMiB, 100}});
  CHECK(hash.tree == tree_of_bytes(bytes));
}

TEST_CASE("A gap below 64 KiB counts as data, one of 64 KiB does not", "[io][content]") {
  if (!holes_are_known()) return;
  const std::string block = random_bytes(kBlockBytes);
  ScratchFile file;
  file.resize(kMiB);
  file.write(48 * kKiB, block);   // 48 KiB of hole before it
  file.write(112 * kKiB, block);  // 48 KiB between
  file.write(192 * kKiB, block);  // 64 KiB between
  CHECK(hash_of(file, kMiB).data == Ranges{{0, 128 * kKiB}, {192 * kKiB, 16 * kKiB}});
  file.write(976 * kKiB, block);  // 32 KiB of hole after it
  CHECK(hash_of(file, kMiB).data ==
        Ranges{{0, 128 * kKiB}, {192 * kKiB, 16 * kKiB}, {976 * kKiB, 48 * kKiB}});
}

TEST_CASE("A file that is one hole has no data, unless it is small", "[io][content]") {
  if (!holes_are_known()) return;
  const std::uint64_t size = GENERATE(as<std::uint64_t>{}, 64 * kKiB, kMiB, 3 * kMiB + 1);
  ScratchFile file;
  file.resize(size);
  const FileHash hash = hash_of(file, size);
  CHECK(hash.data.empty());
  CHECK(hash.tree == tree_of_bytes(std::string(size, '\0')));

  ScratchFile small;
  small.resize(64 * kKiB - 1);
  const FileHash small_hash = hash_of(small, 64 * kKiB - 1);
  CHECK(small_hash.data == Ranges{{0, 64 * kKiB - 1}});
  CHECK(small_hash.tree == tree_of_bytes(std::string(64 * kKiB - 1, '\0')));
}

TEST_CASE("A terabyte of hole is neither read nor hashed", "[io][content]") {
  if (!holes_are_known()) return;
  // Reading it would take minutes, longer than a test may.
  const std::uint64_t size = 1024 * 1024 * kMiB;
  ScratchFile file;
  file.resize(size);
  file.write(size / 2, "x");
  const FileHash hash = hash_of(file, size);
  CHECK(hash.data == Ranges{{size / 2, kBlockBytes}});
  REQUIRE(hash.tree.layer.size() == 131072);
  CHECK(hash.tree.layer[0] == hash.tree.layer[131071]);
  CHECK(hash.tree.layer[0] != hash.tree.layer[65536]);
  CHECK(check_tree(hash.tree));
}

TEST_CASE("A file of another size than promised is an error", "[io][content]") {
  ScratchFile file;
  file.write(0, random_bytes(300000));
  const std::uint64_t promised = GENERATE(0u, 299999u, 300001u, 50'000'000u);
  const auto hash = hash_file(file.fd(), promised);
  REQUIRE_FALSE(hash);
  CHECK(hash.error().code == Errc::corrupt);
  CHECK_THAT(hash.error().detail, Contains("the file changed while it was hashed"));
}

TEST_CASE("What is no regular file cannot be hashed", "[io][content]") {
  const Fd folder(::open("/", O_RDONLY | O_DIRECTORY));
  REQUIRE(folder);
  const auto hash = hash_file(folder.get(), 1);
  REQUIRE_FALSE(hash);
  CHECK(hash.error().code == Errc::invalid_argument);
  CHECK_FALSE(hash_file(folder.get(), kMaxFileBytes + 1));
}

TEST_CASE("A read that fails is told with its place", "[io][content]") {
  std::string name = (std::filesystem::temp_directory_path() / "p2pd-hash-XXXXXX").string();
  const Fd made(::mkstemp(name.data()));
  REQUIRE(made);
  const Fd unreadable(::open(name.c_str(), O_WRONLY));
  REQUIRE(::unlink(name.c_str()) == 0);
  REQUIRE(unreadable);
  REQUIRE(::write(made.get(), "x", 1) == 1);
  const auto hash = hash_file(unreadable.get(), 1);
  REQUIRE_FALSE(hash);
  CHECK(hash.error().code == Errc::io_failed);
  CHECK_THAT(hash.error().detail, Contains("read at 0"));
}

TEST_CASE("Hashing stops when it is told to", "[io][content]") {
  ScratchFile file;
  file.write(0, random_bytes(kMiB));
  const std::atomic<bool> stop = true;
  HashOptions options;
  options.stop = &stop;
  const auto hash = hash_file(file.fd(), kMiB, options);
  REQUIRE_FALSE(hash);
  CHECK(hash.error().code == Errc::cancelled);
}

TEST_CASE("Progress comes from the calling thread, rises, and ends with the size",
          "[io][content]") {
  const std::uint64_t size = 600 * kMiB + 3;
  ScratchFile file;
  file.write(0, random_bytes(kMiB));
  file.resize(size);
  std::vector<std::uint64_t> seen;
  bool same_thread = true;
  HashOptions options;
  options.threads = 2;
  options.progress = [&, caller = std::this_thread::get_id()](std::uint64_t bytes) {
    seen.push_back(bytes);
    same_thread = same_thread && std::this_thread::get_id() == caller;
  };
  REQUIRE(hash_file(file.fd(), size, options));
  REQUIRE_FALSE(seen.empty());
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() == size);
  CHECK(same_thread);
}

TEST_CASE("A chunk of a file hashes to what the tree expects until a byte of it changes",
          "[io][content]") {
  const std::uint64_t size = GENERATE(as<std::uint64_t>{}, 1, 100'000, 3 * 256 * 1024 + 77);
  std::string bytes = random_bytes(size);
  ScratchFile file;
  file.write(0, bytes);
  const ChunkSpace space(tree_of_bytes(bytes));
  const ChunkIndex last{space.count() - 1};
  for (std::uint32_t i = 0; i < space.count(); ++i) {
    const auto root = hash_chunk_of_file(file.fd(), space, ChunkIndex{i});
    REQUIRE(root);
    CHECK(*root == space.expected(ChunkIndex{i}));
  }
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  file.write(0, bytes);
  const auto root = hash_chunk_of_file(file.fd(), space, last);
  REQUIRE(root);
  CHECK(*root != space.expected(last));
}

TEST_CASE("A byte on disk where the manifest has a hole spoils the chunk", "[io][content]") {
  const std::uint64_t size = kMiB;
  ScratchFile file;
  file.resize(size);
  const ChunkSpace space(tree_of_bytes(std::string(size, '\0')), {});
  const auto hole = hash_chunk_of_file(file.fd(), space, ChunkIndex{1});
  REQUIRE(hole);
  CHECK(*hole == space.expected(ChunkIndex{1}));
  file.write(300 * kKiB, "x");
  const auto spoilt = hash_chunk_of_file(file.fd(), space, ChunkIndex{1});
  REQUIRE(spoilt);
  CHECK(*spoilt != space.expected(ChunkIndex{1}));
}

TEST_CASE("A chunk that the file is too short for is an error", "[io][content]") {
  ScratchFile file;
  file.resize(kMiB - 1);
  const ChunkSpace space(tree_of_bytes(std::string(kMiB, '\0')), {});
  CHECK(hash_chunk_of_file(file.fd(), space, ChunkIndex{2}));
  const auto last = hash_chunk_of_file(file.fd(), space, ChunkIndex{3});
  REQUIRE_FALSE(last);
  CHECK(last.error().code == Errc::corrupt);
}

TEST_CASE("A manifest is made from what was hashed and what the file system says",
          "[io][content]") {
  ScratchFile file;
  file.write(0, random_bytes(300000));
  FileFacts facts;
  facts.size = 300000;
  facts.mode = 0755;
  facts.mtime_ns = 12345;
  facts.owner = "root";
  facts.group = "1001";
  const FileHash hash = hash_of(file, 300000);
  const auto manifest = make_file_manifest("model.bin", facts, hash);
  REQUIRE(manifest);
  const ManifestEntry& entry = manifest->entries.front();
  CHECK(entry.path == "model.bin");
  CHECK(entry.mode == 0755);
  CHECK(entry.mtime_ns == 12345);
  CHECK(entry.owner == "root");
  CHECK(entry.group == "1001");
  CHECK(entry.tree == hash.tree);
  CHECK(entry.data == hash.data);
  CHECK(pack(*manifest).root_record.total_bytes == 300000);

  const auto bad_name = make_file_manifest(".p2pd-part", facts, hash);
  REQUIRE_FALSE(bad_name);
  CHECK(bad_name.error().code == Errc::invalid_argument);
  facts.size += 1;
  const auto grown = make_file_manifest("model.bin", facts, hash);
  REQUIRE_FALSE(grown);
  CHECK(grown.error().code == Errc::corrupt);
}

}  // namespace p2p
