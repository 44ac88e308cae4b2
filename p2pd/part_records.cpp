#include "p2pd/part_records.h"

#include <xxhash.h>

#include <algorithm>
#include <set>

#include "proto/records.pb.h"

namespace p2p {

// Bits come in pages, so that a huge file does not rewrite all of them each time.
struct PartRecords::Kind {
  const char* name;
  std::uint32_t chunks_on_page;
};

namespace {

constexpr std::string_view kPrefix = "part/";

std::string prefix_of(const ContentId& id) {
  const std::string hex = id.hex();
  return std::string(kPrefix) + hex.substr(0, 2) + "/" + hex + "/";
}

std::string page_key(const ContentId& id, const char* kind, std::uint32_t page) {
  std::string number = std::to_string(page);
  number.insert(0, 4 - std::min<std::size_t>(4, number.size()), '0');
  return prefix_of(id) + kind + "/" + number;
}

std::uint64_t checksum_of(proto::PartRecord record) {
  record.set_checksum(0);
  const std::string bytes = record.SerializeAsString();
  return XXH3_64bits(bytes.data(), bytes.size());
}

// Bound to the inode: pages of an older part at the same place do not fit a new one.
std::uint64_t checksum_of(const proto::PartBits& page, std::uint64_t inode) {
  return XXH3_64bits_withSeed(page.bits().data(), page.bits().size(),
                              inode ^ (std::uint64_t{page.first()} << 32));
}

std::string encode(const PartRecords::Known& known) {
  proto::PartRecord record;
  record.set_content_id(std::string(known.content.digest.view()));
  record.set_job(known.place.job);
  record.set_root(known.place.destination.root);
  record.set_relative(known.place.destination.relative);
  record.set_part(known.place.part);
  record.set_size(known.file.size);
  record.set_inode(known.file.inode);
  record.set_device(known.file.device);
  record.set_birth_ns(known.file.birth_ns);
  record.set_checksum(checksum_of(record));
  return record.SerializeAsString();
}

std::optional<PartRecords::Known> decode(const std::string& bytes) {
  proto::PartRecord record;
  if (!record.ParseFromString(bytes) || record.checksum() != checksum_of(record)) {
    return std::nullopt;
  }
  const auto content = ContentId::from_raw(record.content_id());
  if (!content) return std::nullopt;
  PartRecords::Known known;
  known.content = *content;
  known.place = {record.job(), {record.root(), record.relative()}, record.part()};
  known.file.size = record.size();
  known.file.inode = record.inode();
  known.file.device = record.device();
  known.file.birth_ns = record.birth_ns();
  return known;
}

bool same_place(const PartPlace& a, const PartPlace& b) {
  return a.destination.root == b.destination.root &&
         a.destination.relative == b.destination.relative && a.part == b.part;
}

bool same_file(const FileState& a, const FileState& b) {
  return a.inode == b.inode && a.device == b.device && a.size == b.size && a.birth_ns == b.birth_ns;
}

}  // namespace

// 16 KiB of bits: half of what a record may hold. What is not synced is written for every few
// chunks, so its pages are small.
const PartRecords::Kind PartRecords::kDurable{"bits", 16 * 1024 * 8};
const PartRecords::Kind PartRecords::kVerified{"seen", 512 * 8};

Result<std::optional<PartRecords::Known>> PartRecords::find(const ContentId& id) const {
  auto entry = store_.get(prefix_of(id) + "head");
  if (!entry) return entry.error();
  if (!*entry) return std::optional<Known>();
  std::optional<Known> known = decode((*entry)->value);
  if (known && known->content != id) known.reset();
  return known;
}

Result<std::vector<PartRecords::Known>> PartRecords::list() const {
  std::vector<Known> all;
  const Status scanned = store_.scan(kPrefix, [&](std::string_view key, const auto& entry) {
    if (!key.ends_with("/head")) return true;
    if (auto known = decode(entry.value)) all.push_back(std::move(*known));
    return true;
  });
  if (!scanned) return scanned.error();
  return all;
}

Status PartRecords::intend(const ContentId& id, const PartPlace& place) const {
  return begin(id, place, FileState{});
}

Status PartRecords::begin(const ContentId& id, const PartPlace& place,
                          const FileState& file) const {
  const std::string head = prefix_of(id) + "head";
  StateBatch batch;
  const Status scanned = store_.scan(prefix_of(id), [&](std::string_view key, const auto&) {
    if (key != head) batch.erase(std::string(key));
    return true;
  });
  if (!scanned) return scanned;
  batch.put(head, encode({id, place, file}));
  return store_.apply(batch);
}

Status PartRecords::take_over(const ContentId& id, std::uint64_t job) const {
  auto known = find(id);
  if (!known) return known.error();
  if (!*known || (*known)->place.job == job) return {};
  (*known)->place.job = job;
  StateBatch batch;
  batch.put(prefix_of(id) + "head", encode(**known));
  return store_.apply(batch);
}

Bitfield PartRecords::durable(const ContentId& id, const PartPlace& place, const FileState& file,
                              std::uint32_t chunks) const {
  return load(kDurable, id, place, file, chunks);
}

Bitfield PartRecords::verified(const ContentId& id, const PartPlace& place, const FileState& file,
                               std::uint32_t chunks) const {
  return load(kVerified, id, place, file, chunks);
}

Bitfield PartRecords::load(const Kind& kind, const ContentId& id, const PartPlace& place,
                           const FileState& file, std::uint32_t chunks) const {
  Bitfield have(chunks);
  const auto known = find(id);
  if (!known || !*known) return have;
  if (!same_place((*known)->place, place) || !same_file((*known)->file, file)) return have;
  for (std::uint32_t first = 0; first < chunks; first += kind.chunks_on_page) {
    auto entry = store_.get(page_key(id, kind.name, first / kind.chunks_on_page));
    proto::PartBits page;
    if (!entry || !*entry || !page.ParseFromString((*entry)->value)) continue;
    if (page.first() != first || page.checksum() != checksum_of(page, file.inode)) continue;
    const auto bits = static_cast<std::uint32_t>(8 * page.bits().size());
    for (std::uint32_t i = 0; i < bits && i < kind.chunks_on_page && first + i < chunks; ++i) {
      if (static_cast<std::uint8_t>(page.bits()[i / 8]) >> (i % 8) & 1) have.set(first + i);
    }
  }
  return have;
}

Status PartRecords::record_durable(const ContentId& id, const FileState& file, const Bitfield& have,
                                   const std::vector<ChunkIndex>& news) const {
  return record(kDurable, id, file, have, news, StateStore::Durability::synced);
}

Status PartRecords::record_verified(const ContentId& id, const FileState& file,
                                    const Bitfield& have,
                                    const std::vector<ChunkIndex>& news) const {
  return record(kVerified, id, file, have, news, StateStore::Durability::unsynced);
}

Status PartRecords::record(const Kind& kind, const ContentId& id, const FileState& file,
                           const Bitfield& have, const std::vector<ChunkIndex>& news,
                           StateStore::Durability durability) const {
  std::set<std::uint32_t> pages;
  for (const ChunkIndex chunk : news) pages.insert(chunk.value / kind.chunks_on_page);
  StateBatch batch;
  for (const std::uint32_t number : pages) {
    const std::uint32_t first = number * kind.chunks_on_page;
    const std::uint32_t count = std::min(kind.chunks_on_page, have.size() - first);
    std::string bits((count + 7) / 8, '\0');
    for (std::uint32_t i = have.find(first, true); i < first + count; i = have.find(i + 1, true)) {
      const std::uint32_t bit = i - first;
      bits[bit / 8] = static_cast<char>(bits[bit / 8] | 1 << (bit % 8));
    }
    proto::PartBits page;
    page.set_first(first);
    page.set_bits(std::move(bits));
    page.set_checksum(checksum_of(page, file.inode));
    batch.put(page_key(id, kind.name, number), page.SerializeAsString());
  }
  if (batch.changes.empty()) return {};
  return store_.apply(batch, durability);
}

Status PartRecords::erase(const ContentId& id) const {
  StateBatch batch;
  const Status scanned = store_.scan(prefix_of(id), [&](std::string_view key, const auto&) {
    batch.erase(std::string(key));
    return true;
  });
  if (!scanned || batch.changes.empty()) return scanned;
  return store_.apply(batch);
}

}  // namespace p2p
