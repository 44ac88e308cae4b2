// audit list and verify.
#include <algorithm>

#include "tools/p2pctl/audit_chain.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/events.pb.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

// Every page from number `from` on, until `on_page` returns false.
std::optional<Failure> read_audit(Session& session, std::uint64_t from,
                                  const std::function<bool(const proto::AuditList&)>& on_page) {
  while (true) {
    proto::AuditList page;
    if (auto failure = session.api.get("/v1/audit?from=" + std::to_string(from), page)) {
      return failure;
    }
    if (!on_page(page) || page.entries().empty()) return std::nullopt;
    const std::uint64_t last = page.entries(page.entries_size() - 1).number();
    if (last >= page.last() || last < from) return std::nullopt;
    from = last + 1;
  }
}

}  // namespace

int run(Session& session, const AuditListCommand& command) {
  proto::AuditList all;
  auto failure = read_audit(session, command.from, [&](const proto::AuditList& page) {
    all.mutable_entries()->Add(page.entries().begin(), page.entries().end());
    all.set_last(page.last());
    if (!page.problem().empty()) all.set_problem(page.problem());
    return true;
  });
  if (failure) return session.output.fail(*failure);
  print_list(session.output, all, all.entries(), [&] {
    Table table({{"NUMBER", Table::Align::right},
                 {"AT"},
                 {"WHO"},
                 {"WHAT"},
                 {"OUTCOME"},
                 {"JOB"},
                 {"TARGETS"},
                 {"DETAIL"}});
    for (const proto::AuditEntry& entry : all.entries()) {
      table.add_row({std::to_string(entry.number()), entry.at(), entry.who(), entry.what(),
                     entry.outcome(), entry.job(), entry.targets(), entry.detail()});
    }
    return table.str();
  });
  if (all.problem().empty()) return 0;
  return session.output.fail({ExitCode::usage_or_internal, {Errc::corrupt, all.problem()}, false});
}

int run(Session& session, const AuditVerifyCommand&) {
  AuditChain chain;
  Status good;
  std::uint64_t last = 0;
  auto failure = read_audit(session, 1, [&](const proto::AuditList& page) {
    last = std::max(last, page.last());
    for (const proto::AuditEntry& entry : page.entries()) {
      if (good) good = chain.add(entry);
    }
    return good.has_value();
  });
  if (failure) return session.output.fail(*failure);
  if (good && chain.number() < last) {
    good = Error{Errc::corrupt, "audit records " + std::to_string(chain.number() + 1) + " to " +
                                    std::to_string(last) + " are missing"};
  }
  if (!good) return session.output.fail({ExitCode::usage_or_internal, good.error(), false});
  proto::AuditReport report;
  report.set_records(chain.number());
  report.set_hash(chain.hash());
  if (session.output.format() != OutputFormat::table) {
    session.output.print(report);
    return 0;
  }
  session.output.print(std::to_string(chain.number()) +
                       (chain.number() == 1 ? " record, as written" : " records, all as written") +
                       "; hash of the newest: " + chain.hash() + "\n");
  return 0;
}

}  // namespace p2p
