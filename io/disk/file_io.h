// Blocking file calls done whole: short counts and interruptions are dealt with here, and errors
// name the file. For disk threads and for start-up, never for the control thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

// What the operating system's error number `error` means: ENOSPC and EDQUOT are `exhausted` ("disk
// full"), ENOENT is `not_found`, EACCES, EPERM and EROFS are `denied`, everything else `io_failed`.
// `what` says the act and the file: "write /srv/a at 4096".
Error error_from_errno(int error, std::string_view what);

// In all calls on descriptors `name` is the file's name, for error texts only.

// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
Status write_all_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                    std::string_view name);
// Fills `into` from `offset` on; fewer bytes than asked only at the end of the file.
Result<std::size_t> read_at(int fd, std::span<std::uint8_t> into, std::uint64_t offset,
                            std::string_view name);
// The same where a file that ends early is an error: `corrupt`.
Status read_exactly_at(int fd, std::span<std::uint8_t> into, std::uint64_t offset,
                       std::string_view name);

// fdatasync. After an error nothing is known of what was written since the last success: the kernel
// forgets failed pages, so a second call that succeeds proves nothing. None of the three syncs
// tries again by itself, for that reason.
Status sync_data(int fd, std::string_view name);
// fsync: data and metadata.
Status sync_all(int fd, std::string_view name);
// fsync of a folder, which makes names in it durable. File systems that know no such thing (EINVAL)
// count as synced.
Status sync_folder(int fd, std::string_view name);

// `path` holds the old file or all of `bytes` with exactly `mode`, also after a power cut. A
// symbolic link at `path` is replaced. The temporary file is ".p2pd-tmp-XXXXXX" in the same folder.
Status write_file_atomically(const std::string& path, std::string_view bytes, mode_t mode);
// All of a file, also of a pipe; invalid_argument when it is longer than `max_bytes`.
Result<std::string> read_file(const std::string& path, std::size_t max_bytes);
// Makes `path` and the folders above it that are missing (0777 less the umask).
Status make_folders(const std::string& path);

}  // namespace p2p
