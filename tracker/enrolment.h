// Gives certificates: to nodes that join with a token, to nodes whose certificate runs out, and to
// users.
//
// Control thread; signing takes a fraction of a millisecond. The tracker decides the content of a
// certificate; the request contributes its public key only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>

#include "io/identity/cluster.h"
#include "proto/control.pb.h"
#include "tracker/journal.h"
#include "tracker/registry.h"

namespace p2p {

class Enrolment {
 public:
  Enrolment(Cluster cluster, Registry& registry, Journal& journal)
      : cluster_(std::move(cluster)), registry_(registry), journal_(journal) {}

  const Cluster& cluster() const { return cluster_; }
  // The token's use and the node are durable before `done` is called.
  void join(const proto::JoinRequest& request, WallTime now,
            std::function<void(Result<proto::JoinReply>)> done);
  // Of a user of the API, for as long as an administrator's.
  Result<proto::Certificate> certify_user(const std::string& id, const std::string& name,
                                          const std::string& csr_pem, WallTime now) const;
  Result<proto::Certificate> renew(NodeId node, const std::string& csr_pem, WallTime now) const;

 private:
  Result<proto::Certificate> certificate_for(const std::string& node_id, const std::string& name,
                                             const std::string& csr_pem, WallTime now) const;
  Result<proto::Certificate> certify(CertificateSpec spec) const;

  Cluster cluster_;
  Registry& registry_;
  Journal& journal_;
};

}  // namespace p2p
