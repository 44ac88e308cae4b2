// The part of a transfer that deals with an old version of its file on this node.
#include <boost/asio/post.hpp>
#include <utility>

#include "p2pd/transfer.h"

namespace p2p {

// Everything that is not here and not being looked at waits until it is known what of it an old
// file has.
void Transfer::look_for_old_file(const Bitfield& looked_at) {
  // What is being looked at may turn out not to be here, but is not worth a search.
  if (looked_at.all()) {
    if (had_ > 0) basis_ = "all of it was here already";
    return;
  }
  const ManifestEntry& file = manifest_->file();
  BasisSearch::Order order;
  order.old_file.content = order_.content;
  order.old_file.root = file.tree.root;
  order.old_file.final_path = final_path_;
  order.old_file.basis = order_.basis;
  order.old_file.older = order_.older;
  order.tree = file.tree;
  order.data = file.data;
  order.hints = order_.hints;
  order.bytes_per_second = rate();
  DeltaFill::Owner& owner = *this;
  const bool share = order_.reflink && !order_.allocate;
  delta_ = std::make_unique<DeltaFill>(parts_, owner, std::move(order), part_, *fetch_, share,
                                       rng_.split());
  Bitfield undecided(part_->space().count());
  for (std::uint32_t i = looked_at.find(0, false); i < looked_at.size();
       i = looked_at.find(i + 1, false)) {
    fetch_->hold_back(ChunkIndex{i});
    undecided.set(i);
  }
  delta_->take(undecided);
}

// The part does not hold the chunk, as it might have.
void Transfer::not_here(ChunkIndex chunk) {
  if (delta_) {
    delta_->consider(chunk);
  } else {
    fetch_->release(chunk);
  }
}

void Transfer::on_delta_moved() {
  basis_ = delta_->basis();
  boost::asio::post(parts_.control, [this, alive = alive_] {
    if (!*alive || is_final(state_)) return;
    owner_.on_transfer_changed(*this);
    land_if_able();
  });
}

void Transfer::share_hint(const ContentId& hint, ServeSourcePtr source, const Bitfield* have) {
  owner_.share({hint, /*body=*/true}, std::move(source), have);
}

void Transfer::unshare_hint(const ContentId& hint) {
  owner_.unshare({hint, /*body=*/true});
}

void Transfer::on_hint_wrong(const ContentId& hint, const std::string& why) {
  owner_.on_hint_wrong(hint, order_.content, why);
}

std::uint64_t Transfer::bytes_copied() const {
  return copied_whole_ + (delta_ ? delta_->bytes_copied() : 0);
}

std::uint64_t Transfer::bytes_written() const {
  return bytes_written_ + bytes_copied() - (delta_ ? delta_->bytes_shared() : 0);
}

std::uint64_t Transfer::bytes_already() const {
  return state_ == TaskState::succeeded && !fetch_ ? bytes_total() : had_;
}

}  // namespace p2p
