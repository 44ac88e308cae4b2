// A cluster on disk: what `p2pctl init` makes, the tracker loads, and p2pctl finds in its home.
//
//   TRACKER_DATA/cluster.yaml    name and id; written last, so that it stands for the whole
//   TRACKER_DATA/ca/             root.pem, root.key, intermediate.pem, intermediate.key (keys
//   0600).
//                                Only the intermediate's key is in daily use: root.key may be kept
//                                elsewhere, and is needed to make the next intermediate.
//   TRACKER_DATA/credentials/    the tracker's own identity (io/identity/credentials.h)
//   HOME/                        the administrator's identity, and config.yaml: where the API is
//
// Blocking: call from main or a disk thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/certificates.h"
#include "io/identity/credentials.h"

namespace p2p {

// How long the certificates of members live; all are renewed from two thirds of it on.
inline constexpr Duration kAdminCertificateLife = std::chrono::hours(24 * 365);
inline constexpr Duration kTrackerCertificateLife = std::chrono::hours(24 * 90);
inline constexpr Duration kAgentCertificateLife = std::chrono::hours(24 * 30);

struct Cluster {
  std::string name;
  std::string id;  // UUID
  std::string root_pem;
  Authority intermediate;  // issues to members

  // What members are told about whom to trust, and what join tokens pin.
  const std::string& bundle_pem() const { return root_pem; }
  Result<std::string> pin() const { return spki_pin(root_pem); }
};

struct ClusterOptions {
  std::string tracker_data;  // made when missing
  std::string name;          // [A-Za-z0-9][A-Za-z0-9._-]{0,39}
  std::string api_host;      // where administrators reach the API
  std::uint16_t api_port = 7401;
  std::vector<std::string> sans;  // more host names and addresses of the tracker
  // What the administrator is called, in logs and audit records; empty: by the certificate's id.
  std::string administrator;
  std::string home;  // folder of the administrator's credential, made when missing
};

// Makes everything above. already_exists, with nothing changed: the folder has a cluster, or the
// home a credential. When it fails half-way it says so, and the next attempt names what to remove.
Result<Cluster> create_cluster(const ClusterOptions& options, WallTime now);

// not_found: no cluster there. denied: a key that other accounts may read.
Result<Cluster> load_cluster(const std::string& tracker_data);

// The login name of who runs this, also under sudo; empty: there is none that can be shown.
std::string login_name();

// Where the tracker's own credentials are.
std::string tracker_credentials_folder(const std::string& tracker_data);

// A new key and certificate for `identity`, valid from kClockSkewAllowance before now until now +
// life.
struct MemberSpec {
  Identity identity;
  std::vector<std::string> sans;  // host names and addresses, in any order
  Duration life{0};
};
Result<Credentials> make_member(const Cluster& cluster, const MemberSpec& spec, WallTime now);

// The names and addresses under which a tracker on this machine is reached: localhost, both
// loopback addresses, the machine's host name, then `more`; each once.
std::vector<std::string> tracker_sans(const std::vector<std::string>& more);

// HOME/config.yaml.
struct AdminConfig {
  std::string api;  // HOST:PORT
  std::string cluster_name;
  std::string cluster_id;
};
// not_found: the home has no configuration.
Result<AdminConfig> load_admin_config(const std::string& home);

// already_exists: the home holds a credential, which must not be lost.
Status check_home_is_free(const std::string& home);
// Makes the home of an administrator or user; it must be free.
Status save_home(const std::string& home, const Credentials& credentials,
                 const AdminConfig& config);

}  // namespace p2p
