#include "tracker/audit.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "core/base/ids.h"
#include "core/base/text.h"
#include "core/model/node_set.h"
#include "io/content/merkle.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::uint64_t kChildren = 1000;
constexpr std::size_t kHashBytes = 32;
constexpr std::size_t kMaxTargetsBytes = 4096;
constexpr std::size_t kMoreBytes = 40;  // " and 99999 more"
constexpr std::size_t kMaxTextBytes = 2048;

// Three digits a level, which makes 999,999,999 entries. The first `levels` of them.
std::string key_of(std::uint64_t number, int levels = 3) {
  std::string key = "audit";
  std::uint64_t unit = kChildren * kChildren;
  for (int level = 0; level < levels; ++level, unit /= kChildren) {
    char part[24];
    std::snprintf(
        part, sizeof part, "/%03llu",
        static_cast<unsigned long long>(level == 0 ? number / unit : number / unit % kChildren));
    key += part;
  }
  return key;
}

std::string hash_of(std::string_view previous, std::string_view record) {
  return std::string(sha256(std::string(previous) + std::string(record)).view());
}

std::string hex_of(const std::string& raw) {
  return to_hex(reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size());
}

Result<bool> any_below(StateStore& store, const std::string& prefix) {
  bool any = false;
  const Status scanned = store.scan(prefix, [&](std::string_view, const auto&) {
    any = true;
    return false;
  });
  if (!scanned) return scanned.error();
  return any;
}

// The newest number, also when there are gaps: from the top, level by level. 0: there is none.
Result<std::uint64_t> newest_number(StateStore& store) {
  std::uint64_t number = 0;
  std::uint64_t unit = kChildren * kChildren;
  for (int level = 1; level <= 3; ++level, unit /= kChildren) {
    std::optional<std::uint64_t> found;
    for (std::uint64_t i = kChildren; i-- > 0 && !found;) {
      const auto any = any_below(store, key_of(number + i * unit, level) + (level < 3 ? "/" : ""));
      if (!any) return any.error();
      if (*any) found = i;
    }
    if (!found) return std::uint64_t{0};
    number += *found * unit;
  }
  return number;
}

Error wrong(std::uint64_t number, const std::string& why) {
  return Error{Errc::corrupt, "audit record " + std::to_string(number) + " " + why};
}

// A stored entry, as far as it can be judged by itself.
struct Entry {
  proto::StoredAuditRecord stored;
  proto::AuditRecord record;
};
Result<Entry> read_entry(StateStore& store, std::uint64_t number) {
  const auto found = store.get(key_of(number));
  if (!found) return found.error();
  if (!*found) return wrong(number, "is missing");
  Entry entry;
  if (!entry.stored.ParseFromString((*found)->value) ||
      !entry.record.ParseFromString(entry.stored.record())) {
    return wrong(number, "cannot be read");
  }
  if (hash_of(entry.record.previous(), entry.stored.record()) != entry.stored.hash()) {
    return wrong(number, "is not what was written: its hash is that of other bytes");
  }
  if (entry.record.number() != number) {
    return wrong(number, "is record " + std::to_string(entry.record.number()) + " in its place");
  }
  return entry;
}

proto::AuditEntry view_of(const Entry& entry) {
  const proto::AuditRecord& record = entry.record;
  proto::AuditEntry view;
  view.set_number(record.number());
  view.set_at(rfc3339(from_unix_millis(record.at_unix_ms())));
  view.set_who(record.who());
  view.set_what(record.what());
  view.set_outcome(record.outcome());
  view.set_job(record.job());
  view.set_targets(record.targets());
  view.set_order_sha256(
      hex_of(record.order_sha256().empty() ? record.request_sha256() : record.order_sha256()));
  view.set_detail(record.detail());
  view.set_record(entry.stored.record());
  view.set_hash(hex_of(entry.stored.hash()));
  return view;
}

}  // namespace

Result<Audit> Audit::load(StateStore& store) {
  Audit audit(store);
  audit.hash_ = std::string(kHashBytes, '\0');
  const auto newest = newest_number(store);
  if (!newest) return newest.error();
  if (*newest == 0) return audit;
  auto entry = read_entry(store, *newest);
  if (!entry) {
    return entry.error().within(
        "state store: the chain of audit records cannot be continued (restore the state from a "
        "backup)");
  }
  audit.last_ = *newest;
  audit.hash_ = entry->stored.hash();
  return audit;
}

std::uint64_t Audit::add(proto::AuditRecord entry, WallTime now, StateBatch& batch) {
  entry.set_number(++last_);
  entry.set_at_unix_ms(unix_millis(now));
  entry.set_previous(hash_);
  entry.set_who(printable(entry.who(), kMaxTextBytes));
  entry.set_what(printable(entry.what(), kMaxTextBytes));
  entry.set_outcome(printable(entry.outcome(), kMaxTextBytes));
  entry.set_detail(printable(entry.detail(), kMaxTextBytes));
  entry.set_targets(printable(entry.targets(), kMaxTargetsBytes));
  proto::StoredAuditRecord stored;
  stored.set_record(entry.SerializeAsString());
  before_ = std::exchange(hash_, hash_of(hash_, stored.record()));
  stored.set_hash(hash_);
  batch.put(key_of(last_), stored.SerializeAsString());
  return last_;
}

std::string Audit::newest_hash() const {
  return hex_of(hash_);
}

void Audit::take_back(std::uint64_t number) {
  if (number != last_ || before_.empty()) {
    log_error("audit", "a record could not be stored, and others stand behind it; stopping",
              {{"number", number}});
    std::_Exit(1);
  }
  --last_;
  hash_ = std::exchange(before_, {});
}

Result<std::string> verify_audit(StateStore& store) {
  const auto audit = Audit::load(store);
  if (!audit) return audit.error();
  for (std::uint64_t from = 1; from <= audit->last(); from += kAuditPage) {
    const auto page = audit->read(from, audit->last());
    if (!page) return page.error();
    if (!page->problem().empty()) return Error{Errc::corrupt, page->problem()};
  }
  return std::to_string(audit->last()) + " audit records, the last with the hash " +
         audit->newest_hash();
}

proto::AuditRecord audit_of_job(const std::string& job, const std::string& by,
                                const std::string& kind, std::vector<std::string> targets,
                                const std::string& order_sha256) {
  proto::AuditRecord entry;
  entry.set_who(by);
  entry.set_what(kind);
  entry.set_outcome("made");
  entry.set_job(job);
  const std::size_t count = targets.size();
  entry.set_targets(fold_names(std::move(targets), kMaxTargetsBytes - kMoreBytes).str());
  entry.set_order_sha256(order_sha256);
  entry.set_detail(std::to_string(count) + (count == 1 ? " node" : " nodes"));
  return entry;
}

Result<proto::AuditList> Audit::read(std::uint64_t from, std::uint64_t last) const {
  proto::AuditList list;
  list.set_last(last);
  from = std::max<std::uint64_t>(from, 1);
  std::string before(kHashBytes, '\0');
  const auto problem = [&](const Error& error) {
    if (list.problem().empty()) list.set_problem(error.detail);
    before.clear();  // unknown
  };
  if (from > 1 && from <= last) {
    const auto entry = read_entry(*store_, from - 1);
    if (entry) {
      before = entry->stored.hash();
    } else if (entry.error().code == Errc::corrupt) {
      problem(entry.error());
    } else {
      return entry.error();
    }
  }
  for (std::uint64_t n = from; n <= last && n - from < kAuditPage; ++n) {
    const auto entry = read_entry(*store_, n);
    if (!entry) {
      if (entry.error().code != Errc::corrupt) return entry.error();
      problem(entry.error());
      continue;
    }
    if (!before.empty() && entry->record.previous() != before) {
      problem(wrong(n, "does not continue record " + std::to_string(n - 1) +
                           ": one of them was changed, with its hash"));
    }
    before = entry->stored.hash();
    *list.add_entries() = view_of(*entry);
  }
  return list;
}

}  // namespace p2p
