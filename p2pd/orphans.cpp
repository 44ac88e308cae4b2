#include "p2pd/orphans.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <charconv>
#include <utility>

#include "io/log/log.h"

namespace p2p {
namespace {

// A folder of its own for each deep tree would never end; what lies deeper than this is left.
constexpr std::ptrdiff_t kDeepest = 64;
// Folders that wait to be looked at: wider trees are left in part.
constexpr std::size_t kMostFolders = 200'000;

std::string_view parent_of(std::string_view relative) {
  return relative.substr(0, relative.rfind('/') + 1);
}

bool same_part(const PartPlace& a, const PartPlace& b) {
  return a.part == b.part && a.destination.root == b.destination.root &&
         parent_of(a.destination.relative) == parent_of(b.destination.relative);
}

// On a disk thread. False when it is still there, and nobody's.
bool remove_unless_taken_over(const PartTools& tools, JobId job, const PartPlace& place) {
  auto known = tools.records.list();
  if (!known) return false;
  const auto record = std::find_if(known->begin(), known->end(),
                                   [&](const auto& one) { return same_part(one.place, place); });
  // Another job may go on with the part that was on record.
  if (record != known->end() && record->place.job != job.number) return true;
  const Status removed = record != known->end()
                             ? Part::remove(tools, *record)
                             : tools.privileged.remove_part(place.destination, place.part);
  if (!removed) {
    log_warn("parts", "a part that nobody wants stays", {{"why", removed.error().detail}});
    return removed.error().code == Errc::not_found;
  }
  log_info("parts", "a part that nobody wants was removed",
           {{"job", job.str()}, {"part", place.part}});
  return true;
}

}  // namespace

std::optional<JobId> job_of_part(std::string_view name, NodeId node) {
  const std::string end = "-" + node.str().substr(0, 8) + ".part";
  const std::size_t start = name.find("-j");
  if (start == std::string_view::npos || !name.ends_with(end)) return std::nullopt;
  const char* const first = name.data() + start + 2;
  const char* const last = name.data() + name.size() - end.size();
  JobId job;
  const auto [stop, error] = std::from_chars(first, last, job.number);
  if (error != std::errc() || stop != last) return std::nullopt;
  return job;
}

Orphans::Orphans(boost::asio::io_context& control, DiskPool& disk, const PartTools& tools,
                 NodeId self, std::function<void(JobId)> ask)
    : control_(control), disk_(disk), tools_(tools), self_(self), ask_(std::move(ask)) {}

Orphans::~Orphans() {
  *alive_ = false;
}

void Orphans::add(const std::vector<PartRecords::Known>& known) {
  for (const PartRecords::Known& part : known) {
    found_[JobId{part.place.job}].push_back(part.place);
  }
}

void Orphans::ask_all() {
  for (const auto& [job, places] : found_) ask_(job);
  if (!searched_.empty()) look_into_records();
}

void Orphans::search(std::function<void()> done) {
  done_ = std::move(done);
  folders_left_ = true;
  log_info("parts", "the roots are searched for parts of earlier transfers");
  for (std::uint32_t root = 0; root < tools_.privileged.roots().size(); ++root) {
    folders_.push_back({root, ".", ""});
  }
  next();
}

void Orphans::next() {
  if (folders_.empty()) {
    log_info("parts", "the roots were searched", {{"jobs_with_parts", found_.size()}});
    folders_left_ = false;
    return look_into_records();
  }
  const Folder folder = std::move(folders_.front());
  folders_.pop_front();
  disk_.post([this, alive = alive_, &control = control_, &privileged = tools_.privileged, folder] {
    auto listing = std::make_shared<Result<FolderListing>>(
        privileged.list_folder(folder.root, folder.relative, folder.after));
    boost::asio::post(control, [this, alive, folder, listing] {
      if (!*alive) return;
      take(folder, *listing);
      next();
    });
  });
}

void Orphans::take(const Folder& folder, const Result<FolderListing>& listing) {
  if (!listing) {
    log_warn("parts", "a folder was not searched", {{"why", listing.error().detail}});
    return;
  }
  const std::string prefix = folder.relative == "." ? "" : folder.relative + "/";
  const bool too_deep = std::count(prefix.begin(), prefix.end(), '/') >= kDeepest;
  for (const FolderListing::Entry& entry : listing->entries) {
    if (!entry.is_part) {
      if (!too_deep && folders_.size() < kMostFolders) {
        folders_.push_back({folder.root, prefix + entry.name, ""});
      }
    } else if (const auto job = job_of_part(entry.name, self_)) {
      // Which file it was to become is not known any more; the folder is what counts.
      const PartPlace place{job->number, {folder.root, prefix + "part"}, entry.name};
      found_[*job].push_back(place);
      searched_.push_back(place);
      ask_(*job);
    }
  }
  if (listing->more) {
    folders_.push_front({folder.root, folder.relative, listing->entries.back().name});
  }
}

void Orphans::remove(JobId job) {
  const auto found = found_.find(job);
  if (found == found_.end()) return;
  for (const PartPlace& place : found->second) {
    // In its content's lane: a transfer of it may begin at this moment.
    const auto lane = content_lane(place.part);
    auto work = [this, alive = alive_, &control = control_, tools = tools_, job, place] {
      const bool gone = remove_unless_taken_over(tools, job, place);
      boost::asio::post(control, [this, alive, gone, place] {
        if (*alive && gone) settled(place);
      });
    };
    lane ? disk_.post(*lane, std::move(work)) : disk_.post(std::move(work));
  }
  found_.erase(found);
}

// Of a part that was found by its name this node knows nothing else: as long as one of them is
// neither removed nor on record again, the next start has to search for it.
void Orphans::settled(const PartPlace& place) {
  std::erase_if(searched_, [&](const PartPlace& one) { return same_part(one, place); });
  end_search_if_settled();
}

void Orphans::end_search_if_settled() {
  if (folders_left_ || !done_ || !searched_.empty()) return;
  std::exchange(done_, nullptr)();
}

void Orphans::look_into_records() {
  disk_.post([this, alive = alive_, &control = control_, &records = tools_.records] {
    auto known = records.list();
    if (!known) return;
    boost::asio::post(control, [this, alive, known = std::move(*known)] {
      if (!*alive) return;
      std::erase_if(searched_, [&](const PartPlace& place) {
        return std::any_of(known.begin(), known.end(),
                           [&](const auto& one) { return same_part(one.place, place); });
      });
      end_search_if_settled();
    });
  });
}

}  // namespace p2p
