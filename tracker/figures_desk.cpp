#include "tracker/figures_desk.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr int kMaxListed = 64;
constexpr std::size_t kMaxNameBytes = 255;

double number_or_zero(double value, double most) {
  return std::isfinite(value) ? std::clamp(value, 0.0, most) : 0.0;
}

}  // namespace

proto::NodeFigures figures_view(const proto::Figures& figures) {
  proto::NodeFigures view;
  view.set_cpu_busy(number_or_zero(figures.cpu_busy(), 1));
  view.set_load1(number_or_zero(figures.load1(), 1e9));
  view.set_memory_bytes(figures.memory_bytes());
  view.set_memory_available_bytes(figures.memory_available_bytes());
  for (int i = 0; i < std::min(figures.disks_size(), kMaxListed); ++i) {
    auto& disk = *view.add_disks();
    disk.set_mount(printable(figures.disks(i).mount(), kMaxNameBytes));
    disk.set_total_bytes(figures.disks(i).total_bytes());
    disk.set_free_bytes(figures.disks(i).free_bytes());
  }
  for (int i = 0; i < std::min(figures.interfaces_size(), kMaxListed); ++i) {
    auto& interface = *view.add_interfaces();
    interface.set_name(printable(figures.interfaces(i).name(), kMaxNameBytes));
    interface.set_received_bytes_per_second(figures.interfaces(i).received_bytes_per_second());
    interface.set_sent_bytes_per_second(figures.interfaces(i).sent_bytes_per_second());
  }
  view.set_uptime_seconds(figures.uptime_seconds());
  view.set_runs(figures.runs());
  return view;
}

void FiguresDesk::ask(NodeId node, Answer answer) {
  const auto [found, is_new] = questions_.try_emplace(node);
  Question& question = found->second;
  question.answers.push_back(std::move(answer));
  if (!is_new) return;
  question.timer = std::make_shared<boost::asio::steady_timer>(loop_, wait_);
  question.timer->async_wait(
      [this, node, timer = std::weak_ptr(question.timer)](boost::system::error_code error) {
        // A timer that had run out when it was cancelled is still told so: is it this question's?
        const auto open = questions_.find(node);
        if (error || open == questions_.end() || open->second.timer != timer.lock()) return;
        finish(node, std::nullopt);
      });
  proto::TrackerMessage message;
  message.mutable_figures();
  send_(node, message);
}

void FiguresDesk::on_figures(NodeId node, const proto::Figures& figures) {
  finish(node, figures_view(figures));
}

void FiguresDesk::on_agent_offline(NodeId node) {
  finish(node, std::nullopt);
}

void FiguresDesk::finish(NodeId node, const std::optional<proto::NodeFigures>& figures) {
  const auto found = questions_.find(node);
  if (found == questions_.end()) return;
  Question question = std::move(found->second);
  questions_.erase(found);
  question.timer->cancel();
  for (const Answer& answer : question.answers) answer(figures);
}

}  // namespace p2p
