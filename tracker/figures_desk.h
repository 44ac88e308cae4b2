// Asks agents how they do at this moment, for somebody who waits.
//
// Control thread; nothing blocks.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"
#include "proto/api.pb.h"
#include "proto/control.pb.h"

namespace p2p {

inline constexpr Duration kFiguresWait = std::chrono::seconds(1);

// As it is shown: what is no number is left out, lists and names are cut.
proto::NodeFigures figures_view(const proto::Figures& figures);

class FiguresDesk {
 public:
  using Send = std::function<void(NodeId node, const proto::TrackerMessage& message)>;
  using Answer = std::function<void(std::optional<proto::NodeFigures>)>;

  FiguresDesk(boost::asio::io_context& loop, Send send, Duration wait = kFiguresWait)
      : loop_(loop), send_(std::move(send)), wait_(wait) {}

  // `answer` is called once: with the node's next answer, or with nothing when it is late or has
  // gone. Whoever asks while somebody waits for the same node gets the same answer.
  void ask(NodeId node, Answer answer);
  void on_figures(NodeId node, const proto::Figures& figures);
  void on_agent_offline(NodeId node);

 private:
  struct Question {
    std::shared_ptr<boost::asio::steady_timer> timer;
    std::vector<Answer> answers;
  };
  void finish(NodeId node, const std::optional<proto::NodeFigures>& figures);

  boost::asio::io_context& loop_;
  Send send_;
  Duration wait_;
  std::map<NodeId, Question> questions_;
};

}  // namespace p2p
