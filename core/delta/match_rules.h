// When looking for known bytes in an old file is worth it, and when to give up.
//
// A download never waits for a scan that may find nothing (Syncthing removed its rolling hash for
// 0.8 % of blocks saved; delta.md §0.9). Pure: whoever scans says what it cost and what it found.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace p2p {

// What a sample of the old file showed.
enum class Relation {
  unrelated,  // fetch everything
  in_place,   // most of it stands where it stood: compare in place, then roll over the rest
  shifted,    // it is there, elsewhere: comparing in place would read the file for nothing
};

// Of `looked` sampled bytes of the old file, `in_place` stand at the same offset in the new one and
// `anywhere` were recognised at all. Below 1 % the files count as unrelated; half of the sample in
// place, and the first tier is worth its 1.9 CPU-seconds per GB (delta.md §8.1). Nothing looked at
// counts as unrelated.
Relation relation_of(std::uint64_t looked, std::uint64_t in_place, std::uint64_t anywhere);

struct ScanBudgetSettings {
  // Without any match: 20 s for a file, and not more than a scan at 50 MB/s would take, which is
  // what rolling does where nothing matches and the index is small (delta.md §8.4, §8.9 row 6).
  Duration free_most = std::chrono::seconds(20);
  Duration free_per_gb = std::chrono::seconds(20);
  // What 10^9 recognised bytes pay for. Rolling over what matches takes 2.4 s.
  Duration earned_per_gb = std::chrono::seconds(20);
  // A window that has used this much and has not earned it is left: of 64 MiB that match nothing,
  // 25 MiB are read.
  Duration window = std::chrono::milliseconds(500);
};

// CPU time that the match of one file may use. Not thread-safe; several threads add up what they
// spend before they charge it.
class ScanBudget {
 public:
  enum class Verdict {
    go_on,
    next_window,  // leave this stretch of the old file
    stop,         // leave the file; what was found stays found
  };

  ScanBudget(const ScanBudgetSettings& settings, std::uint64_t old_bytes);

  // The window's account starts at nothing; the file's goes on.
  void begin_window();
  // `cpu` was used since the last call, and `matched_bytes` of the old file recognised.
  Verdict charge(Duration cpu, std::uint64_t matched_bytes);

  Duration spent() const { return spent_; }

 private:
  Duration earned(std::uint64_t matched_bytes) const;

  ScanBudgetSettings settings_;
  Duration free_;
  Duration spent_{0};
  Duration window_spent_{0};
  std::uint64_t matched_ = 0;
  std::uint64_t window_matched_ = 0;
};

}  // namespace p2p
