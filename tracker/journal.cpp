#include "tracker/journal.h"

#include <boost/asio/post.hpp>
#include <cstdlib>
#include <utility>

#include "io/log/log.h"

namespace p2p {

void Journal::commit(StateBatch batch, Done done) {
  pool_.post(/*lane=*/0, [this, batch = std::move(batch), done = std::move(done)]() mutable {
    Status status = store_.apply(batch);
    if (!status && !done) {
      log_error("state",
                "cannot write the state store; stopping so that nothing is promised that "
                "is not kept",
                {{"error", status.error().detail}});
      std::_Exit(1);
    }
    if (!done) return;
    boost::asio::post(loop_,
                      [done = std::move(done), status = std::move(status)] { done(status); });
  });
}

}  // namespace p2p
