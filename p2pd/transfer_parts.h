// What transfers and their parts are made with.
#pragma once

#include <boost/asio/io_context.hpp>

#include "core/base/ids.h"
#include "io/disk/disk_pool.h"
#include "p2pd/admission.h"
#include "p2pd/content_store.h"
#include "p2pd/hint_store.h"
#include "p2pd/part.h"
#include "p2pd/peer_mesh.h"

namespace p2p {

// What transfers share: all of it outlives them and the disk pool's jobs, which hold a copy of
// this.
struct TransferParts {
  NodeId self;
  boost::asio::io_context& control;
  DiskPool& disk;
  PeerMesh& mesh;
  Admission& admission;
  const ContentStore& contents;
  const HintStore& hints;
  PartTools part;
};

}  // namespace p2p
