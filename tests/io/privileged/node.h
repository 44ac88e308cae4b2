// The folders of a node and its executor, for the tests of privileged requests.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "io/disk/file_io.h"
#include "io/privileged/local_privileged.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p::test {

namespace fs = std::filesystem;

inline const std::string kPart = ".p2pd-part-1";

// A root, a share and a folder that the agent was not given, side by side.
struct Node {
  TempFolder base;
  std::string root = base / "root";
  std::string share = base / "share";
  std::string outside = base / "outside";
  std::unique_ptr<LocalPrivileged> privileged;

  Node() {
    for (const std::string& folder : {root, share, outside}) fs::create_directory(folder);
    put_file(outside + "/secret", "secret");
    Result<std::unique_ptr<LocalPrivileged>> made = LocalPrivileged::create({root}, {share});
    REQUIRE(made);
    privileged = std::move(*made);
  }

  // A part with these bytes, ready to land.
  void fill_part(const std::string& relative, const std::string& text) {
    const Result<Fd> part = privileged->open_part({0, relative}, kPart);
    REQUIRE(part);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    REQUIRE(write_all_at(part->get(), {bytes, text.size()}, 0, relative));
  }
  // Nothing was created in or removed from `outside`, and nothing was written there.
  bool is_outside_untouched() const {
    return text_of(outside + "/secret") == "secret" &&
           std::distance(fs::directory_iterator(outside), {}) == 1;
  }
};

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
