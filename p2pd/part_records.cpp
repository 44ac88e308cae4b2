#include "p2pd/part_records.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "proto/records.pb.h"

namespace p2p {
namespace {

// 16 KiB of bits: half of what a record may hold.
constexpr std::uint32_t kChunksOnPage = 16 * 1024 * 8;

std::string prefix_of(const ContentId& id) {
  const std::string hex = id.hex();
  return "part/" + hex.substr(0, 2) + "/" + hex + "/";
}

std::string page_key(const ContentId& id, std::uint32_t page) {
  std::string number = std::to_string(page);
  number.insert(0, 4 - std::min<std::size_t>(4, number.size()), '0');
  return prefix_of(id) + "bits/" + number;
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

}  // namespace

Bitfield PartRecords::load(const ContentId& id, const Place& place, const FileFacts& facts,
                           std::uint32_t chunks) const {
  Bitfield none(chunks);
  auto head = store_.get(prefix_of(id) + "head");
  proto::PartRecord record;
  if (!head || !*head || !record.ParseFromString((*head)->value)) return none;
  const bool fits =
      record.checksum() == checksum_of(record) && record.content_id() == id.digest.view() &&
      record.root() == place.destination.root && record.relative() == place.destination.relative &&
      record.part() == place.part && record.inode() == facts.inode &&
      record.device() == facts.device && record.size() == facts.size;
  if (!fits) return none;
  Bitfield have(chunks);
  for (std::uint32_t first = 0; first < chunks; first += kChunksOnPage) {
    auto entry = store_.get(page_key(id, first / kChunksOnPage));
    proto::PartBits page;
    if (!entry || !*entry || !page.ParseFromString((*entry)->value)) continue;
    if (page.first() != first || page.checksum() != checksum_of(page, facts.inode)) continue;
    const auto bits = static_cast<std::uint32_t>(8 * page.bits().size());
    for (std::uint32_t i = 0; i < bits && first + i < chunks; ++i) {
      if (static_cast<std::uint8_t>(page.bits()[i / 8]) >> (i % 8) & 1) have.set(first + i);
    }
  }
  return have;
}

Status PartRecords::begin(const ContentId& id, const Place& place, const FileFacts& facts) const {
  if (Status erased = erase(id); !erased) return erased;
  proto::PartRecord record;
  record.set_content_id(std::string(id.digest.view()));
  record.set_job(place.job);
  record.set_root(place.destination.root);
  record.set_relative(place.destination.relative);
  record.set_part(place.part);
  record.set_size(facts.size);
  record.set_inode(facts.inode);
  record.set_device(facts.device);
  record.set_checksum(checksum_of(record));
  StateBatch batch;
  batch.put(prefix_of(id) + "head", record.SerializeAsString());
  return store_.apply(batch);
}

Status PartRecords::record(const ContentId& id, const FileFacts& facts, const Bitfield& have,
                           const std::vector<ChunkIndex>& pages_of) const {
  std::set<std::uint32_t> pages;
  for (const ChunkIndex chunk : pages_of) pages.insert(chunk.value / kChunksOnPage);
  StateBatch batch;
  for (const std::uint32_t number : pages) {
    const std::uint32_t first = number * kChunksOnPage;
    const std::uint32_t count = std::min(kChunksOnPage, have.size() - first);
    std::string bits((count + 7) / 8, '\0');
    for (std::uint32_t i = 0; i < count; ++i) {
      if (have.test(first + i)) bits[i / 8] = static_cast<char>(bits[i / 8] | 1 << (i % 8));
    }
    proto::PartBits page;
    page.set_first(first);
    page.set_bits(std::move(bits));
    page.set_checksum(checksum_of(page, facts.inode));
    batch.put(page_key(id, number), page.SerializeAsString());
  }
  if (batch.changes.empty()) return {};
  return store_.apply(batch);
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
