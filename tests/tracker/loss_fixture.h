// A push whose source is about to be lost, and what agents say of it.
#pragma once

#include <string>

#include "tests/tracker/board_fixture.h"

namespace p2p::test {

// How long receivers must lack something is the core's rule, and tested there.
inline constexpr SourceLossRules kAtOnce{.settle = Duration{0}, .after_start = Duration{0}};

// web1 and web2 receive images/base from a seed.
struct Receivers : Process {
  PackedManifest manifest = publish_base(*this);
  JobId push;

  explicit Receivers(Disk& disk_value, const SourceLossRules& rules = kAtOnce)
      : Process(disk_value, rules) {
    for (const char* name : {"seed", "web1", "web2"}) enrol_online(name);
    StateBatch batch;
    proto::ContentRecord published = *catalogue.content(manifest.content_id);
    published.add_publishers(id("seed").str());
    catalogue.add_content(published, batch);
    REQUIRE(disk.store.apply(batch));
    say_holding(*this, "seed", manifest.content_id);
    push = create(push_of("images/base", "web[1-2]"));
    agents.take();
  }
  void lose(const std::string& name, bool changed = true) {
    proto::Holdings holdings;
    auto& holding = *holdings.add_holdings();
    holding.set_content_id(std::string(manifest.content_id.digest.view()));
    holding.set_path("/srv/base.img");
    holding.set_gone(true);
    holding.set_changed(changed);
    board.on_holdings(id(name), holdings);
  }
  void report_lacking(const std::string& name, std::uint32_t chunks) {
    proto::TaskUpdate update;
    update.set_job(push.number);
    update.set_state(std::string(to_string(TaskState::running)));
    update.set_chunks_without_holder(chunks);
    board.on_task_update(id(name), update, now);
  }
  void tick() { board.on_tick(now); }
  // Both receivers say that they miss chunks, and time passes.
  void all_lack() {
    for (const char* name : {"web1", "web2"}) report_lacking(name, 3);
    tick();
  }
  std::string detail_of(const std::string& name) {
    const Job& shown = job(push).shown();
    return shown.tasks()[*shown.index_of(id(name))].detail;
  }
  bool is_withdrawn() const {
    return !catalogue.find({"images", "base", "1"})->withdrawn().empty();
  }
};

// What an agent says to a tracker that may have forgotten what it was told.
inline void say_lost(Process& process, const std::string& name, const ContentId& content) {
  proto::Holdings holdings;
  holdings.set_first(true);
  holdings.set_last(true);
  auto& holding = *holdings.add_holdings();
  holding.set_content_id(std::string(content.digest.view()));
  holding.set_path("/srv/base.img");
  holding.set_gone(true);
  holding.set_changed(true);
  process.board.on_holdings(process.id(name), holdings);
  process.online(name);
}
inline void say_nothing_held(Process& process, const std::string& name) {
  proto::Holdings holdings;
  holdings.set_first(true);
  holdings.set_last(true);
  process.board.on_holdings(process.id(name), holdings);
  process.online(name);
}
inline void say_lacking(Process& process, JobId job, const std::string& name) {
  proto::TaskUpdate update;
  update.set_job(job.number);
  update.set_state(std::string(to_string(TaskState::running)));
  update.set_chunks_without_holder(3);
  process.board.on_task_update(process.id(name), update, process.now);
}

}  // namespace p2p::test
