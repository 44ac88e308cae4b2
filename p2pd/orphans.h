// Parts that this node has begun and that nobody may want any more: found, asked about, removed.
//
// An agent can be away when its job is cancelled or ends. So it tells the tracker, each time they
// connect, of every job of which it finds a part; for those that are over the tracker answers with
// CancelTask, as always. Parts are found in the records, and, when the records were lost, by
// walking the roots. Control thread only; the walk runs on the disk pool, a folder at a time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/disk/disk_pool.h"
#include "p2pd/part.h"

namespace p2p {

// The job of a part with a name of this node's; nothing when it is none.
std::optional<JobId> job_of_part(std::string_view name, NodeId node);

class Orphans {
 public:
  // `ask`: tell the tracker that there is a part of this job. May be called while it is away.
  Orphans(boost::asio::io_context& control, DiskPool& disk, const PartTools& tools, NodeId self,
          std::function<void(JobId)> ask);
  ~Orphans();

  // What the records know of, at the start.
  void add(const std::vector<PartRecords::Known>& known);
  // Walks all roots. `done` is called when everything that is there was looked at and each part
  // that was found is removed, or on record again: until then the next start has to search anew.
  void search(std::function<void()> done);
  // There are folders of the search to be looked at.
  bool is_walking() const { return folders_left_; }
  // The tracker is there: asks about every part that was found.
  void ask_all();
  // Nobody wants the job's part any more. Does nothing when none was found.
  void remove(JobId job);

 private:
  struct Folder {
    std::uint32_t root = 0;
    std::string relative;
    std::string after;
  };
  void next();
  void settled(const PartPlace& place);
  void end_search_if_settled();
  void look_into_records();
  void take(const Folder& folder, const Result<FolderListing>& listing);

  boost::asio::io_context& control_;
  DiskPool& disk_;
  PartTools tools_;
  NodeId self_;
  std::function<void(JobId)> ask_;
  std::function<void()> done_;
  std::map<JobId, std::vector<PartPlace>> found_;
  std::vector<PartPlace> searched_;  // found by walking, and neither removed nor on record yet
  std::deque<Folder> folders_;
  bool folders_left_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
