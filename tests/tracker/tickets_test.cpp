#include "io/identity/ticket.h"
#include "tests/tracker/board_fixture.h"

namespace p2p {
namespace {

using test::Disk;
using test::Process;
using test::publish_base;
using test::push_of;
using test::TrackerIdentity;

constexpr Duration kHour = std::chrono::hours(1);

Result<Ticket> read(const std::string& statement, WallTime now) {
  StatementVerifier verifier = TrackerIdentity::get().verifier();
  return verify_ticket(verifier, statement, now);
}

// The tickets that a node was sent since the last take(): with offers, and renewed ones.
struct Tickets {
  std::vector<std::string> offered, renewed;
};
Tickets tickets_of(Process& process, const std::string& name) {
  Tickets found;
  for (const auto& message : process.sent_to(name)) {
    if (message.has_push()) found.offered.push_back(message.push().ticket());
    if (message.has_ticket()) found.renewed.push_back(message.ticket().ticket());
  }
  return found;
}

TEST_CASE("Each target is offered its task with a ticket of its own, and nobody else has one",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  for (const char* name : {"n0", "n1", "n2"}) process.enrol_online(name);
  const auto manifest = publish_base(process);
  process.create(push_of("images/base", "n1 | n2"));
  CHECK(process.sent_to("n0").empty());
  for (const char* name : {"n1", "n2"}) {
    const Tickets tickets = tickets_of(process, name);
    REQUIRE(tickets.offered.size() == 1);
    const Ticket ticket = test::must(read(tickets.offered.front(), process.now));
    CHECK(ticket.node == process.id(name));
    CHECK(ticket.node_name == name);
    CHECK(ticket.content == manifest.content_id);
    CHECK(ticket.expires - ticket.issued == kTicketLife);
  }
}

TEST_CASE("A ticket is renewed when half of its life is over and the task still runs",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("n1");
  process.enrol_online("n2");
  publish_base(process);
  const JobId job = process.create(push_of("images/base", "n1 | n2"));
  process.report("n1", job, TaskState::running);
  process.report("n2", job, TaskState::succeeded);
  process.agents.take();
  process.board.on_tick(process.now + 11 * kHour);
  CHECK(process.agents.take().empty());

  const WallTime later = process.now + 12 * kHour + std::chrono::minutes(1);
  process.board.on_tick(later);
  CHECK(tickets_of(process, "n2").renewed.empty());
  const Tickets tickets = tickets_of(process, "n1");
  REQUIRE(tickets.renewed.size() == 1);
  const Ticket ticket = test::must(read(tickets.renewed.front(), later));
  CHECK(ticket.node == process.id("n1"));
  CHECK(ticket.expires > later + 23 * kHour);

  process.agents.take();
  process.board.on_tick(later + 11 * kHour);
  CHECK(process.agents.take().empty());
  process.board.on_tick(later + 12 * kHour + std::chrono::minutes(1));
  CHECK(tickets_of(process, "n1").renewed.size() == 1);
}

TEST_CASE("A node that is away gets its new ticket with the offer when it comes back",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("n1");
  publish_base(process);
  auto push = push_of("images/base", "n1");
  push.mutable_push()->set_offline_ttl_seconds(3 * 24 * 3600);
  const JobId job = process.create(push);
  process.report("n1", job, TaskState::running);
  process.offline("n1");
  process.agents.take();
  process.board.on_tick(process.now + 13 * kHour);
  CHECK(process.agents.take().empty());
  process.online("n1");
  const Tickets tickets = tickets_of(process, "n1");
  REQUIRE(tickets.offered.size() == 1);
  CHECK(read(tickets.offered.front(), process.now));
}

TEST_CASE("Only the latest ticket of a node for a content comes due", "[tracker]") {
  Disk disk;
  Process process(disk);
  process.enrol("n1");
  ContentId content;
  const NodeId node = process.id("n1");
  const WallTime start = process.now;
  REQUIRE(process.tickets.issue(node, content, start));
  REQUIRE(process.tickets.issue(node, content, start + 6 * kHour));
  CHECK(process.tickets.take_due(start + 13 * kHour).empty());
  const auto due = process.tickets.take_due(start + 18 * kHour);
  REQUIRE(due.size() == 1);
  CHECK(due.front() == TicketOffice::Holder{node, content});
  CHECK(process.tickets.take_due(start + 48 * kHour).empty());
  CHECK(process.tickets.issue(NodeId{}, content, start).error().code == Errc::not_found);
}

}  // namespace
}  // namespace p2p
