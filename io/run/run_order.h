// The order of a run on its way to the shim: what may stand in it, and the sealed memory that it
// travels in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/result.h"
#include "core/runs/exec_policy.h"
#include "core/runs/run_id.h"
#include "io/disk/fd.h"
#include "proto/run.pb.h"

namespace p2p {

inline constexpr std::size_t kMaxOrderBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kMaxScriptBytes = 1024 * 1024;
inline constexpr std::size_t kMaxInputBytes = 1024 * 1024;
// Arguments and environment together; one of them below 128 KiB, which is Linux's limit.
inline constexpr std::size_t kMaxWordsBytes = 256 * 1024;
inline constexpr std::size_t kMaxWordBytes = 128 * 1024 - 1;
inline constexpr std::uint64_t kMaxTimeoutMs = 30ull * 24 * 3600 * 1000;
inline constexpr std::uint64_t kMaxGraceMs = 10 * 60 * 1000;
inline constexpr std::uint64_t kMinKeepBytes = 8 * 1024;
inline constexpr std::uint64_t kDefaultKeepBytes = 1024 * 1024;  // of each stream
inline constexpr std::uint64_t kMaxKeepBytes = 64 * 1024 * 1024;
inline constexpr std::uint64_t kDefaultGraceMs = 5000;

// A command or script with the defaults in every other field.
proto::RunOrder new_run_order(const RunId& id);
RunKind kind_of(const proto::RunOrder& order);

// denied: the veto of the node's owner.
Status permit_order(ExecPolicy policy, const proto::RunOrder& order);

// invalid_argument, with what is wrong: an order that no p2pd of ours would make.
Status check_run_order(const proto::RunOrder& order);

// Memory that holds the bytes and that nobody can change any more, closed on exec.
Result<Fd> seal_bytes(const std::string& bytes, const char* name);
// The order in such memory, checked. corrupt or invalid_argument: it is none, or not sealed.
Result<proto::RunOrder> unseal_order(const Fd& memory);

}  // namespace p2p
