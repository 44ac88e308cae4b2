#include "io/identity/credentials.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>

#include <cerrno>

#include "io/disk/fd.h"
#include "io/disk/file_io.h"
#include "io/identity/pem.h"

namespace p2p {
namespace {

constexpr mode_t kSecretMode = 0600;
constexpr mode_t kPublicMode = 0644;

std::string identity_path(const std::string& folder) {
  return folder + "/identity.pem";
}
std::string bundle_path(const std::string& folder) {
  return folder + "/bundle.pem";
}

enum class Secrecy { secret, open };

Result<std::string> read_checked(const std::string& path, Secrecy secrecy) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    const Error error = error_from_errno(errno, "read " + path);
    if (error.code != Errc::not_found) return error;
    return Error{error.code, error.detail +
                                 "; no complete credentials in this folder: join the cluster "
                                 "('p2pd join') or make one ('p2pctl init'), or name the folder "
                                 "that was used for it"};
  }
  if (!S_ISREG(facts.st_mode)) {
    return Error{Errc::invalid_argument, path + ": not a regular file; move it away"};
  }
  if (secrecy == Secrecy::secret && (facts.st_mode & 077) != 0) {
    return Error{Errc::denied, path +
                                   ": it holds a private key and other accounts may read it; run "
                                   "'chmod 600 " +
                                   path + "'"};
  }
  return read_file(path, kMaxPemBytes);
}

Result<std::string> certificates_as_pem(std::string_view pem, std::string_view what) {
  const auto certificates = read_certificates(pem, what);
  if (!certificates) return certificates.error();
  std::string text;
  for (const CertificatePtr& certificate : *certificates) {
    auto one = certificate_to_pem(certificate.get());
    if (!one) return one.error();
    text += *one;
  }
  return text;
}

Error with_advice(const Error& error) {
  return Error{error.code, error.detail + "; restore the file from a backup, or join again"};
}

Status make_private_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) == 0) {
    const std::string parent = folder + "/..";
    const Fd fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return error_from_errno(errno, "open folder " + parent);
    return sync_folder(fd.get(), parent);
  }
  if (errno != EEXIST) return error_from_errno(errno, "make folder " + folder);
  return {};
}

}  // namespace

Status validate(const Credentials& credentials, const std::string& where) {
  const auto key = read_key(credentials.key_pem, where + ": key");
  if (!key) return key.error();
  const auto own = read_certificate(credentials.chain_pem, where + ": certificate");
  if (!own) return own.error();
  if (X509_check_private_key(own->get(), key->get()) != 1) {
    ERR_clear_error();
    return Error{Errc::corrupt, where + ": the private key does not belong to the certificate"};
  }
  const auto roots = read_certificates(credentials.bundle_pem, where + ": trusted roots");
  if (!roots) return roots.error();
  for (const CertificatePtr& root : *roots) {
    if (X509_check_ca(root.get()) == 1 && X509_self_signed(root.get(), 1) == 1) continue;
    ERR_clear_error();
    return Error{Errc::corrupt, where +
                                    ": one of the trusted roots is not a self-signed certificate "
                                    "of a certificate authority"};
  }
  return {};
}

Result<Credentials> load_credentials(const std::string& folder) {
  const std::string identity_file = identity_path(folder);
  const auto identity = read_checked(identity_file, Secrecy::secret);
  if (!identity) return identity.error();
  const auto bundle = read_checked(bundle_path(folder), Secrecy::open);
  if (!bundle) return bundle.error();

  const auto key = read_key(*identity, identity_file);
  if (!key) return with_advice(key.error());
  auto key_pem = key_to_pem(key->get());
  if (!key_pem) return key_pem.error();
  auto chain_pem = certificates_as_pem(*identity, identity_file);
  if (!chain_pem) return with_advice(chain_pem.error());
  auto bundle_pem = certificates_as_pem(*bundle, bundle_path(folder));
  if (!bundle_pem) return with_advice(bundle_pem.error());

  Credentials credentials{*std::move(key_pem), *std::move(chain_pem), *std::move(bundle_pem)};
  if (auto valid = validate(credentials, folder); !valid) return with_advice(valid.error());
  return credentials;
}

Status save_credentials(const std::string& folder, const Credentials& credentials) {
  if (auto valid = validate(credentials, folder); !valid) return valid;
  if (auto made = make_private_folder(folder); !made) return made;
  auto bundled = write_file_atomically(bundle_path(folder), credentials.bundle_pem, kPublicMode);
  if (!bundled) return bundled;
  return write_file_atomically(identity_path(folder), credentials.key_pem + credentials.chain_pem,
                               kSecretMode);
}

}  // namespace p2p
