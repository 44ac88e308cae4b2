#include "tracker/journal.h"

#include <boost/asio/post.hpp>
#include <cstdlib>
#include <utility>

#include "io/log/log.h"

namespace p2p {

namespace {

void stop_unless(const Status& stored) {
  if (stored) return;
  log_error("state",
            "cannot write the state store; stopping so that nothing is promised that "
            "is not kept",
            {{"error", stored.error().detail}});
  std::_Exit(1);
}

}  // namespace

void Journal::commit_or_stop(StateBatch batch, std::function<void()> stored) {
  pool_.post(/*lane=*/0, [this, batch = std::move(batch), stored = std::move(stored)]() mutable {
    stop_unless(store_.apply(batch));
    if (stored) boost::asio::post(loop_, std::move(stored));
  });
}

void Journal::commit(StateBatch batch, Done done) {
  if (!done) return commit_or_stop(std::move(batch), nullptr);
  pool_.post(/*lane=*/0, [this, batch = std::move(batch), done = std::move(done)]() mutable {
    Status status = store_.apply(batch);
    boost::asio::post(loop_,
                      [done = std::move(done), status = std::move(status)] { done(status); });
  });
}

}  // namespace p2p
