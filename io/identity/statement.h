// Statements of the tracker that agents believe without asking it: tickets and the deny-list.
//
// A statement is a payload, the signature of the tracker's own key over its purpose and the
// payload, and the signer's certificates. On the wire and on disk it is a serialised
// proto::Statement.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/credentials.h"

namespace p2p {

enum class Purpose { ticket, deny_list };

// How far the clocks of a tracker and an agent may be apart when a time of a statement, or of its
// signer's certificate, is looked at.
inline constexpr Duration kStatementSkew = std::chrono::minutes(5);

// The longest payload of each purpose; what is longer is neither signed nor parsed.
inline constexpr std::size_t kMaxTicketBytes = 1024;
inline constexpr std::size_t kMaxDenyListBytes = 960 * 1024;
// Signature and certificates of a statement together, at most.
inline constexpr std::size_t kMaxSignerBytes = 32 * 1024;

// Holds the private key; copies share it. Thread-safe once made.
class StatementSigner {
 public:
  static Result<StatementSigner> make(const Credentials& credentials);
  // invalid_argument: the payload is too long.
  Result<std::string> sign(Purpose purpose, std::string_view payload) const;

 private:
  struct Keys;

  std::shared_ptr<const Keys> keys_;
};

// Believes trackers of one cluster whose certificates lead to one of the roots. The public key of a
// certificate that was good is kept, so that a further statement costs one check of a signature.
// One thread.
class StatementVerifier {
 public:
  // `cluster` is the UUID that the signer's certificate must name.
  static Result<StatementVerifier> make(std::string_view bundle_pem, std::string cluster);
  StatementVerifier(StatementVerifier&&) noexcept;
  StatementVerifier& operator=(StatementVerifier&&) noexcept;
  ~StatementVerifier();

  const std::string& cluster() const { return cluster_; }
  // The payload of a statement that any byte sequence may be. corrupt: unreadable or the signature
  // does not fit; denied: the signer is no tracker of this cluster, or its certificate is not valid
  // at `now`; invalid_argument: longer than a statement of this purpose may be.
  Result<std::string> verify(Purpose purpose, std::string_view statement, WallTime now);

 private:
  struct Trust;  // the roots, and the signers that were good

  StatementVerifier(std::unique_ptr<Trust> trust, std::string cluster);

  std::unique_ptr<Trust> trust_;
  std::string cluster_;
};

}  // namespace p2p
