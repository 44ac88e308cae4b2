// The API's calls about exec jobs, and those that are about jobs of all kinds.
//
// Control thread. Its routes go before those of other jobs: each looks whether the call is about an
// exec job, and leaves it to the next one when it is not.
#pragma once

#include <boost/asio/io_context.hpp>

#include "tracker/catalogue.h"
#include "tracker/job_board.h"
#include "tracker/registry.h"
#include "tracker/router.h"
#include "tracker/run_board.h"
#include "tracker/run_views.h"

namespace p2p {

class RunsApi {
 public:
  struct Parts {
    boost::asio::io_context& loop;
    RunBoard& runs;
    const JobBoard& jobs;
    const Registry& registry;
    const Catalogue& catalogue;
  };
  explicit RunsApi(Parts parts) : parts_(parts) {}

  void add_routes(Router& router);

 private:
  using Steer = void (RunBoard::*)(JobId, const Caller&, WallTime, RunBoard::Steered);
  void create(const ApiCall& call);
  void list(const ApiCall& call);
  void show(const ApiCall& call);
  void events(const ApiCall& call);
  void watch(const ApiCall& call);
  void output(const ApiCall& call);
  void steer(const ApiCall& call, Steer steer);
  void retry(const ApiCall& call);
  // As much of it as the caller may see.
  proto::Job view_for(const Caller& caller, const BoardExec& job, WithRuns with_runs) const;
  bool may_look(const ApiCall& call) const;
  void answer(const Exchange& exchange, const Result<const BoardExec*>& job, WithRuns with_runs);

  Parts parts_;
};

}  // namespace p2p
