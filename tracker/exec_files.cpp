#include "tracker/exec_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "io/disk/fd.h"
#include "io/disk/file_io.h"
#include "io/run/run_order.h"

namespace p2p {
namespace {

Status sync_names_in(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return error_from_errno(errno, "open " + folder);
  return sync_folder(fd.get(), folder);
}

// Nothing unless `name` has exactly so many digits.
std::optional<std::uint64_t> number_in(const std::string& name, std::size_t digits) {
  std::uint64_t number = 0;
  const char* end = name.data() + name.size();
  const auto [stop, problem] = std::from_chars(name.data(), end, number);
  if (name.size() < digits || problem != std::errc{} || stop != end) return std::nullopt;
  return number;
}

}  // namespace

std::string ExecFiles::folder_of(std::uint64_t job) const {
  char below[40];
  std::snprintf(below, sizeof below, "/%06llu/%03llu", static_cast<unsigned long long>(job / 1000),
                static_cast<unsigned long long>(job % 1000));
  return folder_ + below;
}

Status ExecFiles::write_order(std::uint64_t job, const std::string& bytes) const {
  const std::string folder = folder_of(job);
  const std::string above = folder.substr(0, folder.rfind('/'));
  const bool first_of_thousand = !std::filesystem::exists(above);
  if (Status made = make_folders(folder); !made) return made;
  // Of a job that had this number and was never made.
  if (Status removed = remove_output(job); !removed) return removed;
  if (Status written = write_file_atomically(folder + "/order", bytes, 0600); !written) {
    return written;
  }
  if (Status synced = sync_names_in(above); !synced || !first_of_thousand) return synced;
  if (Status synced = sync_names_in(folder_); !synced) return synced;
  return sync_names_in(folder_.substr(0, folder_.rfind('/')));
}

Result<std::string> ExecFiles::read_order(std::uint64_t job) const {
  return read_file(folder_of(job) + "/order", kMaxOrderBytes);
}

Status ExecFiles::remove_output(std::uint64_t job) const {
  const std::string path = output_path(job);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return error_from_errno(errno, "remove " + path);
}

Status ExecFiles::remove(std::uint64_t job) const {
  if (Status removed = remove_output(job); !removed) return removed;
  const std::string folder = folder_of(job);
  const std::string order = folder + "/order";
  if (::unlink(order.c_str()) != 0 && errno != ENOENT) {
    return error_from_errno(errno, "remove " + order);
  }
  // A folder that is not empty stays.
  ::rmdir(folder.c_str());
  ::rmdir(folder.substr(0, folder.rfind('/')).c_str());
  return {};
}

Result<std::map<std::uint64_t, std::uint64_t>> ExecFiles::outputs() const {
  namespace fs = std::filesystem;
  std::map<std::uint64_t, std::uint64_t> sizes;
  std::error_code error;
  for (fs::directory_iterator thousand(folder_, error), end; !error && thousand != end;
       thousand.increment(error)) {
    const auto high = number_in(thousand->path().filename(), 6);
    if (!high) continue;
    for (fs::directory_iterator job(thousand->path(), error); !error && job != end;
         job.increment(error)) {
      const auto low = number_in(job->path().filename(), 3);
      std::error_code missing;
      const auto size = fs::file_size(job->path() / "output", missing);
      if (low && !missing) sizes[*high * 1000 + *low] = size;
    }
    if (error) break;
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return Error{Errc::io_failed, "look into " + folder_ + ": " + error.message()};
  }
  return sizes;
}

}  // namespace p2p
