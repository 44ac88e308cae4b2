#include "tracker/enrolment.h"

#include "io/log/log.h"

namespace p2p {

Result<proto::Certificate> Enrolment::certificate_for(const std::string& node_id,
                                                      const std::string& name,
                                                      const std::string& csr_pem,
                                                      WallTime now) const {
  CertificateSpec spec;
  spec.csr_pem = csr_pem;
  spec.identity = {cluster_.id, Role::agent, node_id, name};
  spec.not_before = now - kClockSkewAllowance;
  spec.not_after = now + kAgentCertificateLife;
  return certify(std::move(spec));
}

Result<proto::Certificate> Enrolment::certify_user(const std::string& id, const std::string& name,
                                                   const std::string& csr_pem, WallTime now) const {
  CertificateSpec spec;
  spec.csr_pem = csr_pem;
  spec.identity = {cluster_.id, Role::user, id, name};
  spec.not_before = now - kClockSkewAllowance;
  spec.not_after = now + kAdminCertificateLife;
  return certify(std::move(spec));
}

Result<proto::Certificate> Enrolment::certify(CertificateSpec spec) const {
  auto leaf = issue(cluster_.intermediate, spec);
  if (!leaf) return leaf.error();
  proto::Certificate certificate;
  certificate.set_chain_pem(*leaf + cluster_.intermediate.certificate_pem);
  certificate.set_bundle_pem(cluster_.bundle_pem());
  return certificate;
}

void Enrolment::join(const proto::JoinRequest& request, WallTime now,
                     std::function<void(Result<proto::JoinReply>)> done) {
  // The request is tried first: a token is not used up by a broken one.
  auto probe = certificate_for("00000000-0000-4000-8000-000000000000", "", request.csr_pem(), now);
  if (!probe) return done(probe.error());

  Registry::Join join;
  join.token_id = request.token_id();
  join.token_secret = request.token_secret();
  join.name = request.name().empty() ? request.hostname() : request.name();
  join.labels = {request.labels().begin(), request.labels().end()};
  StateBatch batch;
  auto node = registry_.join(join, now, batch);
  if (!node) {
    log_warn("enrol", "join refused",
             {{"name", join.name}, {"token", join.token_id}, {"reason", node.error().detail}});
    return done(node.error());
  }
  auto certificate = certificate_for(node->id(), node->name(), request.csr_pem(), now);
  if (!certificate) return done(certificate.error());

  proto::JoinReply reply;
  *reply.mutable_certificate() = std::move(*certificate);
  reply.set_node_id(node->id());
  reply.set_name(node->name());
  reply.set_cluster_id(cluster_.id);
  log_info("enrol", "node joins",
           {{"name", node->name()}, {"node", node->id()}, {"token", node->token_id()}});
  journal_.commit(std::move(batch), [done = std::move(done), reply](const Status& stored) {
    if (!stored) return done(stored.error());
    done(reply);
  });
}

Result<proto::Certificate> Enrolment::renew(NodeId node, const std::string& csr_pem,
                                            WallTime now) const {
  const NodeEntry* entry = registry_.find(node);
  if (entry == nullptr) {
    return Error{Errc::denied, "node " + node.str() + " is not in this cluster any more"};
  }
  return certificate_for(node.str(), entry->record.name(), csr_pem, now);
}

}  // namespace p2p
