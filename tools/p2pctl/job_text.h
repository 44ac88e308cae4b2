// Exec jobs, and jobs that are only planned, as text.
#pragma once

#include <string>

#include "proto/api.pb.h"

namespace p2p {

// "uname -r", "script deploy@3 --fast": for people, quoted where a shell would need it.
std::string command_text(const proto::Job& job);
// What `job show` says of an exec job.
std::string exec_job_text(const proto::Job& job);
// What --dry-run says.
std::string dry_run_text(const proto::Job& job);
// "985 of 1000 exited, 3 running": of a list's line.
std::string run_counts_text(const proto::Job& job);
// "1,10%,100%, at most 50 at a time, ..."; empty when nothing is limited.
std::string rollout_text(const proto::Rollout& rollout);
// `text` as one word of a POSIX shell.
std::string shell_word(const std::string& text);

}  // namespace p2p
