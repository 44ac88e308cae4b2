// Rules of one exec job for nodes that come late, come back, or say nothing.
#include "tests/core/runs/exec_course.h"

namespace p2p {
namespace {

using namespace exec_course;

TEST_CASE("after a restart, a cancelled job offers nothing to a target that was awaited") {
  Course course(1, offline_is(Offline::queue));
  course.carry_out();
  course.job = ExecJob(course.job->runs(), course.rules, {}, /*cancelled=*/true, course.now);
  course.online(0);
  CHECK(course.take_offered().empty());
}

}  // namespace
}  // namespace p2p
