#include "tools/p2pctl/audit_chain.h"

#include <vector>

#include "io/content/merkle.h"
#include "proto/records.pb.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

std::vector<proto::AuditEntry> chain_of(std::uint64_t count) {
  std::vector<proto::AuditEntry> entries;
  std::string previous(32, '\0');
  for (std::uint64_t number = 1; number <= count; ++number) {
    proto::AuditRecord record;
    record.set_number(number);
    record.set_who("ann");
    record.set_what("POST /v1/jobs");
    record.set_previous(previous);
    proto::AuditEntry& entry = entries.emplace_back();
    entry.set_number(number);
    entry.set_who("ann");
    entry.set_what("POST /v1/jobs");
    entry.set_record(record.SerializeAsString());
    const Digest digest = sha256(previous + entry.record());
    entry.set_hash(digest.hex());
    previous = digest.view();
  }
  return entries;
}

// Why the chain breaks; empty when it does not.
std::string problem_of(const std::vector<proto::AuditEntry>& entries) {
  AuditChain chain;
  for (const proto::AuditEntry& entry : entries) {
    if (Status good = chain.add(entry); !good) return good.error().detail;
  }
  return {};
}

TEST_CASE("A chain as it was written verifies", "[tools][audit_chain]") {
  const auto entries = chain_of(5);
  CHECK(problem_of(entries).empty());
  AuditChain chain;
  for (const auto& entry : entries) REQUIRE(chain.add(entry));
  CHECK(chain.number() == 5);
  CHECK(chain.hash() == entries.back().hash());
}

TEST_CASE("A changed record is found and named, also with a hash made for it",
          "[tools][audit_chain]") {
  auto entries = chain_of(5);
  proto::AuditRecord record;
  REQUIRE(record.ParseFromString(entries[2].record()));
  record.set_detail("nothing happened");
  entries[2].set_record(record.SerializeAsString());
  CHECK(problem_of(entries).find("audit record 3: ") == 0);
  entries[2].set_hash(sha256(record.previous() + entries[2].record()).hex());
  CHECK(problem_of(entries).find("audit record 4: ") == 0);
}

TEST_CASE("A removed and a reordered record are found", "[tools][audit_chain]") {
  auto removed = chain_of(5);
  removed.erase(removed.begin() + 1);
  CHECK(problem_of(removed).find("audit record 2: is missing") == 0);
  auto reordered = chain_of(5);
  std::swap(reordered[1], reordered[2]);
  CHECK(problem_of(reordered).find("audit record 2: ") == 0);
  auto renumbered = chain_of(5);
  renumbered.erase(renumbered.begin() + 1);
  for (std::size_t i = 0; i < renumbered.size(); ++i) renumbered[i].set_number(i + 1);
  CHECK(problem_of(renumbered).find("audit record 2: ") == 0);
}

TEST_CASE("What is shown of a record must be what was written", "[tools][audit_chain]") {
  auto entries = chain_of(2);
  entries[1].set_who("bob");
  CHECK(problem_of(entries).find("audit record 2: ") == 0);
}

}  // namespace
}  // namespace p2p
