#include "p2pd/run_glance.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/runs/output_segments.h"
#include "core/runs/output_window.h"

namespace p2p {
namespace {

using proto::RunResult;

void add_result(const RunResult& result, proto::RunReport& report) {
  report.set_begun_unix_ms(result.begun_unix_ms());
  report.set_ended_unix_ms(result.ended_unix_ms());
  *report.mutable_out() = result.out();
  *report.mutable_err() = result.err();
  report.set_cpu_us(result.cpu_us());
  report.set_peak_bytes(result.peak_bytes());
  report.set_left_running(result.left_running());
}

// Reads one stream on, and says whether there is more of it.
class Reader {
 public:
  Reader(const RunFolders& folders, const RunId& id, std::uint64_t end, Glance& glance)
      : folders_(folders), id_(id), end_(end), glance_(glance) {}

  void read(bool err, std::uint64_t from, std::size_t& room) {
    while (from < end_) {
      const std::size_t wanted = room == 0 ? 1 : most(from, room);
      auto piece = folders_.read_output(id_, err ? RunStream::err : RunStream::out, from, wanted);
      if (!piece) return miss(err, piece.error());
      if (piece->bytes.empty() || piece->offset >= end_) return;
      if (room == 0) {
        glance_.more = true;
        return;
      }
      from = piece->offset + piece->bytes.size();
      room -= piece->bytes.size();
      glance_.pieces.push_back({err, std::move(*piece)});
    }
  }

 private:
  std::size_t most(std::uint64_t from, std::size_t room) const {
    return static_cast<std::size_t>(
        std::min<std::uint64_t>({room, kOutputPieceBytes, end_ - from}));
  }

  // What was kept and cannot be read is said with the end.
  void miss(bool err, const Error& why) {
    RunResult::Stream& stream = err ? *glance_.report.mutable_err() : *glance_.report.mutable_out();
    if (stream.stored() > 0 && stream.problem().empty()) stream.set_problem(why.detail);
  }

  const RunFolders& folders_;
  const RunId& id_;
  const std::uint64_t end_;
  Glance& glance_;
};

}  // namespace

proto::RunReport report_of(const proto::RunRecord& record) {
  proto::RunReport report;
  report.set_id(record.id());
  report.set_job(record.job());
  report.set_state(record.state());
  report.set_text(record.text());
  report.set_has_code(record.has_code());
  report.set_code(record.code());
  report.set_signal(record.signal());
  report.set_account(record.account());
  return report;
}

Result<Glance> glance_at(const RunLedger& ledger, const RunFolders& folders,
                         const GlanceOrder& order) {
  // Before the output is read, so that what is read behind an end is all.
  const auto sight = folders.look(order.id);
  if (!sight) return sight.error();
  const auto record = ledger.update(order.id, *sight);
  if (!record) return record.error();
  Glance glance;
  glance.state = state_of(*record);
  glance.report = report_of(*record);
  glance.keep_bytes = record->keep_bytes();
  if (sight->begun) glance.report.set_begun_unix_ms(sight->begun->begun_unix_ms());
  const bool ended = is_final(glance.state);
  if (ended && sight->result) add_result(*sight->result, glance.report);
  const std::uint64_t end =
      ended ? std::numeric_limits<std::uint64_t>::max() : head_of_output(record->keep_bytes());
  Reader reader(folders, order.id, end, glance);
  std::size_t room = order.bytes_max;
  for (const bool err : {order.err_first, !order.err_first}) {
    reader.read(err, order.from[err ? 1 : 0], room);
  }
  glance.drained = ended && !glance.more;
  return glance;
}

}  // namespace p2p
