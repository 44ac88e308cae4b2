#include "p2pd/renewal.h"

#include <utility>

#include "io/identity/certificates.h"
#include "io/log/log.h"

namespace p2p {
namespace {

constexpr Duration kCheckEvery = std::chrono::minutes(10);

}  // namespace

bool Renewal::due(const Credentials& current, bool can_ask, WallTime now,
                  proto::RenewRequest& request) {
  if (!can_ask || now - checked_ < kCheckEvery) return false;
  checked_ = now;
  const auto validity = validity_of(current.chain_pem);
  if (!validity || !renewal_due(*validity, now)) return false;
  // A new key each time: one that leaked is of no use for long.
  auto key = generate_key();
  auto csr = key ? make_csr(*key) : Result<std::string>(key.error());
  if (!csr) {
    log_error("agent", "cannot ask for a new certificate", {{"why", csr.error().detail}});
    return false;
  }
  key_ = *key;
  request.set_csr_pem(*csr);
  return true;
}

Status Renewal::take(const proto::Certificate& certificate, Credentials& credentials) {
  if (key_.empty()) return Error{Errc::cancelled, "a certificate that nobody asked for"};
  Credentials renewed{std::exchange(key_, {}), certificate.chain_pem(), certificate.bundle_pem()};
  if (Status saved = save_credentials(folder_, renewed); !saved) return saved;
  credentials = std::move(renewed);
  return {};
}

}  // namespace p2p
