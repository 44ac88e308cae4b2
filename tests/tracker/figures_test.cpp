#include "tracker/figures_desk.h"

#include <limits>
#include <optional>
#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

struct Desk {
  boost::asio::io_context loop;
  std::vector<NodeId> asked;
  FiguresDesk desk;
  std::vector<std::optional<proto::NodeFigures>> answers;

  explicit Desk(Duration wait)
      : desk(
            loop,
            [this](NodeId node, const proto::TrackerMessage& message) {
              REQUIRE(message.has_figures());
              asked.push_back(node);
            },
            wait) {}
  void ask(NodeId node) {
    desk.ask(node, [this](std::optional<proto::NodeFigures> figures) {
      answers.push_back(std::move(figures));
    });
  }
};

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

proto::Figures figures(std::uint64_t uptime) {
  proto::Figures figures;
  figures.set_uptime_seconds(uptime);
  return figures;
}

}  // namespace

TEST_CASE("All who wait for a node's figures get its one answer", "[tracker]") {
  Desk desk(std::chrono::hours(1));
  desk.ask(node(1));
  desk.ask(node(1));
  desk.ask(node(2));
  CHECK(desk.asked == std::vector<NodeId>{node(1), node(2)});
  desk.desk.on_figures(node(1), figures(7));
  REQUIRE(desk.answers.size() == 2);
  CHECK(desk.answers[0]->uptime_seconds() == 7);
  CHECK(desk.answers[1]->uptime_seconds() == 7);
  // Nobody waits for this one any more.
  desk.desk.on_figures(node(1), figures(8));
  CHECK(desk.answers.size() == 2);
  desk.ask(node(1));
  CHECK(desk.asked.size() == 3);
}

TEST_CASE("Who waits for a node that says nothing, or goes away, is answered without figures",
          "[tracker]") {
  Desk silent(std::chrono::milliseconds(1));
  silent.ask(node(1));
  silent.loop.run();
  REQUIRE(silent.answers.size() == 1);
  CHECK_FALSE(silent.answers[0]);

  Desk gone(std::chrono::hours(1));
  gone.ask(node(1));
  gone.desk.on_agent_offline(node(1));
  REQUIRE(gone.answers.size() == 1);
  CHECK_FALSE(gone.answers[0]);
}

TEST_CASE("Figures that are no numbers, and names that steer terminals, are not shown",
          "[tracker]") {
  proto::Figures said = figures(1);
  said.set_cpu_busy(std::numeric_limits<double>::quiet_NaN());
  said.set_load1(std::numeric_limits<double>::infinity());
  for (int i = 0; i < 100; ++i) said.add_disks()->set_mount("/\x1b");
  const auto view = figures_view(said);
  CHECK(view.cpu_busy() == 0);
  CHECK(view.load1() == 0);
  CHECK(view.disks_size() == 64);
  CHECK(view.disks(0).mount() == "/?");
}

}  // namespace p2p
