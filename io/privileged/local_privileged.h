// The executor of privileged requests inside the calling process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/disk/file_calls.h"
#include "io/privileged/beneath.h"
#include "io/privileged/privileged.h"

namespace p2p {

// Every request is checked here as if its caller were hostile; nothing is remembered between
// requests, and nothing changes after create(), so no lock is needed.
class LocalPrivileged final : public Privileged {
 public:
  // Each must be an absolute path to an existing folder, which stays open from now on: if it is
  // renamed or a link to it changes, the agent goes on with the folder that it was started with.
  // An empty `ready_file` is none. `calls` outlives the object.
  static Result<std::unique_ptr<LocalPrivileged>> create(const std::vector<std::string>& roots,
                                                         const std::vector<std::string>& shares,
                                                         const std::string& ready_file = "",
                                                         FileCalls& calls = FileCalls::system());

  // As they were given, without "." and repeated '/'; open_source also knows them by the names that
  // they have without symbolic links.
  const std::vector<std::string>& roots() const override { return root_names_; }
  const std::vector<std::string>& shares() const override { return share_names_; }

  Result<Fd> open_source(const std::string& absolute_path) override;
  Result<Fd> open_part(const RootedPath& destination, const std::string& part) override;
  Result<Fd> open_landed(const RootedPath& path) override;
  // Never sets setuid, setgid and sticky bits. The owner and the group are looked up by name only;
  // a number in their place counts as unknown. A symbolic link at the destination is replaced,
  // except one that leads to a folder inside the root, which is an error like a folder.
  Status land(const RootedPath& destination, const std::string& part, const FileIdentity& written,
              const FileMetadata& metadata) override;
  Status remove_part(const RootedPath& destination, const std::string& part) override;
  Result<FreeSpace> free_space(const RootedPath& destination) override;
  Result<FolderListing> list_folder(std::uint32_t root, const std::string& relative,
                                    const std::string& after) override;
  Status write_ready_file(const std::string& text) override;

 private:
  // A checked RootedPath.
  struct Place {
    const BaseFolder* root = nullptr;
    std::string relative;

    std::string absolute() const { return root->absolute_of(relative); }
    std::string folder() const { return paths::folder_of(relative); }
    // The name, for people, of a file beside it.
    std::string beside(const std::string& name) const {
      return root->absolute_of(folder()) + "/" + name;
    }
  };

  explicit LocalPrivileged(FileCalls& calls) : calls_(calls) {}
  Result<const BaseFolder*> root_of(std::uint32_t number) const;
  Result<Place> place_of(const RootedPath& path) const;
  // With the part's name checked too.
  Result<Place> place_of(const RootedPath& path, const std::string& part) const;
  Result<Fd> make_part(const Place& place, const std::string& part);
  static Status refuse_folder(const Place& place);
  Error outside(const std::string& absolute_path) const;

  FileCalls& calls_;
  std::vector<BaseFolder> roots_;
  std::vector<BaseFolder> shares_;
  std::vector<std::string> root_names_;
  std::vector<std::string> share_names_;
  std::string ready_file_;
};

}  // namespace p2p
