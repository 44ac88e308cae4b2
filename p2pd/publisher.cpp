#include "p2pd/publisher.h"

#include <pthread.h>

#include <boost/asio/post.hpp>

#include "core/model/destination.h"
#include "io/content/file_hasher.h"
#include "io/content/manifest_codec.h"

namespace p2p {
namespace {

// A file that is being written to is tried again; one that never stands still cannot be published.
constexpr int kTries = 3;

}  // namespace

Publisher::Publisher(boost::asio::io_context& control, const ContentStore& contents,
                     const HintStore& hints, Privileged& privileged, std::string path,
                     HintOrder order, std::function<void(std::uint64_t, std::uint64_t)> on_progress,
                     std::function<void(Result<Done>)> on_done)
    : control_(control),
      contents_(contents),
      hints_(hints),
      privileged_(privileged),
      path_(std::move(path)),
      order_(std::move(order)),
      on_progress_(std::move(on_progress)),
      on_done_(std::move(on_done)) {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "publish");
    auto result = std::make_shared<Result<Done>>(work());
    boost::asio::post(control_, [this, alive = alive_, result] {
      if (*alive) on_done_(std::move(*result));
    });
  });
}

Publisher::~Publisher() {
  *alive_ = false;
  stop_ = true;
  thread_.join();
}

Result<Publisher::Done> Publisher::work() {
  for (int attempt = 1;; ++attempt) {
    auto file = privileged_.open_source(path_);
    if (!file) return file.error();
    auto before = facts_of(*file);
    if (!before) return before.error();

    Result<LoadedManifest> manifest = Error{Errc::not_found, "not hashed before"};
    if (const auto known = contents_.cached_content(path_, *before)) {
      manifest = contents_.load_manifest(*known);
    }
    if (!manifest) manifest = hash(*file, *before);
    if (!manifest && manifest.error().code != Errc::corrupt) return manifest.error();

    auto after = facts_of(*file);
    if (!after) return after.error();
    if (!manifest || *after != *before) {
      if (attempt < kTries) continue;
      return Error{Errc::corrupt, path_ + " changed while it was hashed, " +
                                      std::to_string(kTries) +
                                      " times: publish a file that nobody writes to"};
    }
    const ContentId id = manifest->id;
    proto::HoldingRecord record = holding_record(id, path_, *after);
    if (const Status put = contents_.put_holding(record); !put) return put.error();
    if (const Status kept = contents_.remember_hash(path_, *after, id); !kept) return kept.error();
    Done done{std::move(*manifest), std::string(base_name_of(path_)), path_, {}};
    done.hints =
        make_hints(contents_, hints_, done.manifest, *file, order_, [this] { return !stop_; });
    return done;
  }
}

Result<LoadedManifest> Publisher::hash(const Fd& file, const FileFacts& facts) {
  HashOptions options;
  options.stop = &stop_;
  options.progress = [&](std::uint64_t done) {
    boost::asio::post(control_, [this, alive = alive_, done, total = facts.size] {
      if (*alive) on_progress_(done, total);
    });
  };
  auto hashed = hash_file(file.get(), facts.size, options);
  if (!hashed) return hashed.error().within(path_);
  auto manifest = make_file_manifest(std::string(base_name_of(path_)), facts, std::move(*hashed));
  if (!manifest) return manifest.error().within(path_);
  const PackedManifest packed = pack(*manifest);
  if (const Status saved =
          contents_.save_manifest(packed.content_id, packed.root_record_bytes, packed.body_bytes);
      !saved) {
    return saved.error();
  }
  return contents_.load_manifest(packed.content_id);
}

}  // namespace p2p
