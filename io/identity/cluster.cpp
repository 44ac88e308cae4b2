#include "io/identity/cluster.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <tuple>
#include <utility>

#include "core/base/text.h"
#include "io/disk/file_io.h"
#include "io/identity/token.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 64 * 1024;
constexpr std::size_t kMaxClusterNameBytes = 40;
constexpr std::size_t kMaxAdministratorBytes = 32;
constexpr mode_t kPublicMode = 0644;
constexpr mode_t kSecretMode = 0600;

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

// Missing parents get the usual mode; the folder itself is for its owner alone.
Status make_private_folder(const std::string& path) {
  std::error_code why;
  const fs::path parent = fs::absolute(path, why).parent_path();
  if (why) return error_from_errno(why.value(), "find folder " + path);
  if (Status made = make_folders(parent.string()); !made) return made;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return error_from_errno(errno, "make folder " + path);
  }
  return {};
}

Result<std::string> read_secret(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return error_from_errno(errno, "read " + path);
  if ((facts.st_mode & 077) != 0) {
    return Error{Errc::denied, path +
                                   " holds a private key and other accounts may read it: run "
                                   "'chmod 600 " +
                                   path + "'"};
  }
  return read_file(path, kMaxFileBytes);
}

using YamlField = std::pair<std::string, std::string*>;

// Every field must be there as a plain value; others are left alone.
Status read_yaml(const std::string& path, const std::vector<YamlField>& fields) {
  auto text = read_file(path, kMaxFileBytes);
  if (!text) return text.error();
  try {
    const YAML::Node root = YAML::Load(*text);
    for (const auto& [name, value] : fields) {
      const YAML::Node field = root.IsMap() ? root[name] : YAML::Node();
      if (!field.IsDefined() || !field.IsScalar() || field.Scalar().empty()) {
        return Error{Errc::corrupt, path + ": '" + name +
                                        "' is missing or not a plain value: restore the file as "
                                        "p2pctl init wrote it"};
      }
      *value = field.Scalar();
    }
  } catch (const YAML::Exception& problem) {
    return Error{Errc::corrupt, path + ": not YAML: " + problem.what()};
  }
  return {};
}

Status write_yaml(const std::string& path,
                  const std::vector<std::pair<std::string, std::string>>& fields) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  for (const auto& [name, value] : fields) out << YAML::Key << name << YAML::Value << value;
  out << YAML::EndMap;
  return write_file_atomically(path, std::string(out.c_str(), out.size()) + "\n", kPublicMode);
}

bool is_address(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return ::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Status check_name(const std::string& name) {
  const bool fits = !name.empty() && name.size() <= kMaxClusterNameBytes && is_alnum(name[0]) &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return is_alnum(c) || c == '.' || c == '_' || c == '-';
                    });
  if (fits) return {};
  return Error{Errc::invalid_argument,
               "cluster name '" + name +
                   "': 1 to 40 letters, digits, '.', '_' and '-', beginning with a letter or "
                   "digit, as in --name prod-bj"};
}

std::string cluster_file(const std::string& tracker_data) {
  return tracker_data + "/cluster.yaml";
}
std::string ca_file(const std::string& tracker_data, const char* name) {
  return tracker_data + "/ca/" + name;
}
std::string config_file(const std::string& home) {
  return home + "/config.yaml";
}

// Nothing may be overwritten: the keys in these folders exist nowhere else.
Status check_folders_are_free(const ClusterOptions& options) {
  const std::string& data = options.tracker_data;
  if (exists(cluster_file(data))) {
    std::string name, id;
    const Status known = read_yaml(cluster_file(data), {{"name", &name}, {"id", &id}});
    return Error{Errc::already_exists, data + " already holds " +
                                           (known ? "cluster " + name : "a cluster") +
                                           ": choose another folder for --tracker-data"};
  }
  if (exists(ca_file(data, "root.key")) || exists(ca_file(data, "intermediate.key"))) {
    return Error{Errc::already_exists,
                 data + "/ca holds keys but " + data +
                     " has no cluster.yaml, as after an interrupted init: choose another folder, "
                     "or remove " +
                     data + "/ca if no node ever joined"};
  }
  if (exists(config_file(options.home)) || exists(options.home + "/identity.pem")) {
    const auto config = load_admin_config(options.home);
    return Error{Errc::already_exists,
                 options.home + " already holds a credential" +
                     (config ? " for cluster " + config->cluster_name : std::string()) +
                     ": set P2PCTL_HOME to another folder, as in P2PCTL_HOME=" + options.home +
                     "-" + options.name + " p2pctl init ..."};
  }
  return {};
}

struct NewCa {
  Authority root;
  Authority intermediate;
};

Result<NewCa> make_ca(const std::string& name, WallTime now) {
  auto root_key = generate_key();
  if (!root_key) return root_key.error();
  auto root = make_root(name, *root_key, now);
  if (!root) return root.error();
  auto key = generate_key();
  if (!key) return key.error();
  NewCa ca;
  ca.root = Authority{*root, *root_key};
  auto intermediate = make_intermediate(ca.root, name, *key, now);
  if (!intermediate) return intermediate.error();
  ca.intermediate = Authority{*intermediate, *key};
  return ca;
}

Status write_ca(const std::string& tracker_data, const NewCa& ca) {
  if (Status made = make_private_folder(tracker_data); !made) return made;
  if (Status made = make_private_folder(tracker_data + "/ca"); !made) return made;
  const std::array<std::tuple<const char*, const std::string*, mode_t>, 4> files{{
      {"root.key", &ca.root.key_pem, kSecretMode},
      {"root.pem", &ca.root.certificate_pem, kPublicMode},
      {"intermediate.key", &ca.intermediate.key_pem, kSecretMode},
      {"intermediate.pem", &ca.intermediate.certificate_pem, kPublicMode},
  }};
  for (const auto& [name, content, mode] : files) {
    if (Status s = write_file_atomically(ca_file(tracker_data, name), *content, mode); !s) return s;
  }
  return {};
}

Status make_tracker(const Cluster& cluster, const ClusterOptions& options, WallTime now) {
  std::vector<std::string> more{options.api_host};
  more.insert(more.end(), options.sans.begin(), options.sans.end());
  const MemberSpec spec{Identity{cluster.id, Role::tracker, new_uuid()}, tracker_sans(more),
                        kTrackerCertificateLife};
  auto credentials = make_member(cluster, spec, now);
  if (!credentials) return credentials.error();
  return save_credentials(tracker_credentials_folder(options.tracker_data), *credentials);
}

Status make_admin(const Cluster& cluster, const ClusterOptions& options, WallTime now) {
  const MemberSpec spec{Identity{cluster.id, Role::admin, new_uuid(), options.administrator},
                        {},
                        kAdminCertificateLife};
  auto credentials = make_member(cluster, spec, now);
  if (!credentials) return credentials.error();
  const bool is_ipv6 = options.api_host.find(':') != std::string::npos;
  const std::string host = is_ipv6 ? "[" + options.api_host + "]" : options.api_host;
  return save_home(options.home, *credentials,
                   {host + ":" + std::to_string(options.api_port), cluster.name, cluster.id});
}

}  // namespace

std::string login_name() {
  const char* sudo = ::geteuid() == 0 ? ::getenv("SUDO_USER") : nullptr;
  const passwd* account = sudo != nullptr ? ::getpwnam(sudo) : ::getpwuid(::geteuid());
  const std::string name = account == nullptr ? "" : account->pw_name;
  return printable(name, kMaxAdministratorBytes) == name ? name : "";
}

std::string tracker_credentials_folder(const std::string& tracker_data) {
  return tracker_data + "/credentials";
}

std::vector<std::string> tracker_sans(const std::vector<std::string>& more) {
  std::vector<std::string> wanted{"localhost", "127.0.0.1", "::1"};
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) {
    const std::string name = host.data();
    const bool fits = !name.empty() && name.size() <= 253 &&
                      std::all_of(name.begin(), name.end(),
                                  [](char c) { return is_alnum(c) || c == '.' || c == '-'; });
    if (fits) wanted.push_back(name);
  }
  wanted.insert(wanted.end(), more.begin(), more.end());
  std::vector<std::string> sans;
  for (std::string& san : wanted) {
    if (std::find(sans.begin(), sans.end(), san) == sans.end()) sans.push_back(std::move(san));
  }
  return sans;
}

Result<Credentials> make_member(const Cluster& cluster, const MemberSpec& spec, WallTime now) {
  auto key = generate_key();
  if (!key) return key.error();
  auto csr = make_csr(*key);
  if (!csr) return csr.error();
  CertificateSpec wanted;
  wanted.csr_pem = *csr;
  wanted.identity = spec.identity;
  for (const std::string& san : spec.sans) {
    (is_address(san) ? wanted.ip_addresses : wanted.dns_names).push_back(san);
  }
  wanted.not_before = now - kClockSkewAllowance;
  wanted.not_after = now + spec.life;
  auto certificate = issue(cluster.intermediate, wanted);
  if (!certificate) return certificate.error();
  Credentials credentials;
  credentials.key_pem = *std::move(key);
  credentials.chain_pem = *certificate + cluster.intermediate.certificate_pem;
  credentials.bundle_pem = cluster.bundle_pem();
  return credentials;
}

Result<Cluster> create_cluster(const ClusterOptions& options, WallTime now) {
  if (Status fits = check_name(options.name); !fits) return fits.error();
  if (Status free = check_folders_are_free(options); !free) return free.error();
  auto ca = make_ca(options.name, now);
  if (!ca) return ca.error();
  const Cluster cluster{options.name, new_uuid(), ca->root.certificate_pem, ca->intermediate};
  const std::string half_made = "the cluster is not complete";
  if (Status s = write_ca(options.tracker_data, *ca); !s) return s.error().within(half_made);
  if (Status s = make_tracker(cluster, options, now); !s) return s.error().within(half_made);
  if (Status s = make_admin(cluster, options, now); !s) return s.error().within(half_made);
  if (Status s = write_yaml(cluster_file(options.tracker_data),
                            {{"name", cluster.name}, {"id", cluster.id}});
      !s) {
    return s.error().within(half_made);
  }
  return cluster;
}

Result<Cluster> load_cluster(const std::string& tracker_data) {
  Cluster cluster;
  const Status head =
      read_yaml(cluster_file(tracker_data), {{"name", &cluster.name}, {"id", &cluster.id}});
  if (!head) {
    if (head.error().code != Errc::not_found) return head.error();
    return Error{Errc::not_found, tracker_data +
                                      " holds no cluster: make one with p2pctl init "
                                      "--tracker-data " +
                                      tracker_data + " --name CLUSTER"};
  }
  if (Identity id{cluster.id, Role::tracker, cluster.id}; !parse_identity(id.uri())) {
    return Error{Errc::corrupt, cluster_file(tracker_data) + ": id '" + cluster.id +
                                    "' is no UUID: restore the file as p2pctl init wrote it"};
  }
  auto root = read_file(ca_file(tracker_data, "root.pem"), kMaxFileBytes);
  if (!root) return root.error();
  auto intermediate = read_file(ca_file(tracker_data, "intermediate.pem"), kMaxFileBytes);
  if (!intermediate) return intermediate.error();
  auto key = read_secret(ca_file(tracker_data, "intermediate.key"));
  if (!key) return key.error();
  cluster.root_pem = *std::move(root);
  cluster.intermediate = Authority{*std::move(intermediate), *std::move(key)};
  return cluster;
}

Result<AdminConfig> load_admin_config(const std::string& home) {
  AdminConfig config;
  const Status read = read_yaml(config_file(home), {{"api", &config.api},
                                                    {"cluster_name", &config.cluster_name},
                                                    {"cluster_id", &config.cluster_id}});
  if (!read) return read.error();
  return config;
}

Status check_home_is_free(const std::string& home) {
  if (!exists(config_file(home)) && !exists(home + "/identity.pem")) return {};
  const auto config = load_admin_config(home);
  return Error{Errc::already_exists, home + " already holds a credential" +
                                         (config ? " for cluster " + config->cluster_name : "") +
                                         ": choose another folder"};
}

Status save_home(const std::string& home, const Credentials& credentials,
                 const AdminConfig& config) {
  if (Status free = check_home_is_free(home); !free) return free;
  if (Status made = make_private_folder(home); !made) return made;
  if (Status saved = save_credentials(home, credentials); !saved) return saved;
  return write_yaml(config_file(home), {{"api", config.api},
                                        {"cluster_name", config.cluster_name},
                                        {"cluster_id", config.cluster_id}});
}

}  // namespace p2p
