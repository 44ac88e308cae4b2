// The files of exec jobs on the tracker: DATA/exec/NNNNNN/NNN with the job's order and the log of
// its output.
//
// Blocking: for disk threads and for start-up.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/base/result.h"

namespace p2p {

class ExecFiles {
 public:
  explicit ExecFiles(std::string folder) : folder_(std::move(folder)) {}

  // On stable storage when it returns, with all folders above it.
  Status write_order(std::uint64_t job, const std::string& bytes) const;
  Result<std::string> read_order(std::uint64_t job) const;
  std::string output_path(std::uint64_t job) const { return folder_of(job) + "/output"; }
  // No error when it is gone already.
  Status remove_output(std::uint64_t job) const;
  // Order, log and folder. No error when they are gone already.
  Status remove(std::uint64_t job) const;
  // How large each job's log is.
  Result<std::map<std::uint64_t, std::uint64_t>> outputs() const;

 private:
  std::string folder_of(std::uint64_t job) const;

  std::string folder_;
};

}  // namespace p2p
