// A job board with everything around it but the network: what outlives a tracker's process, and a
// process.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/content/file_hasher.h"
#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "io/identity/cluster.h"
#include "io/identity/token.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"
#include "tracker/job_board.h"

namespace p2p::test {

// Ends a test that hangs; nothing here takes that long.
inline constexpr auto kHangSeconds = std::chrono::seconds(60);

template <class T>
T must(Result<T> result) {
  INFO((result ? std::string() : result.error().detail));
  REQUIRE(result.has_value());
  return *std::move(result);
}

// A store whose writes wait while it is held, and fail for keys that the test names.
class GatedStore final : public StateStore {
 public:
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  // Empty: none.
  void fail_keys_that_end_with(std::string end) {
    const std::lock_guard lock(mutex_);
    failing_ = std::move(end);
  }

  Result<std::optional<Entry>> get(std::string_view key) override { return store_.get(key); }
  Status apply(const StateBatch& batch, Durability durability = Durability::synced) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !held_; });
    for (const auto& change : batch.changes) {
      if (!failing_.empty() && change.key.ends_with(failing_)) {
        return Error{Errc::exhausted, "write " + change.key + ": disk full"};
      }
    }
    return store_.apply(batch, durability);
  }
  Status scan(std::string_view prefix, const Visitor& visit) override {
    return store_.scan(prefix, visit);
  }
  std::vector<std::string> keys(std::string_view prefix) {
    std::vector<std::string> found;
    REQUIRE(scan(prefix, [&](std::string_view key, const Entry&) {
      found.emplace_back(key);
      return true;
    }));
    return found;
  }

 private:
  MemoryStore store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::string failing_;
};

// What is left when the process ends.
struct Disk {
  TempFolder folder;
  GatedStore store;
};

// Takes down what agents are sent, and whether the store had it by then.
struct FakeAgents final : JobBoard::Agents {
  explicit FakeAgents(StateStore& store_value) : store(store_value) {}

  struct Sent {
    NodeId node;
    proto::TrackerMessage message;
  };
  StateStore& store;
  std::vector<Sent> sent;
  int sent_too_early = 0;

  void send(NodeId node, const proto::TrackerMessage& message) override {
    if (message.has_push()) sent_too_early += is_stored(message.push().job()) ? 0 : 1;
    if (message.has_publish()) sent_too_early += is_stored(message.publish().job()) ? 0 : 1;
    sent.push_back({node, message});
  }
  std::vector<Sent> take() { return std::exchange(sent, {}); }

 private:
  bool is_stored(std::uint64_t job) {
    const auto jobs = load_jobs(store);
    if (!jobs) return false;
    for (const StoredJob& stored : *jobs) {
      if (stored.record.number() == job) return !stored.tasks.empty();
    }
    return false;
  }
};

// A cluster's authorities and the tracker's own credentials; made once, because nothing here
// changes them.
struct TrackerIdentity {
  Cluster cluster;
  Credentials credentials;

  static const TrackerIdentity& get() {
    static const TrackerIdentity identity;
    return identity;
  }
  StatementSigner signer() const { return must(StatementSigner::make(credentials)); }
  StatementVerifier verifier() const {
    return must(StatementVerifier::make(cluster.bundle_pem(), cluster.id));
  }

 private:
  TrackerIdentity() {
    const Authority root = authority("root", nullptr);
    cluster = Cluster{"test", new_uuid(), root.certificate_pem, authority("test", &root)};
    const MemberSpec spec{{cluster.id, Role::tracker, new_uuid()}, {}, kTrackerCertificateLife};
    credentials = must(make_member(cluster, spec, wall_now()));
  }
  static Authority authority(const std::string& name, const Authority* above) {
    const std::string key = must(generate_key());
    return {above == nullptr ? must(make_root(name, key, wall_now()))
                             : must(make_intermediate(*above, name, key, wall_now())),
            key};
  }
};

// One run of the tracker.
struct Process {
  Disk& disk;
  SourceLossRules loss_rules;
  BoardLimits limits;
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work =
      boost::asio::make_work_guard(io);
  Registry registry = must(Registry::load(disk.store));
  Catalogue catalogue = must(Catalogue::load(disk.store, disk.folder / "manifests"));
  Hints hints = must(Hints::load(disk.store));
  Journal journal{io, disk.store};
  DiskPool pool{1, 100};
  FakeAgents agents{disk.store};
  TicketOffice tickets{TrackerIdentity::get().signer(), TrackerIdentity::get().cluster.id,
                       registry};
  JobBoard board{io,   registry, catalogue, hints,      tickets, journal,
                 pool, agents,   Rng(1),    loss_rules, limits};
  WallTime now = wall_now();

  explicit Process(Disk& disk_value, const SourceLossRules& loss_rules_value = {},
                   const BoardLimits& limits_value = {})
      : disk(disk_value), loss_rules(loss_rules_value), limits(limits_value) {
    // What the board has to say is not what a reader of test output looks for.
    set_log_sink([](std::string_view) {});
    REQUIRE(board.load(disk.store, now));
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    disk.store.let_go();
    pool.stop();
    journal.stop();
    set_log_sink({});
  }

  bool run_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + kHangSeconds;
    while (!done()) {
      if (io.run_one_until(end) == 0) return false;
    }
    return true;
  }
  // Until everything that was committed up to now is stored, and its callbacks have run.
  void settle() {
    bool passed = false;
    journal.commit(StateBatch{}, [&](const Status&) { passed = true; });
    REQUIRE(run_until([&] { return passed; }));
  }

  void enrol(const std::string& name, const std::map<std::string, std::string>& labels = {}) {
    StateBatch batch;
    proto::TokenRecord token;
    token.set_id("t");
    token.set_secret_hash(secret_hash("s"));
    token.set_uses_left(1);
    token.set_expires_unix(unix_seconds(now) + 3600);
    registry.put_token(token, batch);
    REQUIRE(disk.store.apply(std::exchange(batch, {})));
    must(registry.join({"t", "s", name, labels}, now, batch));
    REQUIRE(disk.store.apply(batch));
  }
  NodeId id(const std::string& name) {
    NodeEntry* node = registry.find(name);
    REQUIRE(node != nullptr);
    return node->id;
  }
  void online(const std::string& name) {
    NodeEntry* node = registry.find(name);
    REQUIRE(node != nullptr);
    node->online = true;
    node->address = name + ":7402";
    node->roots = {"/srv"};
    node->last_seen = now;
    board.on_agent_online(node->id, now);
  }
  void offline(const std::string& name) {
    registry.find(name)->online = false;
    board.on_agent_offline(id(name), now);
  }
  void enrol_online(const std::string& name) {
    enrol(name);
    online(name);
  }
  void report(const std::string& name, JobId job, TaskState state, const std::string& detail = "") {
    proto::TaskUpdate update;
    update.set_job(job.number);
    update.set_state(std::string(to_string(state)));
    update.set_detail(detail);
    board.on_task_update(id(name), update, now);
  }

  Result<JobId> try_create(const proto::CreateJobRequest& request) {
    std::optional<Result<JobId>> made;
    board.create(request, "test", now, [&](Result<JobId> result) { made = std::move(result); });
    REQUIRE(run_until([&] { return made.has_value(); }));
    return *made;
  }
  Error refusal(const proto::CreateJobRequest& request) {
    const auto made = try_create(request);
    REQUIRE_FALSE(made);
    return made.error();
  }
  JobId create(const proto::CreateJobRequest& request) { return must(try_create(request)); }
  const BoardJob& job(JobId number) const {
    const BoardJob* found = board.find(number);
    REQUIRE(found != nullptr);
    return *found;
  }
  TaskState state_of(JobId number, const std::string& name) {
    const Job& shown = job(number).shown();
    const auto index = shown.index_of(id(name));
    REQUIRE(index.has_value());
    return shown.tasks()[*index].state;
  }
  // What was sent to this node since the last call of take().
  std::vector<proto::TrackerMessage> sent_to(const std::string& name) {
    std::vector<proto::TrackerMessage> messages;
    for (const auto& [node, message] : agents.sent) {
      if (node == id(name)) messages.push_back(message);
    }
    return messages;
  }
};

// A manifest as a publishing node makes it.
inline PackedManifest packed(const std::string& name, const std::string& bytes) {
  FileFacts facts;
  facts.size = bytes.size();
  facts.mode = 0644;
  const Manifest manifest = must(make_file_manifest(
      name, facts, FileHash{tree_of_bytes(bytes), {ByteRange{0, bytes.size()}}}));
  return pack(manifest);
}

inline proto::ContentRecord content_record(const PackedManifest& manifest,
                                           const std::string& name) {
  proto::ContentRecord record;
  record.set_content_id(std::string(manifest.content_id.digest.view()));
  record.set_total_bytes(manifest.root_record.total_bytes);
  record.set_data_bytes(manifest.root_record.data_bytes);
  record.set_original_name(name);
  return record;
}

// Puts images/base@1 into the catalogue, as a publication before the test would have done.
inline PackedManifest publish_base(Process& process) {
  const PackedManifest manifest = packed("base.img", std::string(1000, 'x'));
  REQUIRE(process.catalogue.write_manifest(manifest.content_id, manifest.root_record_bytes,
                                           manifest.body_bytes));
  StateBatch batch;
  const FileName name = must(process.catalogue.reserve({"images", "base", std::nullopt}));
  process.catalogue.publish(name, content_record(manifest, "base.img"), "n0", process.now, batch);
  REQUIRE(process.disk.store.apply(batch));
  return manifest;
}

inline proto::CreateJobRequest push_of(const std::string& source, const std::string& targets,
                                       const std::string& path = "/srv/base.img") {
  proto::CreateJobRequest request;
  request.mutable_push()->set_source(source);
  request.mutable_push()->set_targets(targets);
  request.mutable_push()->set_path(path);
  return request;
}
inline proto::CreateJobRequest publish_of(const std::string& node, const std::string& path,
                                          const std::string& name) {
  proto::CreateJobRequest request;
  request.mutable_publish()->set_node(node);
  request.mutable_publish()->set_path(path);
  request.mutable_publish()->set_name(name);
  return request;
}

inline void say_holding(Process& process, const std::string& name, const ContentId& content) {
  proto::Holdings holdings;
  holdings.set_first(true);
  holdings.set_last(true);
  auto& holding = *holdings.add_holdings();
  holding.set_content_id(std::string(content.digest.view()));
  holding.set_complete(true);
  holding.set_bytes(1000);
  process.board.on_holdings(process.id(name), holdings);
}

}  // namespace p2p::test
