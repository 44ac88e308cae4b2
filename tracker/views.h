// What operators are shown of nodes and jobs.
#pragma once

#include "proto/api.pb.h"
#include "tracker/job_board.h"
#include "tracker/registry.h"

namespace p2p {

proto::TargetList target_view(const std::vector<NodeId>& nodes, const Registry& registry);
proto::Node node_view(const NodeEntry& node, std::uint32_t files_held);

enum class WithTasks { no, yes };
proto::Job job_view(const BoardJob& job, const JobBoard& board, const Registry& registry,
                    const Catalogue& catalogue, WithTasks with_tasks);

}  // namespace p2p
