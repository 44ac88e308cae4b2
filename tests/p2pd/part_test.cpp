#include "p2pd/part.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/p2pd/part_fixture.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using test::facts_at;
using test::Indices;
using test::put_file;
using test::Receiving;
using test::set_bits;
using test::text_of;

const FileMetadata kMetadata{0640, test::kFileMtime, "", ""};

// As another process does it: no name of this one's is involved.
void write_into(const std::string& path, const std::string& bytes, std::uint64_t offset) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(file);
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  REQUIRE(write_all_at(file.get(), {first, bytes.size()}, offset, path));
}

void set_mtime(const std::string& path, std::int64_t ns) {
  const timespec time{ns / 1'000'000'000, ns % 1'000'000'000};
  const timespec times[2] = {time, time};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

std::size_t names_in(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

// A file that has landed, whose record is still there: the process ended just then.
struct Landed : Receiving {
  Landed() {
    const auto part = open_part();
    write_all(*part);
    REQUIRE(part->land(kMetadata));
  }
};

}  // namespace

TEST_CASE("A part is named after its content, its job and its node", "[p2pd][part]") {
  NodeId node;
  node.bytes[0] = 0xab;
  const ContentId content{sha256(std::string_view("a"))};
  CHECK(part_name(content, JobId{17}, node) == ".p2pd-ca978112ca1bbdca-j17-ab000000.part");
}

TEST_CASE("A new part has the file's size, holds nothing, and is on record", "[p2pd][part]") {
  Receiving node;
  const Part::Found found = node.open(node.order());
  REQUIRE(found.part);
  CHECK(found.durable == Bitfield(test::kFileChunks));
  CHECK(found.doubtful == Bitfield(test::kFileChunks));
  CHECK(found.needed == test::kDataBytes);
  CHECK(found.free.bytes > 0);
  CHECK_FALSE(found.landed);
  const std::string file = node.file_of(*found.part);
  CHECK(facts_at(file).st_size == test::kFileBytes);
  CHECK(node.known().place.job == 1);
  CHECK(node.known().file.inode == facts_at(file).st_ino);
  CHECK(found.part->source()->file);
}

TEST_CASE("A part for another destination is removed, and one for the new destination begins",
          "[p2pd][part]") {
  Receiving node;
  const auto old = node.open_part();
  node.make_durable(*old, {0, 2});
  const Part::Found found = node.open(node.order(2, "other/b.img"));
  CHECK(names_in(node.folder()) == 0);
  CHECK(fs::exists(node.root + "/other/.p2pd-x-j2.part"));
  CHECK(found.durable.none());
  CHECK(found.doubtful.none());
  CHECK(found.needed == test::kDataBytes);
  CHECK(node.known().place.job == 2);
  CHECK(node.known().place.destination.relative == "other/b.img");
}

TEST_CASE("Another job to the same destination goes on with the part, under the name that it has",
          "[p2pd][part]") {
  Receiving node;
  {
    const auto old = node.open_part();
    node.make_durable(*old, {0, 2});
    node.write(*old, 3);
  }
  const Part::Found found = node.open(node.order(2));
  CHECK(found.part->place().part == ".p2pd-x-j1.part");
  CHECK(names_in(node.folder()) == 1);
  CHECK(node.known().place.job == 2);
  CHECK(set_bits(found.durable) == Indices{0, 2});
  CHECK(set_bits(found.doubtful) == Indices{3});
  CHECK(found.needed == 0);
  // The records are those of the part, and not of the job.
  CHECK(set_bits(node.open(node.order(3)).durable) == Indices{0, 2});
}

TEST_CASE("A chunk that was right when it was written is looked at again, also without a sync",
          "[p2pd][part]") {
  Receiving node;
  {
    const auto part = node.open_part();
    node.write(*part, 0);
    Bitfield verified(test::kFileChunks);
    verified.set(0);
    verified.set(2);  // the disk has nothing of it: check() will tell
    REQUIRE(part->record_verified(verified, {ChunkIndex{0}, ChunkIndex{2}}));
  }
  const Part::Found found = node.open(node.order());
  CHECK(found.durable.none());
  CHECK(set_bits(found.doubtful) == Indices{0, 2});
  CHECK(found.part->check(ChunkIndex{0}));
  CHECK(test::code_of(found.part->check(ChunkIndex{2})) == Errc::corrupt);
}

TEST_CASE("Without records a part of the right size is kept where its holes are zeros",
          "[p2pd][part]") {
  Receiving node;
  {
    const auto part = node.open_part();
    node.write(*part, 0);
    node.write(*part, 2);
    // A hole that somebody has filled with zeros is as good.
    write_into(node.file_of(*part), std::string(kBlockBytes, '\0'), test::kHoleBegin);
  }
  REQUIRE(node.records.erase(node.content));
  const Part::Found found = node.open(node.order());
  CHECK(found.durable.none());
  CHECK(set_bits(found.doubtful) == Indices{0, 2});
  CHECK(found.needed == node.space.data_bytes_of(ChunkIndex{3}));
  CHECK(found.part->check(ChunkIndex{0}));
  CHECK(found.part->check(ChunkIndex{2}));
}

TEST_CASE("Without records a part is emptied when anything is in one of its holes",
          "[p2pd][part]") {
  const std::uint64_t at =
      GENERATE(+test::kHoleBegin, +test::kHoleBegin + 5000, test::kHoleEnd - 1);
  CAPTURE(at);
  Receiving node;
  std::string file;
  {
    const auto part = node.open_part();
    file = node.file_of(*part);
    node.write_all(*part);
    write_into(file, "x", at);
  }
  REQUIRE(node.records.erase(node.content));
  const Part::Found found = node.open(node.order());
  CHECK(found.doubtful.none());
  CHECK(found.needed == test::kDataBytes);
  CHECK(text_of(file) == std::string(test::kFileBytes, '\0'));
}

TEST_CASE("Without records a file of another size is emptied", "[p2pd][part]") {
  const std::uint64_t size = GENERATE(std::uint64_t{1}, test::kFileBytes - 1, test::kFileBytes + 1);
  CAPTURE(size);
  Receiving node;
  fs::create_directory(node.folder());
  const std::string file = node.folder() + "/.p2pd-x-j1.part";
  put_file(file, std::string(size, 'x'));
  const Part::Found found = node.open(node.order());
  CHECK(found.doubtful.none());
  CHECK(text_of(file) == std::string(test::kFileBytes, '\0'));
}

TEST_CASE("A record says nothing of a part that was deleted or made anew", "[p2pd][part]") {
  Receiving node;
  std::string file;
  {
    const auto part = node.open_part();
    file = node.file_of(*part);
    node.make_durable(*part, {0, 2});
    // Keeps its inode from being given to the next file.
    fs::create_hard_link(file, node.outside + "/kept");
  }
  REQUIRE(fs::remove(file));
  SECTION("nothing is there") {}
  SECTION("a file of the same size is there") {
    put_file(file, std::string(test::kFileBytes, '\0'));
  }
  const Part::Found found = node.open(node.order());
  CHECK(found.durable.none());
  CHECK(node.known().file.inode == facts_at(file).st_ino);
}

TEST_CASE("A part with every byte in place needs what it does not take of the disk yet",
          "[p2pd][part]") {
  Receiving node;
  Part::Order order = node.order();
  order.allocate = true;
  const Part::Found found = node.open(order);
  CHECK(found.needed == test::kFileBytes);
  REQUIRE(found.part->allocate());
  const std::string file = node.file_of(*found.part);
  CHECK(facts_at(file).st_blocks * 512 >= static_cast<std::int64_t>(test::kFileBytes));
  CHECK(facts_at(file).st_size == test::kFileBytes);
  CHECK(text_of(file) == std::string(test::kFileBytes, '\0'));
  CHECK(node.open(order).needed == 0);
}

TEST_CASE("A destination that is the part's own inode has landed", "[p2pd][part]") {
  Landed node;
  const Part::Found found = node.open(node.order());
  REQUIRE(found.landed);
  CHECK_FALSE(found.part);
  CHECK(found.landed->size == test::kFileBytes);
  CHECK(found.landed->mode == 0640);
  CHECK(found.landed->inode == facts_at(node.path()).st_ino);
  CHECK(names_in(node.folder()) == 1);
}

TEST_CASE("A destination that somebody has changed since it landed is received again",
          "[p2pd][part]") {
  Landed node;
  SECTION("it was written to") {
    set_mtime(node.path(), test::kFileMtime + 1);
  }
  SECTION("it was made shorter, and its time put back") {
    fs::resize_file(node.path(), test::kFileBytes - 1);
    set_mtime(node.path(), test::kFileMtime);
  }
  SECTION("another file with the same bytes and time took its place") {
    fs::rename(node.path(), node.outside + "/landed");
    put_file(node.path(), node.bytes);
    set_mtime(node.path(), test::kFileMtime);
  }
  SECTION("it is gone") {
    fs::rename(node.path(), node.outside + "/landed");
  }
  const std::string before = text_of(node.path());
  const Part::Found found = node.open(node.order());
  CHECK_FALSE(found.landed);
  REQUIRE(found.part);
  CHECK(found.durable.none());
  CHECK(found.needed == test::kDataBytes);
  CHECK(text_of(node.path()) == before);
}

TEST_CASE("A chunk counts as held when its data is right", "[p2pd][part]") {
  Receiving node;
  const auto part = node.open_part();
  node.write(*part, 2);
  CHECK(part->check(ChunkIndex{2}));
  CHECK(part->check(ChunkIndex{1}));  // one hole
  CHECK(test::code_of(part->check(ChunkIndex{3})) == Errc::corrupt);
  write_into(node.file_of(*part), std::string(1, '\0'), test::kHoleEnd);
  CHECK(test::code_of(part->check(ChunkIndex{2})) == Errc::corrupt);
}

TEST_CASE("A chunk is copied from another file only when its bytes are the right ones there",
          "[p2pd][part]") {
  Receiving node;
  const auto part = node.open_part();
  const std::string other = node.share + "/copy";
  put_file(other, node.bytes);
  write_into(other, "x", kMinChunkBytes * 3);
  const Fd copy(::open(other.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(copy);
  CHECK(part->copy(ChunkIndex{2}, copy));
  CHECK(part->check(ChunkIndex{2}));
  CHECK(test::code_of(part->copy(ChunkIndex{3}, copy)) == Errc::corrupt);
  const std::string tail = text_of(node.file_of(*part)).substr(kMinChunkBytes * 3);
  CHECK(tail == std::string(tail.size(), '\0'));
  fs::resize_file(other, 1000);
  CHECK(test::code_of(part->copy(ChunkIndex{0}, copy)) == Errc::corrupt);
}

TEST_CASE("A part that was deleted, or cut or lengthened by somebody, cannot be synced",
          "[p2pd][part]") {
  Receiving node;
  const auto part = node.open_part();
  const std::string file = node.file_of(*part);
  REQUIRE(part->sync());
  CHECK(node.files.syncs == 1);
  std::string says;
  SECTION("deleted") {
    fs::remove(file);
    says = "was deleted";
  }
  SECTION("replaced by another file of that size") {
    fs::remove(file);
    put_file(file, std::string(test::kFileBytes, '\0'));
    says = "was deleted";
  }
  SECTION("shortened") {
    fs::resize_file(file, test::kFileBytes - 1);
    says = "made shorter";
  }
  SECTION("lengthened") {
    fs::resize_file(file, test::kFileBytes + 1);
    says = "made longer";
  }
  const Status synced = part->sync();
  CHECK(test::code_of(synced) == Errc::corrupt);
  CHECK_THAT(synced.error().detail, Contains(says) && Contains(node.path()));
  CHECK(node.files.syncs == 1);
}

TEST_CASE("A part that nobody goes on with goes, with its records, and may be gone already",
          "[p2pd][part]") {
  Receiving node;
  const auto part = node.open_part();
  node.make_durable(*part, {0});
  REQUIRE(part->remove());
  CHECK(names_in(node.folder()) == 0);
  CHECK_FALSE(node.on_record());
  CHECK(part->remove());
}

TEST_CASE("The file that has landed is watched from then on", "[p2pd][part]") {
  Receiving node;
  const auto part = node.open_part();
  node.write_all(*part);
  REQUIRE(part->land(kMetadata));
  const auto landed = part->source_of_landed();
  REQUIRE(landed);
  CHECK_FALSE((*landed)->has_changed());
  CHECK_FALSE(part->source()->has_changed());
  write_into(node.path(), "x", 0);
  CHECK((*landed)->has_changed());
  // While it was a part it changed all the time.
  CHECK_FALSE(part->source()->has_changed());
}

}  // namespace p2p
