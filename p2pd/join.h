// `p2pd join`: makes a key, has it certified with a token, and leaves an identity in --data.
#pragma once

#include <map>
#include <string>

#include "core/base/result.h"
#include "io/config/config.h"

namespace p2p {

struct JoinSettings {
  HostPort tracker;
  std::string token;  // the line
  std::string data;   // made when missing
  std::string name;   // empty: the host name
  std::map<std::string, std::string> labels;
};

// What `p2pd run` reads beside the credentials: DATA/node.json.
struct NodeFile {
  std::string node_id;
  std::string name;
  std::string cluster_id;
  std::string tracker;  // HOST:PORT
};

// Blocks until the tracker has answered. Changes nothing on disk before it has the certificate.
// already_exists: the folder holds an identity.
Result<NodeFile> join(const JoinSettings& settings);

Result<NodeFile> load_node_file(const std::string& data);
std::string agent_credentials_folder(const std::string& data);

}  // namespace p2p
