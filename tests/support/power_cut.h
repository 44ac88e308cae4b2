// A file layer and a store from which the power can go: what was not synced is taken back.
//
// Real files in a real folder, and a list of what would be undone. Every call of either has a
// number; from a given one on nothing is done any more and every call fails, as for a process that
// is gone. take_back() then leaves the disk as a power cut might: of what was not synced, each
// page, name and size is kept or lost on its own, as the seed draws it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "io/disk/fd.h"
#include "io/disk/file_calls.h"
#include "io/disk/file_io.h"
#include "io/state/memory_store.h"
#include "tests/support/temp_folder.h"

namespace p2p::test {

class PowerCut final : public FileCalls {
 public:
  explicit PowerCut(std::uint64_t seed = 1) : rng_(seed) {}

  // What of the unsynced is lost: everything, or what a coin says.
  enum class Loss { all, some };

  void cut_at(std::uint64_t call) { cut_at_ = call; }
  // That call alone fails, with this number of errno.
  void fail_at(std::uint64_t call, int error) {
    fail_at_ = call;
    error_ = error;
  }
  std::uint64_t calls() const { return calls_; }
  bool is_out() const { return calls_ >= cut_at_; }
  // What the call that failed was.
  const std::string& failed() const { return failed_; }

  // Also for what is no file: a batch of a store.
  Status step(const std::string& what) {
    ++calls_;
    if (is_out()) return Error{Errc::io_failed, "no power for: " + what};
    if (calls_ != fail_at_) return {};
    failed_ = what;
    return error_from_errno(error_, what);
  }

  void take_back(Loss loss) {
    for (auto undo = undos_.rbegin(); undo != undos_.rend(); ++undo) {
      if (loss == Loss::all || rng_.below(2) == 0) undo->act();
    }
    undos_.clear();
  }

  Status write_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                  std::string_view name) override {
    if (Status on = step("write " + std::string(name)); !on) return on;
    for (std::size_t at = 0; at < bytes.size(); at += kPage) {
      const std::size_t length = std::min(kPage, bytes.size() - at);
      std::vector<std::uint8_t> old(length);
      const auto got = read_at(fd, old, offset + at, name);
      if (!got) return got.error();
      auto file = keep(fd);
      remember(id_of(fd), [file, old = std::move(old), to = offset + at] {
        (void)!::pwrite(file->get(), old.data(), old.size(), static_cast<off_t>(to));
      });
    }
    return FileCalls::write_at(fd, bytes, offset, name);
  }
  Status set_size(int fd, std::uint64_t bytes, std::string_view name) override {
    if (Status on = step("set size of " + std::string(name)); !on) return on;
    struct stat before {};
    ::fstat(fd, &before);
    remember(id_of(fd),
             [file = keep(fd), size = before.st_size] { (void)!::ftruncate(file->get(), size); });
    return FileCalls::set_size(fd, bytes, name);
  }
  Status allocate(int fd, std::uint64_t bytes, std::string_view name) override {
    if (Status on = step("allocate " + std::string(name)); !on) return on;
    return FileCalls::allocate(fd, bytes, name);
  }
  Status sync_data(int fd, std::string_view name) override {
    if (Status on = step("sync data of " + std::string(name)); !on) return on;
    forget(id_of(fd));
    return {};
  }
  Status sync_all(int fd, std::string_view name) override {
    if (Status on = step("sync " + std::string(name)); !on) return on;
    forget(id_of(fd));
    return {};
  }
  Status sync_folder(int folder, std::string_view name) override {
    if (Status on = step("sync folder " + std::string(name)); !on) return on;
    forget(id_of(folder));
    return {};
  }
  Status rename(int folder, const std::string& from, const std::string& to,
                std::string_view name) override {
    if (Status on = step("rename " + from); !on) return on;
    const std::string old = keep_name(folder, to);
    remember(id_of(folder), [file = keep(folder), from, to, old] {
      ::renameat(file->get(), to.c_str(), file->get(), from.c_str());
      if (!old.empty()) ::linkat(AT_FDCWD, old.c_str(), file->get(), to.c_str(), 0);
    });
    return FileCalls::rename(folder, from, to, name);
  }
  Status remove(int folder, const std::string& entry, std::string_view name) override {
    if (Status on = step("remove " + entry); !on) return on;
    const std::string old = keep_name(folder, entry);
    remember(id_of(folder), [file = keep(folder), entry, old] {
      if (!old.empty()) ::linkat(AT_FDCWD, old.c_str(), file->get(), entry.c_str(), 0);
    });
    return FileCalls::remove(folder, entry, name);
  }

 private:
  static constexpr std::size_t kPage = 4096;
  using FileId = std::pair<dev_t, ino_t>;
  struct Undo {
    FileId file;
    std::function<void()> act;
  };

  static FileId id_of(int fd) {
    struct stat facts {};
    ::fstat(fd, &facts);
    return {facts.st_dev, facts.st_ino};
  }
  static std::shared_ptr<Fd> keep(int fd) {
    return std::make_shared<Fd>(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  }
  // A second name, elsewhere, of what is about to lose its own; empty when there is nothing.
  std::string keep_name(int folder, const std::string& name) {
    const std::string kept = attic_ / std::to_string(++kept_);
    return ::linkat(folder, name.c_str(), AT_FDCWD, kept.c_str(), 0) == 0 ? kept : std::string();
  }
  void remember(FileId file, std::function<void()> act) {
    undos_.push_back({file, std::move(act)});
  }
  void forget(FileId file) {
    std::erase_if(undos_, [&](const Undo& undo) { return undo.file == file; });
  }

  Rng rng_;
  TempFolder attic_;
  std::uint64_t kept_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t cut_at_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t fail_at_ = 0;
  int error_ = 0;
  std::string failed_;
  std::vector<Undo> undos_;
};

// A store that loses what was not synced, like a log whose end was not written: a prefix stays.
class ForgetfulStore final : public StateStore {
 public:
  explicit ForgetfulStore(PowerCut& power) : power_(&power) {}

  // The machine is on again.
  void use(PowerCut& power) { power_ = &power; }
  void take_back(PowerCut::Loss loss) {
    const std::size_t kept = loss == PowerCut::Loss::all ? 0 : unsynced_.size() / 2;
    auto disk = std::make_unique<MemoryStore>();
    for (const StateBatch& batch : synced_) (void)disk->apply(batch);
    for (std::size_t i = 0; i < kept; ++i) (void)disk->apply(unsynced_[i]);
    synced_.insert(synced_.end(), unsynced_.begin(),
                   unsynced_.begin() + static_cast<std::ptrdiff_t>(kept));
    unsynced_.clear();
    now_ = std::move(disk);
  }

  Result<std::optional<Entry>> get(std::string_view key) override { return now_->get(key); }
  Status apply(const StateBatch& batch, Durability durability = Durability::synced) override {
    if (Status on = power_->step("store"); !on) return on;
    if (Status done = now_->apply(batch); !done) return done;
    unsynced_.push_back(batch);
    if (durability == Durability::synced) {
      synced_.insert(synced_.end(), unsynced_.begin(), unsynced_.end());
      unsynced_.clear();
    }
    return {};
  }
  Status scan(std::string_view prefix, const Visitor& visit) override {
    return now_->scan(prefix, visit);
  }

 private:
  PowerCut* power_;
  std::unique_ptr<MemoryStore> now_ = std::make_unique<MemoryStore>();
  std::vector<StateBatch> synced_;
  std::vector<StateBatch> unsynced_;
};

}  // namespace p2p::test
