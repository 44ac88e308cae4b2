// job output: what commands have written, later and from another machine.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <set>

#include "core/model/node_set.h"
#include "io/disk/fd.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/exec_show.h"
#include "tools/p2pctl/exec_text.h"

namespace p2p {
namespace {

Error file_error(const std::string& path) {
  return Error{Errc::io_failed, "--dir: " + path + ": " + std::strerror(errno)};
}

// A file of each stream of each node.
class NodeFiles {
 public:
  explicit NodeFiles(std::string folder) : folder_(std::move(folder)) {}

  Status make_folder() const {
    if (::mkdir(folder_.c_str(), 0777) == 0 || errno == EEXIST) return {};
    return file_error(folder_);
  }

  // Behind what was written before in this call of the command.
  void add(const std::string& node, bool err, std::string_view bytes) {
    if (!status_) return;
    if (Status fits = check_node_name(node); !fits) {
      status_ = fits;
      return;
    }
    const std::string path = folder_ + "/" + node + (err ? ".err" : ".out");
    const int begins = written_.insert(path).second ? O_TRUNC : O_APPEND;
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | begins, 0666));
    if (!file) {
      status_ = file_error(path);
      return;
    }
    while (!bytes.empty()) {
      const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        status_ = file_error(path);
        return;
      }
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  const Status& status() const { return status_; }

 private:
  std::string folder_;
  std::set<std::string> written_;
  Status status_;
};

// Every page of what there is so far, into `on_page`, until it returns false.
std::optional<Failure> read_pages(Session& session, const JobOutputCommand& command,
                                  const std::function<bool(const proto::OutputPage&)>& on_page) {
  std::uint64_t from = 0;
  while (true) {
    std::string target = "/v1/jobs/" + command.job + "/output?from=" + std::to_string(from);
    if (!command.node.empty()) target += "&node=" + command.node;
    proto::OutputPage page;
    if (auto failure = session.api.get(target, page)) return failure;
    if (page.gone()) {
      return Failure{ExitCode::usage_or_internal,
                     {Errc::not_found, "the output of " + command.job +
                                           " is not kept any more: the tracker keeps that of the "
                                           "newest jobs"}};
    }
    if (!on_page(page) || !page.more() || page.next() <= from) return std::nullopt;
    from = page.next();
  }
}

bool wanted(Streams streams, bool err) {
  return streams == Streams::both || (streams == Streams::err) == err;
}

// Only the runs that were asked for, numbered anew; the old number of each by its new one.
std::vector<std::uint32_t> choose_runs(proto::Job& job, const std::string& node, Streams streams) {
  std::vector<std::uint32_t> numbers;
  google::protobuf::RepeatedPtrField<proto::Run> chosen;
  for (proto::Run& run : *job.mutable_runs()) {
    if (!node.empty() && run.node() != node) continue;
    numbers.push_back(run.index());
    // What is not asked for is not missing.
    if (!wanted(streams, false)) run.set_out_bytes(0);
    if (!wanted(streams, true)) run.set_err_bytes(0);
    run.set_index(static_cast<std::uint32_t>(chosen.size()));
    chosen.Add(std::move(run));
  }
  job.mutable_runs()->Swap(&chosen);
  return numbers;
}

}  // namespace

int run(Session& session, const JobOutputCommand& command) {
  const auto fail = [&](Errc code, std::string detail) {
    return session.output.fail({ExitCode::usage_or_internal, {code, std::move(detail)}, false});
  };
  proto::Job job;
  if (auto failure = session.api.get("/v1/jobs/" + command.job, job)) {
    return session.output.fail(*failure);
  }
  if (job.kind() != "exec") {
    return fail(Errc::invalid_argument,
                job.id() + " is a " + job.kind() + ": only commands and scripts have output");
  }
  const std::vector<std::uint32_t> numbers = choose_runs(job, command.node, command.view.streams);
  if (numbers.empty()) {
    return fail(Errc::not_found, "node " + command.node + " is no target of " + job.id() +
                                     ": p2pctl job show " + job.id() + " names them");
  }
  std::map<std::uint32_t, std::uint32_t> places;
  for (std::uint32_t i = 0; i < numbers.size(); ++i) places[numbers[i]] = i;

  const bool to_files = !command.folder.empty();
  NodeFiles files(command.folder);
  if (to_files) {
    if (Status made = files.make_folder(); !made) {
      return fail(made.error().code, made.error().detail);
    }
  }
  ExecShow show(session.output, command.view, numbers.size());
  proto::JobEvent first;
  *first.mutable_runs() = job.runs();
  *first.mutable_job() = job;
  first.mutable_job()->clear_runs();
  first.set_all(true);
  // Into files nothing needs to be kept here.
  ExecRecord passed(ExecRecord::Outputs::pass);
  ExecRecord& record = to_files ? passed : show.record();
  record.add(first);
  if (!to_files) show.on_event(first, to_json(first));
  const auto on_output = [&](std::size_t run, bool err, std::uint64_t skipped,
                             std::string_view bytes) {
    if (!to_files) {
      show.on_output(run, err, skipped, bytes);
      return;
    }
    const std::string& node = record.runs()[run].run.node();
    if (skipped > 0) {
      session.output.say(node + (err ? " stderr: " : ": ") + missing_text(skipped));
    }
    files.add(node, err, bytes);
  };
  auto failure = read_pages(session, command, [&](const proto::OutputPage& page) {
    proto::JobEvent event;
    for (const proto::OutputPiece& piece : page.output()) {
      const auto place = places.find(piece.run());
      if (place == places.end() || !wanted(command.view.streams, piece.err())) continue;
      proto::OutputPiece& taken = *event.add_output();
      taken = piece;
      taken.set_run(place->second);
    }
    record.add(event, on_output);
    if (!to_files) show.on_event(event, to_json(event));
    return files.status().has_value();
  });
  show.end_live();
  if (failure) return session.output.fail(*failure);
  if (!files.status()) return fail(files.status().error().code, files.status().error().detail);
  if (to_files) return 0;
  record.finish();
  show.show_results();
  return 0;
}

}  // namespace p2p
