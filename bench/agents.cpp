// agents: holds many emulated agents in one process, to load a tracker (bench/README.md).
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

#include "bench/emulator/fleet.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/state/leveldb_store.h"

namespace {

using p2p::emulator::Fleet;

struct Options {
  std::size_t nodes = 0;
  std::string tracker;
  std::string token_file;
  std::string data;
  std::string log_level = "error";
  double seconds = 0;
  Fleet::Settings fleet;
};

int fail(const p2p::Error& error) {
  std::fprintf(stderr, "agents: %s\n", error.detail.c_str());
  return 1;
}

// Lines for people and for bench/command: how many are connected, whenever that changes; runs.
class Watch {
 public:
  Watch(boost::asio::io_context& loop, const Fleet& fleet, double seconds)
      : fleet_(fleet), timer_(loop), end_(loop), started_(p2p::monotonic_now()) {
    if (seconds > 0) {
      end_.expires_after(p2p::from_seconds(seconds));
      end_.async_wait([&loop](boost::system::error_code error) {
        if (!error) loop.stop();
      });
    }
    look();
  }

  void say_totals(std::uint64_t syncs, std::size_t nodes) const {
    const auto& counters = fleet_.counters();
    const double busy = last_ended_at_ - first_accepted_at_;
    std::printf("runs: %llu offers, %llu accepted, %llu ended; ",
                static_cast<unsigned long long>(counters.offers),
                static_cast<unsigned long long>(counters.accepted),
                static_cast<unsigned long long>(counters.ended));
    std::printf("%.0f/s from the first to the last, at most %.0f/s; %llu syncs\n",
                busy > 0 ? static_cast<double>(counters.ended) / busy : 0.0, most_per_second_,
                static_cast<unsigned long long>(syncs));
    std::printf("connections: %llu for %zu nodes\n",
                static_cast<unsigned long long>(counters.welcomes), nodes);
  }

 private:
  static constexpr p2p::Duration kLook = std::chrono::milliseconds(100);

  double now() const { return p2p::seconds(p2p::monotonic_now() - started_); }

  void look() {
    const auto& counters = fleet_.counters();
    const std::size_t connected = counters.connected;
    if (connected != connected_) {
      std::printf("%.1f s: %zu of %zu connected\n", now(), connected, fleet_.nodes());
      connected_ = connected;
    }
    const std::uint64_t accepted = counters.accepted;
    const std::uint64_t ended = counters.ended;
    if (accepted > 0 && first_accepted_at_ == 0) first_accepted_at_ = last_look_;
    if (ended != ended_) {
      const double since = now() - last_look_;
      most_per_second_ = std::max(most_per_second_, static_cast<double>(ended - ended_) / since);
      last_ended_at_ = now();
      ended_ = ended;
    }
    last_look_ = now();
    timer_.expires_after(kLook);
    timer_.async_wait([this](boost::system::error_code error) {
      if (!error) look();
    });
  }

  const Fleet& fleet_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer end_;
  p2p::Time started_;
  std::size_t connected_ = 0;
  std::uint64_t ended_ = 0;
  double last_look_ = 0, first_accepted_at_ = 0, last_ended_at_ = 0, most_per_second_ = 0;
};

// Runs that went on when an earlier process was ended are lost, as they are on a node.
p2p::Status note_lost_runs(p2p::StateStore& store, const std::string& data) {
  const auto found = p2p::RunLedger(store).recover(p2p::RunFolders(data + "/runs"));
  return found ? p2p::Status() : found.error();
}

int run(Options& options) {
  if (const p2p::Status set = p2p::set_log_level(options.log_level); !set) {
    return fail(set.error());
  }
  const auto tracker = p2p::parse_host_port(options.tracker);
  if (!tracker) return fail(tracker.error().within("--tracker"));
  if (options.nodes == 0 || options.nodes > 60'000) {
    return fail({p2p::Errc::invalid_argument,
                 "N: from 1 to 60000, which is what the ports of one "
                 "address allow"});
  }
  if (options.fleet.threads == 0 || options.fleet.threads > 64) {
    return fail({p2p::Errc::invalid_argument, "--threads: from 1 to 64"});
  }
  if (!(options.fleet.connects_per_second > 0)) {
    return fail({p2p::Errc::invalid_argument, "--connect-rate: more than 0"});
  }
  options.fleet.tracker = *tracker;
  if (const p2p::Status raised = p2p::emulator::raise_descriptor_limit(options.nodes); !raised) {
    return fail(raised.error());
  }
  p2p::emulator::JoinPlan plan{.tracker = *tracker, .token = {}, .nodes = options.nodes};
  if (!options.token_file.empty()) {
    auto token = p2p::read_file(options.token_file, 4096);
    if (!token) return fail(token.error().within("--token-file"));
    plan.token = *token;
  }
  if (const p2p::Status made = p2p::make_folders(options.data); !made) return fail(made.error());
  ::chmod(options.data.c_str(), 0700);
  auto store = p2p::LevelDbStore::open(options.data + "/store");
  if (!store) return fail(store.error());
  if (const p2p::Status noted = note_lost_runs(**store, options.data); !noted) {
    return fail(noted.error());
  }
  auto members = p2p::emulator::members(**store, plan, [&](std::size_t joined) {
    std::printf("%zu of %zu joined\n", joined, options.nodes);
  });
  if (!members) return fail(members.error());

  boost::asio::io_context loop(1);
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&loop](boost::system::error_code error, int) {
    if (!error) loop.stop();
  });
  Fleet fleet(options.fleet, **store, std::move(*members));
  Watch watch(loop, fleet, options.seconds);
  fleet.start();
  loop.run();
  fleet.stop();
  watch.say_totals(fleet.syncs(), options.nodes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  Options options;
  CLI::App app{"agents: emulated agents that answer as real ones, in one process"};
  app.add_option("N", options.nodes, "how many: emu-00001 to emu-N")->required();
  app.add_option("--tracker", options.tracker, "HOST:PORT of the tracker")->required();
  app.add_option("--token-file", options.token_file,
                 "a file with a token, for those that have not joined yet");
  app.add_option("--data", options.data, "folder of their identities and their ledger")->required();
  app.add_option("--threads", options.fleet.threads, "that hold connections")
      ->capture_default_str();
  app.add_option("--connect-rate", options.fleet.connects_per_second,
                 "first connections in a second")
      ->capture_default_str();
  app.add_option("--churn", options.fleet.churn_per_second,
                 "connections that are dropped, and made again, in a second")
      ->capture_default_str();
  app.add_option("--seed", options.fleet.seed, "of back-offs and of the choice who is dropped")
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "ends after so long (0: at SIGINT or SIGTERM)")
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "error, warn, info or debug")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run(options);
}
