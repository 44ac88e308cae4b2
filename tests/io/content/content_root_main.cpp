// Prints chunk size, root and layer of a file, for tests that compare them with other programs'.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "io/content/file_hasher.h"
#include "io/disk/fd.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: content_root FILE\n");
    return 1;
  }
  const p2p::Fd fd(::open(argv[1], O_RDONLY | O_CLOEXEC));
  struct stat facts;
  if (!fd || ::fstat(fd.get(), &facts) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  const p2p::Result<p2p::FileHash> hash = p2p::hash_file(fd.get(), size);
  if (!hash) {
    std::fprintf(stderr, "%s: %s\n", argv[1], hash.error().detail.c_str());
    return 1;
  }
  std::printf("chunk_bytes %u\n", p2p::chunk_bytes_for(size));
  std::printf("root %s\n", hash->tree.root.hex().c_str());
  for (const p2p::Digest& digest : hash->tree.layer) {
    std::printf("layer %s\n", digest.hex().c_str());
  }
  return 0;
}
