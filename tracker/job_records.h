// Jobs as the store holds them: keys, pages of 256 tasks, and the way back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/jobs/job.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"

namespace p2p {

inline constexpr std::size_t kTasksOnPage = 256;

struct StoredJob {
  proto::JobRecord record;
  std::vector<TaskStatus> tasks;
};

void put_job(const proto::JobRecord& record, StateBatch& batch);
// The page that holds task `index`.
void put_task_page(std::uint64_t job, const std::vector<TaskStatus>& tasks, std::size_t index,
                   StateBatch& batch);
// Batches that hold all pages of a new job, each within the store's limit.
std::vector<StateBatch> all_task_pages(std::uint64_t job, const std::vector<TaskStatus>& tasks);

// Jobs in rising order. A job without its head (a crash between its pages and the head, which is
// written last) does not exist.
Result<std::vector<StoredJob>> load_jobs(StateStore& store);
// Nothing when there is none of this number.
Result<std::optional<StoredJob>> load_job(StateStore& store, std::uint64_t number);

}  // namespace p2p
