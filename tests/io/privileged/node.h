// The folders of a node and its executor, for the tests of privileged requests.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "io/disk/file_io.h"
#include "io/privileged/helper_client.h"
#include "io/privileged/helper_server.h"
#include "io/privileged/local_privileged.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p::test {

namespace fs = std::filesystem;

inline const std::string kPart = ".p2pd-part-1";

// An executor in this process. What it is asked for is what a helper would be asked for.
class InProcess {
 public:
  static Result<InProcess> create(const std::vector<std::string>& roots,
                                  const std::vector<std::string>& shares,
                                  const std::string& ready_file = "") {
    auto made = LocalPrivileged::create(roots, shares, ready_file);
    if (!made) return made.error();
    InProcess executor;
    executor.local_ = std::move(*made);
    return executor;
  }
  Privileged* operator->() const { return local_.get(); }
  Privileged& operator*() const { return *local_; }

 private:
  std::unique_ptr<LocalPrivileged> local_;
};

// The same behind a channel, its helper on a thread of this process.
class ThroughHelper {
 public:
  static Result<ThroughHelper> create(const std::vector<std::string>& roots,
                                      const std::vector<std::string>& shares,
                                      const std::string& ready_file = "") {
    auto made = LocalPrivileged::create(roots, shares, ready_file);
    if (!made) return made.error();
    auto channel = make_helper_channel();
    REQUIRE(channel);
    ThroughHelper through;
    through.local_ = std::move(*made);
    through.helper_ = std::thread(
        [end = std::make_shared<Fd>(std::move(channel->second)), local = through.local_.get()] {
          std::ignore = serve_privileged(end->get(), *local);
        });
    through.client_ = std::make_unique<HelperPrivileged>(
        std::move(channel->first), through.local_->roots(), through.local_->shares());
    return through;
  }
  ThroughHelper() = default;
  ThroughHelper(ThroughHelper&&) = default;
  ThroughHelper& operator=(ThroughHelper&&) = default;
  ~ThroughHelper() {
    client_.reset();
    if (helper_.joinable()) helper_.join();
  }
  Privileged* operator->() const { return client_.get(); }
  Privileged& operator*() const { return *client_; }

 private:
  std::unique_ptr<LocalPrivileged> local_;
  std::thread helper_;
  std::unique_ptr<HelperPrivileged> client_;
};

// A root, a share and a folder that the agent was not given, side by side.
template <class Executor>
struct NodeOf {
  TempFolder base;
  std::string root = base / "root";
  std::string share = base / "share";
  std::string outside = base / "outside";
  Executor privileged;

  NodeOf() {
    for (const std::string& folder : {root, share, outside}) fs::create_directory(folder);
    put_file(outside + "/secret", "secret");
    auto made = Executor::create({root}, {share}, base / "ready");
    REQUIRE(made);
    privileged = std::move(*made);
  }

  // Makes a part with these bytes, ready to land.
  FileIdentity fill_part(const std::string& relative, const std::string& text) {
    const Result<Fd> part = privileged->open_part({0, relative}, kPart);
    REQUIRE(part);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    REQUIRE(write_all_at(part->get(), {bytes, text.size()}, 0, relative));
    const Result<FileFacts> facts = facts_of(*part);
    REQUIRE(facts);
    return facts->identity();
  }
  // Writes a part and lands it.
  Status put(const std::string& relative, const std::string& text, const FileMetadata& metadata) {
    const FileIdentity written = fill_part(relative, text);
    return privileged->land({0, relative}, kPart, written, metadata);
  }
  // Nothing was created in or removed from `outside`, and nothing was written there.
  bool is_outside_untouched() const {
    return text_of(outside + "/secret") == "secret" &&
           std::distance(fs::directory_iterator(outside), {}) == 1;
  }
};
using Node = NodeOf<InProcess>;

inline std::string read_all(const Fd& file) {
  std::vector<std::uint8_t> bytes(1000);
  const Result<std::size_t> got = read_at(file.get(), bytes, 0, "test");
  REQUIRE(got);
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(*got)};
}

inline struct stat facts_at(const std::string& path) {
  struct stat facts {};
  REQUIRE(::lstat(path.c_str(), &facts) == 0);
  return facts;
}

template <class T>
Errc code_of(const T& result) {
  REQUIRE_FALSE(result);
  return result.error().code;
}

}  // namespace p2p::test
