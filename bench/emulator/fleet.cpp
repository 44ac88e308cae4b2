#include "bench/emulator/fleet.h"

#include <sys/resource.h>

#include <boost/asio/post.hpp>

namespace p2p::emulator {
namespace {

constexpr std::size_t kOtherDescriptors = 256;
constexpr double kChurnPauseSeconds = 1;

}  // namespace

Status raise_descriptor_limit(std::size_t nodes) {
  const rlim_t wanted = nodes + kOtherDescriptors;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return {};
  limit.rlim_cur = wanted;
  limit.rlim_max = std::max(limit.rlim_max, wanted);
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return Error{Errc::exhausted, std::to_string(nodes) + " nodes need " + std::to_string(wanted) +
                                    " open files, which this account may not have: raise its "
                                    "limit (ulimit -n), or start fewer"};
}

Fleet::Fleet(const Settings& settings, StateStore& store, std::vector<Member> members)
    : settings_(settings), rng_(settings.seed), ledger_(store) {
  for (unsigned i = 0; i < settings_.threads; ++i) {
    loops_.push_back(std::make_unique<LoopThread>("nodes-" + std::to_string(i)));
  }
  nodes_.reserve(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Node::Room room{loops_[i % loops_.size()]->loop(), ledger_, counters_, settings_.tracker};
    nodes_.push_back(std::make_unique<Node>(room, std::move(members[i]), rng_.split()));
  }
}

Fleet::~Fleet() {
  stop();
}

void Fleet::start() {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Duration pause = from_seconds(static_cast<double>(i) / settings_.connects_per_second);
    boost::asio::post(loops_[i % loops_.size()]->loop(),
                      [node = nodes_[i].get(), pause] { node->connect_in(pause); });
  }
  if (settings_.churn_per_second <= 0) return;
  boost::asio::post(loops_[0]->loop(), [this] {
    churn_timer_ = std::make_unique<boost::asio::steady_timer>(loops_[0]->loop());
    churn();
  });
}

void Fleet::churn() {
  churn_timer_->expires_after(from_seconds(1 / settings_.churn_per_second));
  churn_timer_->async_wait([this](boost::system::error_code error) {
    if (error) return;
    const std::size_t one = static_cast<std::size_t>(rng_.below(nodes_.size()));
    boost::asio::post(loops_[one % loops_.size()]->loop(), [node = nodes_[one].get()] {
      node->drop_for(from_seconds(kChurnPauseSeconds));
    });
    churn();
  });
}

// The ledger first: what it says goes to the loops. Then nothing runs any more, and what belongs to
// the loops goes before them.
void Fleet::stop() {
  ledger_.stop();
  for (const auto& loop : loops_) loop->stop();
  churn_timer_.reset();
  nodes_.clear();
}

}  // namespace p2p::emulator
