#include "tools/p2pctl/exec_show.h"

#include <algorithm>
#include <cstdio>

#include "core/base/text.h"
#include "tools/p2pctl/exec_text.h"

namespace p2p {
namespace {

constexpr Duration kDrawEvery = std::chrono::milliseconds(100);
// Where stderr is a log.
constexpr Duration kTellEvery = std::chrono::seconds(5);

void flush() {
  std::fflush(stdout);
  std::fflush(stderr);
}

void set_stream(const OutputStream& stream, const OutputStore& store, std::string& text,
                std::string& base64,
                google::protobuf::RepeatedPtrField<proto::NodeResult::Gap>& gaps) {
  std::string all;
  stream.visit(store, [&](std::string_view bytes, std::uint64_t missing) {
    all += bytes;
    if (missing == 0) return;
    proto::NodeResult::Gap& gap = *gaps.Add();
    gap.set_at(all.size());
    gap.set_bytes(missing);
  });
  (is_utf8(all) ? text : base64) = std::move(all);
}

}  // namespace

ExecShow::Mode ExecShow::mode_of(const Output& output, const OutputView& view, std::size_t runs) {
  if (output.format() == OutputFormat::json) return Mode::json;
  if (output.format() == OutputFormat::jsonl) return Mode::jsonl;
  if (!view.live) return Mode::at_end;
  if (view.form == OutputView::Form::lines) return Mode::lines;
  return runs == 1 ? Mode::raw : Mode::at_end;
}

ExecShow::ExecShow(const Output& output, const OutputView& view, std::size_t runs)
    : output_(output),
      view_(view),
      mode_(mode_of(output, view, runs)),
      draws_(mode_ == Mode::at_end && view.live && stderr_can_draw()),
      colour_(colour_allowed()),
      record_(mode_ == Mode::at_end || mode_ == Mode::json ? ExecRecord::Outputs::keep
                                                           : ExecRecord::Outputs::pass) {}

void ExecShow::write(bool err, std::string_view bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), err ? stderr : stdout);
}

std::string ExecShow::name_of(std::size_t run) const {
  const RunEntry& entry = record_.runs()[run];
  return entry.told() ? entry.run.node() : "run " + std::to_string(run);
}

void ExecShow::on_output(std::size_t run, bool err, std::uint64_t skipped, std::string_view bytes) {
  if (mode_ == Mode::raw) {
    if (skipped > 0) output_.say(name_of(run) + ": " + missing_text(skipped));
    write(err, bytes);
  } else if (mode_ == Mode::lines) {
    PrefixedLines& lines = lines_.try_emplace({run, err}, name_of(run) + ": ").first->second;
    const auto sink = [&](std::string_view part) { write(err, part); };
    if (skipped > 0) lines.skip(skipped, sink);
    lines.add(bytes, sink);
  } else if (draws_) {
    progress_.note_output(name_of(run), bytes);
  }
}

void ExecShow::on_event(const proto::JobEvent& event, std::string_view line) {
  if (mode_ == Mode::jsonl) {
    output_.print(std::string(line) + "\n");
    flush();
    return;
  }
  if (mode_ == Mode::raw || mode_ == Mode::lines) {
    if (event.output_size() > 0) flush();
    return;
  }
  if (mode_ == Mode::at_end && view_.live) draw(record_.job().finished());
}

void ExecShow::draw(bool now) {
  const Time time = monotonic_now();
  const Duration every = draws_ ? kDrawEvery : kTellEvery;
  // Nobody wants to see what is over at once.
  if (time - drawn_.value_or(started_) < every && !(now && draws_ && drawn_)) return;
  if (!record_.all_told()) return;
  drawn_ = time;
  const double seconds = record_.job().finished()
                             ? record_.job().seconds()
                             : std::chrono::duration<double>(time - started_).count();
  if (!draws_) {
    output_.say(progress_text(record_, std::max(seconds, record_.job().seconds())));
    return;
  }
  const std::size_t width = std::max<std::size_t>(stderr_columns(), 2) - 1;
  painter_.draw(
      progress_.lines(record_, std::max(seconds, record_.job().seconds()), width, colour_));
}

void ExecShow::say(const std::string& line) {
  painter_.clear();
  output_.say(line);
}

void ExecShow::end_live() {
  painter_.clear();
  for (auto& [key, lines] : lines_) {
    lines.end([&, err = key.second](std::string_view part) { write(err, part); });
  }
  flush();
}

void ExecShow::show_results() {
  const auto out = [&](std::string_view bytes) { write(false, bytes); };
  const auto err = [&](std::string_view bytes) { write(true, bytes); };
  const auto& runs = record_.runs();
  if (mode_ == Mode::json) {
    write_json_result(record_, out);
  } else if (mode_ == Mode::at_end) {
    if (view_.form == OutputView::Form::diff) {
      write_diff(record_, view_.streams, out);
    } else if (view_.form == OutputView::Form::lines) {
      write_lines(record_, view_.streams, out, err);
    } else if (runs.size() == 1) {
      runs[0].out.visit(record_.store(), [&](std::string_view bytes, std::uint64_t missing) {
        if (missing > 0) output_.say(name_of(0) + ": " + missing_text(missing));
        out(bytes);
      });
      runs[0].err.visit(record_.store(),
                        [&](std::string_view bytes, std::uint64_t) { err(bytes); });
    } else {
      write_groups(record_, view_.streams, out);
    }
  }
  flush();
}

int ExecShow::tell_end() {
  if (output_.format() == OutputFormat::table) {
    const std::string failures = failure_lines(record_);
    if (!failures.empty()) output_.say(failures.substr(0, failures.size() - 1));
    if (record_.runs().size() != 1 || record_.good() == 0) output_.say(exec_summary(record_));
  }
  return view_.rc_max ? largest_return_code(record_) : static_cast<int>(record_.job().exit_code());
}

void write_json_result(const ExecRecord& record, const Sink& sink) {
  proto::Job job = record.job();
  job.clear_runs();
  sink("{\"job\": " + to_json(job) + ",\n\"results\": [");
  bool first = true;
  for (const RunEntry& entry : record.runs()) {
    if (!entry.told()) continue;
    proto::NodeResult result;
    *result.mutable_run() = entry.run;
    set_stream(entry.out, record.store(), *result.mutable_out(), *result.mutable_out_base64(),
               *result.mutable_out_gaps());
    set_stream(entry.err, record.store(), *result.mutable_err(), *result.mutable_err_base64(),
               *result.mutable_err_gaps());
    sink((first ? "\n" : ",\n") + to_json(result));
    first = false;
  }
  sink("\n]}\n");
}

}  // namespace p2p
