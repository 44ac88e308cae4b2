#include "io/identity/certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include "io/identity/pem.h"
#include "tests/io/identity/test_cluster.h"

namespace p2p {
namespace {

using test::kDay;
using test::must;
using test::TestCluster;
using test::wall_now;

const std::string kCluster = "11111111-2222-4333-8444-555555555555";
const std::string kNode = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

CertificatePtr parsed(std::string_view pem) {
  return must(read_certificate(pem, "test"));
}

// X509_V_OK, or why `leaf` does not lead to the root by way of the intermediates.
int verify_chain(std::string_view leaf_pem, std::string_view intermediates_pem,
                 std::string_view root_pem) {
  const auto leaf = parsed(leaf_pem);
  const auto intermediates = must(read_certificates(intermediates_pem, "test"));
  const auto root = parsed(root_pem);
  struct FreeStack {
    void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
  };
  const std::unique_ptr<STACK_OF(X509), FreeStack> between(sk_X509_new_null());
  for (const auto& one : intermediates) sk_X509_push(between.get(), one.get());
  const std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root.get());
  const std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>> context(
      X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), between.get());
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

// A request with whatever extensions somebody might ask for, signed with any key.
std::string greedy_request(EVP_PKEY* key, EVP_PKEY* signer) {
  const RequestPtr request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key);
  const unsigned char name[] = "tracker";
  X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_UTF8, name,
                             -1, -1, 0);
  STACK_OF(X509_EXTENSION)* wishes = sk_X509_EXTENSION_new_null();
  const std::string san = "DNS:tracker.example,URI:p2pd://" + kCluster + "/tracker/" + kNode;
  sk_X509_EXTENSION_push(wishes,
                         X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, san.c_str()));
  sk_X509_EXTENSION_push(
      wishes, X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE"));
  X509_REQ_add_extensions(request.get(), wishes);
  sk_X509_EXTENSION_pop_free(wishes, X509_EXTENSION_free);
  X509_REQ_sign(request.get(), signer, EVP_sha256());
  return must(request_to_pem(request.get()));
}

// A self-signed certificate with these subject alternative names, in OpenSSL's notation.
CertificatePtr certificate_with_names(const std::string& names) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  CertificatePtr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  X509_set_pubkey(certificate.get(), key.get());
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
  REQUIRE(extension != nullptr);
  X509_add_ext(certificate.get(), extension, -1);
  X509_EXTENSION_free(extension);
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  return certificate;
}

}  // namespace

TEST_CASE("An identity survives being written as a URI", "[io][identity]") {
  for (const Role role : {Role::agent, Role::tracker, Role::admin, Role::user}) {
    const Identity identity{kCluster, role, kNode};
    CHECK(must(parse_identity(identity.uri())) == identity);
  }
  CHECK(Identity{kCluster, Role::agent, kNode}.uri() == "p2pd://" + kCluster + "/agent/" + kNode);
}

TEST_CASE("Only the exact form of an identity is accepted", "[io][identity]") {
  const std::string good = "p2pd://" + kCluster + "/agent/" + kNode;
  REQUIRE(parse_identity(good));
  const std::string upper = "AAAAAAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee";
  for (const std::string& bad :
       {std::string(), std::string("p2pd://"), "http" + good.substr(4), "P2PD" + good.substr(4),
        "p2pd://" + kCluster, "p2pd://" + kCluster + "/agent", "p2pd://" + kCluster + "/agent/",
        "p2pd:///agent/" + kNode, good + "/", good + " ", " " + good, good + "?x", good + '\0',
        "p2pd://" + kCluster + "/root/" + kNode, "p2pd://" + kCluster + "/Agent/" + kNode,
        "p2pd://" + kCluster + "/agent/x/" + kNode, "p2pd://" + kCluster + "//" + kNode,
        "p2pd://" + kCluster + "/agent/" + upper, "p2pd://x/agent/" + kNode}) {
    INFO(bad);
    CHECK_FALSE(parse_identity(bad));
  }
}

TEST_CASE("A member's certificate leads through the intermediate to the root", "[io][identity]") {
  const TestCluster cluster;
  const CertificateSpec spec = cluster.spec(Role::agent);
  const std::string leaf = must(issue(cluster.intermediate, spec));
  CHECK(verify_chain(leaf, cluster.intermediate.certificate_pem, cluster.root.certificate_pem) ==
        X509_V_OK);
  CHECK(must(identity_of(leaf)) == spec.identity);
  CHECK(must(validity_of(leaf)) == Validity{spec.not_before, spec.not_after});
}

TEST_CASE("A certificate does not lead to the root of another cluster of the same name",
          "[io][identity]") {
  const TestCluster ours;
  const TestCluster theirs;
  const std::string leaf = must(issue(theirs.intermediate, theirs.spec(Role::agent)));
  CHECK(verify_chain(leaf, theirs.intermediate.certificate_pem, ours.root.certificate_pem) !=
        X509_V_OK);
  CHECK(verify_chain(leaf, ours.intermediate.certificate_pem, ours.root.certificate_pem) !=
        X509_V_OK);
}

TEST_CASE("The root lives ten years, the intermediate five, both from an hour ago",
          "[io][identity]") {
  const WallTime now{1'700'000'000 * Duration(std::chrono::seconds(1))};
  Authority root;
  root.key_pem = must(generate_key());
  root.certificate_pem = must(make_root("prod", root.key_pem, now));
  const std::string intermediate = must(make_intermediate(root, "prod", must(generate_key()), now));
  CHECK(must(validity_of(root.certificate_pem)) ==
        Validity{now - std::chrono::hours(1), now + 3650 * kDay});
  CHECK(must(validity_of(intermediate)) ==
        Validity{now - std::chrono::hours(1), now + 1825 * kDay});
}

TEST_CASE("Nothing outlives what issued it", "[io][identity]") {
  TestCluster cluster;
  const WallTime root_end = must(validity_of(cluster.root.certificate_pem)).not_after;
  const std::string late = must(
      make_intermediate(cluster.root, "test", must(generate_key()), wall_now() + 9 * 365 * kDay));
  CHECK(must(validity_of(late)).not_after == root_end);

  const WallTime end = must(validity_of(cluster.intermediate.certificate_pem)).not_after;
  CertificateSpec spec = cluster.spec(Role::agent);
  spec.not_after = end + kDay;
  CHECK(must(validity_of(must(issue(cluster.intermediate, spec)))).not_after == end);

  spec.not_before = end;
  const auto refused = issue(cluster.intermediate, spec);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().detail, Catch::Contains("never be valid"));
}

TEST_CASE("An intermediate makes no further authority", "[io][identity]") {
  const TestCluster cluster;
  CHECK(X509_get_pathlen(parsed(cluster.root.certificate_pem).get()) == 1);
  CHECK(X509_get_pathlen(parsed(cluster.intermediate.certificate_pem).get()) == 0);
  const auto below =
      make_intermediate(cluster.intermediate, "below", must(generate_key()), wall_now());
  REQUIRE_FALSE(below);
  CHECK_THAT(below.error().detail, Catch::Contains("use the root"));
}

TEST_CASE("A member cannot issue certificates", "[io][identity]") {
  const TestCluster cluster;
  const Credentials agent = cluster.member(Role::agent);
  const auto issued = issue(Authority{agent.chain_pem, agent.key_pem}, cluster.spec(Role::agent));
  REQUIRE_FALSE(issued);
  CHECK_THAT(issued.error().detail, Catch::Contains("certificate authority"));
}

TEST_CASE("An issuer needs its own key", "[io][identity]") {
  const TestCluster cluster;
  const Authority mixed{cluster.intermediate.certificate_pem, cluster.root.key_pem};
  CHECK_FALSE(issue(mixed, cluster.spec(Role::agent)));
}

TEST_CASE("What a request asks for beyond its key is ignored", "[io][identity]") {
  const TestCluster cluster;
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificateSpec spec = cluster.spec(Role::agent, greedy_request(key.get(), key.get()));
  const std::string leaf = must(issue(cluster.intermediate, spec));
  const auto certificate = parsed(leaf);
  CHECK(must(identity_of(leaf)) == spec.identity);
  CHECK(X509_check_ca(certificate.get()) == 0);
  CHECK(X509_check_host(certificate.get(), "tracker.example", 0, 0, nullptr) == 0);
  CHECK(X509_check_private_key(certificate.get(), key.get()) == 1);
  char name[64] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name,
                            sizeof name);
  CHECK(std::string(name) == "agent " + spec.identity.id);
}

TEST_CASE("A certificate carries the name that its maker gave, for logs", "[io][identity]") {
  const TestCluster cluster;
  CertificateSpec spec = cluster.spec(Role::agent);
  CHECK(must(identity_of(must(issue(cluster.intermediate, spec)))).name.empty());
  spec.identity.name = "web-01.example";
  const Identity named = must(identity_of(must(issue(cluster.intermediate, spec))));
  CHECK(named.name == "web-01.example");
  CHECK(named.shown() == "web-01.example");
  CHECK(named == spec.identity);
  spec.identity.name = std::string(64, 'n');
  CHECK(must(identity_of(must(issue(cluster.intermediate, spec)))).name == spec.identity.name);
  spec.identity.name += "n";
  CHECK_FALSE(issue(cluster.intermediate, spec));
}

TEST_CASE("A request that was signed with another key is refused", "[io][identity]") {
  const TestCluster cluster;
  const KeyPtr key(EVP_EC_gen("P-256"));
  const KeyPtr other(EVP_EC_gen("P-256"));
  const auto issued = issue(cluster.intermediate,
                            cluster.spec(Role::agent, greedy_request(key.get(), other.get())));
  REQUIRE_FALSE(issued);
  CHECK(issued.error().code == Errc::corrupt);
  CHECK_THAT(issued.error().detail, Catch::Contains("signature"));
}

TEST_CASE("A request with another kind of key is refused", "[io][identity]") {
  const TestCluster cluster;
  const KeyPtr p384(EVP_EC_gen("P-384"));
  const KeyPtr rsa(EVP_RSA_gen(2048));
  for (EVP_PKEY* key : {p384.get(), rsa.get()}) {
    const auto issued =
        issue(cluster.intermediate, cluster.spec(Role::agent, greedy_request(key, key)));
    REQUIRE_FALSE(issued);
    CHECK_THAT(issued.error().detail, Catch::Contains("EC P-256"));
  }
}

TEST_CASE("Bytes that are no request are refused", "[io][identity]") {
  const TestCluster cluster;
  const std::string good = must(make_csr(must(generate_key())));
  for (const std::string& bad : {std::string(), std::string("hello"), good.substr(0, 100),
                                 cluster.root.certificate_pem, std::string(1'000'000, '-')}) {
    CHECK_FALSE(issue(cluster.intermediate, cluster.spec(Role::agent, bad)));
  }
}

TEST_CASE("A malformed identity, host name or address is not certified", "[io][identity]") {
  const TestCluster cluster;
  CertificateSpec spec = cluster.spec(Role::tracker);
  SECTION("identity") {
    spec.identity.id = "node-7";
  }
  SECTION("cluster") {
    spec.identity.cluster += "/admin";
  }
  SECTION("host name with more than a name in it") {
    spec.dns_names = {"a.example,URI:x"};
  }
  SECTION("empty host name") {
    spec.dns_names = {""};
  }
  SECTION("address") {
    spec.ip_addresses = {"10.0.0.256"};
  }
  SECTION("too many names") {
    spec.dns_names.assign(1000, "a.example");
  }
  const auto issued = issue(cluster.intermediate, spec);
  REQUIRE_FALSE(issued);
  CHECK(issued.error().code == Errc::invalid_argument);
}

TEST_CASE("A tracker's certificate holds its host names and addresses", "[io][identity]") {
  const TestCluster cluster;
  CertificateSpec spec = cluster.spec(Role::tracker);
  spec.dns_names = {"tracker.example", "localhost"};
  spec.ip_addresses = {"127.0.0.1", "::1"};
  const std::string leaf = must(issue(cluster.intermediate, spec));
  const auto certificate = parsed(leaf);
  CHECK(X509_check_host(certificate.get(), "tracker.example", 0, 0, nullptr) == 1);
  CHECK(X509_check_host(certificate.get(), "localhost", 0, 0, nullptr) == 1);
  CHECK(X509_check_host(certificate.get(), "other.example", 0, 0, nullptr) == 0);
  CHECK(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0) == 1);
  CHECK(X509_check_ip_asc(certificate.get(), "::1", 0) == 1);
  CHECK(must(identity_of(leaf)) == spec.identity);
}

TEST_CASE("Agents and trackers are servers and clients, administrators and users only clients",
          "[io][identity]") {
  const TestCluster cluster;
  for (const Role role : {Role::agent, Role::tracker, Role::admin, Role::user}) {
    const auto certificate = parsed(must(issue(cluster.intermediate, cluster.spec(role))));
    CHECK(X509_check_purpose(certificate.get(), X509_PURPOSE_SSL_CLIENT, 0) == 1);
    CHECK(X509_check_purpose(certificate.get(), X509_PURPOSE_SSL_SERVER, 0) ==
          (role == Role::admin || role == Role::user ? 0 : 1));
  }
}

TEST_CASE("Two certificates for one request have different serial numbers", "[io][identity]") {
  const TestCluster cluster;
  const CertificateSpec spec = cluster.spec(Role::agent);
  const auto a = parsed(must(issue(cluster.intermediate, spec)));
  const auto b = parsed(must(issue(cluster.intermediate, spec)));
  CHECK(ASN1_INTEGER_cmp(X509_get0_serialNumber(a.get()), X509_get0_serialNumber(b.get())) != 0);
}

TEST_CASE("A certificate has an identity only with exactly one URI of ours", "[io][identity]") {
  const std::string ours = "URI:p2pd://" + kCluster + "/agent/" + kNode;
  const auto with = [](const std::string& names) {
    return identity_of(certificate_with_names(names).get());
  };
  CHECK(with(ours));
  CHECK(with("DNS:a.example,URI:spiffe://x/y," + ours));
  CHECK_FALSE(with("DNS:a.example"));
  CHECK_FALSE(with("URI:spiffe://x/y"));
  CHECK_FALSE(with(ours + "," + ours));
  CHECK_FALSE(with(ours + ",URI:p2pd://nonsense"));
  CHECK_FALSE(with("URI:p2pd://nonsense"));
  CHECK_FALSE(identity_of(TestCluster().root.certificate_pem));
}

TEST_CASE("A pin belongs to the key: it outlives the certificate and differs between keys",
          "[io][identity]") {
  const std::string key = must(generate_key());
  const std::string first = must(make_root("a", key, wall_now()));
  const std::string second = must(make_root("b", key, wall_now() + kDay));
  const std::string other = must(make_root("a", must(generate_key()), wall_now()));
  CHECK(must(spki_pin(first)).size() == 64);
  CHECK(must(spki_pin(first)) == must(spki_pin(second)));
  CHECK(must(spki_pin(first)) != must(spki_pin(other)));
}

TEST_CASE("A cluster's name has 1 to 40 bytes", "[io][identity]") {
  const std::string key = must(generate_key());
  CHECK(make_root(std::string(40, 'x'), key, wall_now()));
  CHECK_FALSE(make_root(std::string(41, 'x'), key, wall_now()));
  CHECK_FALSE(make_root("", key, wall_now()));
}

TEST_CASE("Renewal is due from two thirds of a certificate's life on", "[io][identity]") {
  const WallTime start{100 * kDay};
  const Validity validity{start, start + 30 * kDay};
  CHECK_FALSE(renewal_due(validity, start - kDay));
  CHECK_FALSE(renewal_due(validity, start));
  CHECK_FALSE(renewal_due(validity, start + 20 * kDay - Duration(1)));
  CHECK(renewal_due(validity, start + 20 * kDay));
  CHECK(renewal_due(validity, start + 31 * kDay));
  CHECK_FALSE(renewal_due(Validity{WallTime{}, WallTime::max()}, start));
}

TEST_CASE("A key with a password is an error, not a question on the terminal", "[io][identity]") {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  const unsigned char password[] = "secret";
  REQUIRE(PEM_write_bio_PrivateKey(bio.get(), key.get(), EVP_aes_128_cbc(), password,
                                   sizeof password - 1, nullptr, nullptr) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  CHECK_FALSE(make_csr(std::string_view(data, static_cast<std::size_t>(size))));
}

TEST_CASE("Times in messages are UTC", "[io][identity]") {
  CHECK(utc_text(WallTime{std::chrono::seconds(1'000'000'000)}) == "2001-09-09 01:46:40 UTC");
}

}  // namespace p2p
