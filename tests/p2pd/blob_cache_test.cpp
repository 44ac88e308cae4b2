#include "p2pd/blob_cache.h"

#include "io/content/merkle.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

TEST_CASE("Of scripts in memory those go first that nobody has used for longest", "[p2pd][runs]") {
  const std::string a(400, 'a'), b(400, 'b'), c(400, 'c');
  BlobCache cache(1000);
  cache.put(sha256(a), a);
  cache.put(sha256(b), b);
  CHECK(cache.get(sha256(a)) == a);
  cache.put(sha256(c), c);
  CHECK(cache.get(sha256(a)) == a);
  CHECK_FALSE(cache.get(sha256(b)));
  CHECK(cache.get(sha256(c)) == c);
}

TEST_CASE("A script that is larger than all there is room for is not kept", "[p2pd][runs]") {
  const std::string small = "small", large(1001, 'x');
  BlobCache cache(1000);
  cache.put(sha256(small), small);
  cache.put(sha256(large), large);
  CHECK_FALSE(cache.get(sha256(large)));
  CHECK(cache.get(sha256(small)) == small);
}

}  // namespace
}  // namespace p2p
