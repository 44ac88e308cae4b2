// Requests to the privileged helper, carried out for real in a folder of their own. Nothing outside
// of it may change.
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "core/base/check.h"
#include "io/privileged/helper_channel.h"
#include "io/privileged/helper_server.h"
#include "io/privileged/local_privileged.h"
#include "proto/privileged.pb.h"
#include "tests/fuzz/target.h"

namespace p2p::fuzz {
namespace {

namespace fs = std::filesystem;

const std::string kTreasure = "outside of every root and share";
const std::string kPart = ".p2pd-0123456789abcdef-j1-01234567";

class Playground {
 public:
  static Playground& get() {
    static Playground playground;
    return playground;
  }

  LocalPrivileged& executor() { return *executor_; }

  void check() {
    std::ifstream file(folder_ + "/outside/treasure", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    P2P_CHECK(text == kTreasure);
    const auto entries = [this](const char* below) {
      return std::distance(fs::directory_iterator(folder_ + below), {});
    };
    P2P_CHECK(entries("/outside") == 1);
    P2P_CHECK(entries("/share") == 1);
    P2P_CHECK(entries("") == 4);
    if (++runs_ % 256 == 0) fill_root();
  }

 private:
  Playground() {
    std::string pattern = (fs::temp_directory_path() / "p2pd-fuzz-XXXXXX").string();
    P2P_CHECK(::mkdtemp(pattern.data()) != nullptr);
    folder_ = fs::canonical(pattern).string();
    for (const char* name : {"/outside", "/root", "/share", "/run"}) {
      fs::create_directory(folder_ + name);
    }
    std::ofstream(folder_ + "/outside/treasure") << kTreasure;
    std::ofstream(folder_ + "/share/file") << "shared";
    fill_root();
    auto made =
        LocalPrivileged::create({folder_ + "/root"}, {folder_ + "/share"}, folder_ + "/run/ready");
    P2P_CHECK(made);
    executor_ = std::move(*made);
  }
  ~Playground() {
    executor_.reset();
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  void fill_root() {
    for (const auto& entry : fs::directory_iterator(folder_ + "/root")) fs::remove_all(entry);
    fs::create_directory(folder_ + "/root/sub");
    fs::create_symlink("../outside", folder_ + "/root/exit");
    fs::create_symlink(folder_ + "/outside/treasure", folder_ + "/root/link");
    std::ofstream(folder_ + "/root/old") << "old";
    std::ofstream(folder_ + "/root/" + kPart) << "part";
  }

  std::string folder_;
  std::unique_ptr<LocalPrivileged> executor_;
  std::uint64_t runs_ = 0;
};

// Each datagram behind two bytes of length.
void run(Bytes input) {
  auto channel = make_helper_channel();
  P2P_CHECK(channel);
  for (int sent = 0; input.size() >= 2 && sent < 8; ++sent) {
    const std::size_t length = std::min<std::size_t>(input[0] | input[1] << 8,
                                                     std::min<std::size_t>(input.size() - 2, 8192));
    (void)::send(channel->first.get(), input.data() + 2, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    input = input.subspan(2 + length);
  }
  // Nothing more comes, but the answers can still be sent.
  ::shutdown(channel->first.get(), SHUT_WR);
  (void)serve_privileged(channel->second.get(), Playground::get().executor());
  Playground::get().check();
}

std::string datagram(const proto::PrivilegedRequest& request) {
  const std::string bytes = request.SerializeAsString();
  const char length[] = {static_cast<char>(bytes.size() & 255),
                         static_cast<char>(bytes.size() >> 8)};
  return std::string(length, sizeof length) + bytes;
}

std::vector<std::string> seeds() {
  const auto request = [] {
    proto::PrivilegedRequest made;
    made.set_number(1);
    return made;
  };
  auto open_source = request();
  open_source.mutable_open_source()->set_path("/etc/passwd");
  auto open_part = request();
  open_part.mutable_open_part()->mutable_destination()->set_relative("exit/new");
  open_part.mutable_open_part()->set_part(kPart);
  auto open_landed = request();
  open_landed.mutable_open_landed()->mutable_file()->set_relative("link");
  auto land = request();
  land.mutable_land()->mutable_destination()->set_relative("sub/../old");
  land.mutable_land()->set_part(kPart);
  land.mutable_land()->set_mode(0644);
  auto remove = request();
  remove.mutable_remove_part()->mutable_destination()->set_relative("old");
  remove.mutable_remove_part()->set_part(kPart);
  auto free_space = request();
  free_space.mutable_free_space()->mutable_destination()->set_relative("old");
  auto list = request();
  list.mutable_list_folder()->mutable_folder()->set_relative("sub");
  auto ready = request();
  ready.mutable_write_ready_file()->set_text("{}");
  return {datagram(open_source), datagram(open_part), datagram(open_landed),
          datagram(land),        datagram(remove),    datagram(free_space),
          datagram(list),        datagram(ready),     datagram(list) + datagram(open_part)};
}

}  // namespace

std::vector<Target> helper_targets() {
  return {{"helper", run, seeds}};
}

}  // namespace p2p::fuzz
