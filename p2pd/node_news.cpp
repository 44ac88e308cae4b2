#include "p2pd/node_news.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "p2pd/offload.h"

namespace p2p {
namespace {

constexpr Duration kReadEvery = std::chrono::minutes(1);
constexpr Duration kCountOver = std::chrono::milliseconds(200);
// Lanes of transfers count up from the numbers of their jobs.
constexpr DiskPool::Lane kLane = std::numeric_limits<DiskPool::Lane>::max() - 1;

// The same for the same facts: the order of a map on the wire is not.
std::string text_of(const proto::Facts& facts) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : facts.values()) parts.push_back(name + "=" + value + "\n");
  for (const std::string& address : facts.addresses()) parts.push_back(address + "\n");
  std::sort(parts.begin(), parts.end());
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

}  // namespace

NodeNews::NodeNews(boost::asio::io_context& control, DiskPool& disk,
                   std::function<void(const proto::AgentMessage&)> send,
                   std::function<std::uint32_t()> running)
    : control_(control),
      disk_(disk),
      send_(std::move(send)),
      running_(std::move(running)),
      timer_(control) {}

void NodeNews::on_welcome() {
  connected_ = true;
  said_.clear();
  read();
}

void NodeNews::on_tick(Time now) {
  if (!connected_ || now - read_at_ < kReadEvery) return;
  read_at_ = now;
  read();
}

void NodeNews::read() {
  if (std::exchange(reading_, true)) return;
  offload(disk_, kLane, control_, alive_, read_facts, [this](const proto::Facts& facts) {
    reading_ = false;
    std::string text = text_of(facts);
    if (text == said_) return;
    said_ = std::move(text);
    proto::AgentMessage message;
    *message.mutable_facts() = facts;
    send_(message);
  });
}

void NodeNews::take_figures_wanted() {
  if (std::exchange(counting_, true)) return;  // one answer is for all who ask meanwhile
  offload(disk_, kLane, control_, alive_, sample_node, [this](NodeSample before) {
    timer_.expires_after(kCountOver);
    timer_.async_wait(
        [this, alive = alive_, before = std::move(before)](boost::system::error_code error) {
          if (error || !*alive) return;
          offload(
              disk_, kLane, control_, alive_, [before] { return figures_since(before); },
              [this](const proto::Figures& figures) {
                counting_ = false;
                proto::AgentMessage message;
                *message.mutable_figures() = figures;
                message.mutable_figures()->set_runs(running_());
                send_(message);
              });
        });
  });
}

}  // namespace p2p
