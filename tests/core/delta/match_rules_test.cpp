// What a sample means, and how much a scan may cost.
#include "core/delta/match_rules.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

using std::chrono::milliseconds;
using Seconds = std::chrono::seconds;
using Verdict = ScanBudget::Verdict;

constexpr std::uint64_t kGB = 1'000'000'000;
constexpr std::uint64_t kMiB = 1u << 20;

}  // namespace

TEST_CASE("files are related from one per cent of the sample on", "[core][delta]") {
  CHECK(relation_of(0, 0, 0) == Relation::unrelated);
  CHECK(relation_of(1000, 0, 9) == Relation::unrelated);
  CHECK(relation_of(1000, 0, 10) == Relation::shifted);
  CHECK(relation_of(1001, 0, 10) == Relation::unrelated);
  CHECK(relation_of(1001, 0, 11) == Relation::shifted);
  CHECK(relation_of(1000, 10, 0) == Relation::shifted);
  CHECK(relation_of(1, 0, 0) == Relation::unrelated);
  CHECK(relation_of(1, 0, 1) == Relation::shifted);
  CHECK(relation_of(~0ull, 0, ~0ull / 100 + 1) == Relation::shifted);
}

TEST_CASE("half of the sample in place is worth comparing in place", "[core][delta]") {
  CHECK(relation_of(1000, 499, 990) == Relation::shifted);
  CHECK(relation_of(1000, 500, 990) == Relation::in_place);
  CHECK(relation_of(1001, 500, 990) == Relation::shifted);
  CHECK(relation_of(1001, 501, 501) == Relation::in_place);
}

TEST_CASE("a large file that matches nothing costs 20 seconds", "[core][delta]") {
  ScanBudget budget({}, 500 * kGB);
  budget.begin_window();
  int windows = 0;
  Duration spent{0};
  Verdict verdict = Verdict::go_on;
  while (verdict != Verdict::stop) {
    verdict = budget.charge(milliseconds(1), 0);
    spent += milliseconds(1);
    if (verdict == Verdict::next_window) {
      ++windows;
      budget.begin_window();
    }
  }
  CHECK(spent == milliseconds(20'001));
  CHECK(budget.spent() == spent);
  CHECK(windows == 39);  // 501 ms each
}

TEST_CASE("a small file that matches nothing costs what its size allows", "[core][delta]") {
  ScanBudget budget({}, kGB / 10);
  CHECK(budget.charge(milliseconds(400), 0) == Verdict::go_on);
  budget.begin_window();
  CHECK(budget.charge(milliseconds(500), 0) == Verdict::go_on);
  budget.begin_window();
  CHECK(budget.charge(milliseconds(500), 0) == Verdict::go_on);
  budget.begin_window();
  CHECK(budget.charge(milliseconds(500), 0) == Verdict::go_on);
  CHECK(budget.charge(milliseconds(100), 0) == Verdict::next_window);
  CHECK(budget.charge(milliseconds(1), 0) == Verdict::stop);
  ScanBudget nothing({}, 0);
  CHECK(nothing.charge(Duration(1), 0) == Verdict::stop);
}

TEST_CASE("what is found pays for the scan", "[core][delta]") {
  // 0.42 GB/s, all of it matches: 300 GB are scanned to the end.
  ScanBudget budget({}, 300 * kGB);
  for (int i = 0; i < 300; ++i) {
    budget.begin_window();
    CHECK(budget.charge(milliseconds(2400), kGB) == Verdict::go_on);
  }
  CHECK(budget.spent() == Seconds(720));
}

TEST_CASE("a window that has earned nothing is left, the next one has its own account",
          "[core][delta]") {
  ScanBudget budget({}, 10 * kGB);
  budget.begin_window();
  CHECK(budget.charge(Seconds(1), 64 * kMiB) == Verdict::go_on);  // earned 1.34 s
  budget.begin_window();
  CHECK(budget.charge(milliseconds(500), 0) == Verdict::go_on);
  CHECK(budget.charge(milliseconds(1), 0) == Verdict::next_window);
  budget.begin_window();
  CHECK(budget.charge(milliseconds(500), 0) == Verdict::go_on);
  CHECK(budget.charge(milliseconds(100), 5'000'000) == Verdict::go_on);
  CHECK(budget.charge(milliseconds(1), 0) == Verdict::next_window);
}

TEST_CASE("no number of bytes makes the budget overflow", "[core][delta]") {
  ScanBudget budget({}, ~0ull);
  CHECK(budget.charge(Seconds(1), ~0ull) == Verdict::go_on);
  budget.begin_window();
  CHECK(budget.charge(std::chrono::hours(1000), 0) == Verdict::next_window);
}

}  // namespace p2p
