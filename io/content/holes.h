// Chunks that are one hole: nothing of them is fetched, so what the manifest says of them is
// checked.
#pragma once

#include "core/base/bitfield.h"
#include "core/base/result.h"
#include "core/model/manifest.h"

namespace p2p {

// Sets the bits of chunks without data in `done`. corrupt when the manifest expects anything but
// zeros there.
Status take_holes(const ChunkSpace& space, Bitfield& done);

}  // namespace p2p
