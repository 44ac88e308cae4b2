// What a member of a cluster holds on disk, as a folder: its identity and the roots that it trusts.
//
//   identity.pem  private key, then certificate, then intermediates; mode 0600. One file, so that a
//                 renewal cannot leave a key beside a certificate that is not its own.
//   bundle.pem    the trusted roots, several while roots are being changed
//
// Blocking: call from a disk thread. One writer for a folder at a time; readers need no lock.
#pragma once

#include <string>

#include "core/base/result.h"
#include "io/identity/certificates.h"

namespace p2p {

struct Credentials {
  std::string key_pem;
  std::string chain_pem;   // own certificate, then intermediates, without the root
  std::string bundle_pem;  // trusted self-signed roots
};

// not_found: there is no identity.pem (or no bundle.pem) in the folder. denied: identity.pem may be
// read by other accounts. corrupt: unreadable, or the key does not belong to the certificate.
// Expired certificates are loaded: a renewal needs them.
Result<Credentials> load_credentials(const std::string& folder);

// Makes the folder (mode 0700; its parent must exist) or replaces the files in it, each atomically
// and durably; refuses what load_credentials would refuse. The bundle goes first: a crash between
// the two leaves the old identity with the new bundle, so a new bundle has to hold the old root too
// until every identity below that root is renewed.
Status save_credentials(const std::string& folder, const Credentials& credentials);

// The key belongs to the first certificate of the chain, and the bundle holds self-signed CAs only.
// `where` names the folder or whatever they came from.
Status validate(const Credentials& credentials, const std::string& where);

}  // namespace p2p
