// Exec jobs as the store holds them: keys, pages of 64 runs, and the way back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/runs/exec_job.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"

namespace p2p {

inline constexpr std::size_t kRunsOnPage = 64;
// A level of the store has at most 1,000 children.
inline constexpr std::size_t kMaxRunsOfJob = 1000 * kRunsOnPage;
// Texts of runs, and the accounts that nodes name, are cut after this.
inline constexpr std::size_t kMaxRunTextBytes = 200;
inline constexpr std::size_t kMaxRunAccountBytes = 48;

struct StoredExec {
  proto::ExecRecord record;
  std::vector<RunStatus> runs;
};

void put_exec(const proto::ExecRecord& record, StateBatch& batch);
// Batches that erase it with its pages, the head last.
std::vector<StateBatch> erased_exec(std::uint64_t number, std::size_t runs);
// Batches that hold the pages in which a run has changed behind `since` (ExecJob::changes), each
// within the store's limit.
std::vector<StateBatch> changed_run_pages(std::uint64_t number, const ExecJob& job,
                                          std::uint64_t since);

// The heads of all jobs, in rising order. A job without its head, which is written last, does not
// exist.
Result<std::vector<proto::ExecRecord>> load_exec_heads(StateStore& store);
// Nothing when there is none of this number.
Result<std::optional<StoredExec>> load_exec(StateStore& store, std::uint64_t number);

// Rollout and rules as the record has them.
void set_memory(const Rollout::Memory& memory, proto::RolloutRecord& record);
Rollout::Memory memory_of(const proto::RolloutRecord& record);
// invalid_argument: which option, and how to write it.
Result<ExecRules> exec_rules_of(const proto::RolloutRecord& record);

}  // namespace p2p
