#!/usr/bin/python3
"""Bad input and bad credentials: refused with the reason, and nothing started."""

import http.client
import os
import socket
import ssl
import time

from cluster import Cluster, ClusterTest, main, make_file, wait_until


def insecure_context(identity_file):
    """TLS with this certificate as ours, and any certificate accepted as theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity_file:
        context.load_cert_chain(identity_file)
    return context


def api_status(address, identity_file):
    """HTTP status of GET /v1/nodes with this certificate; None when TLS itself refuses."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPSConnection(host, int(port), timeout=10,
                                             context=insecure_context(identity_file))
    try:
        connection.request("GET", "/v1/nodes")
        return connection.getresponse().status
    except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
        return None
    finally:
        connection.close()


def agent_port_refuses(address, identity_file, timeout=10):
    """True when the tracker ends a TLS connection with this certificate without a byte."""
    host, port = address.rsplit(":", 1)
    context = insecure_context(identity_file)
    context.set_alpn_protocols(["p2pd/1"])
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as plain, \
                context.wrap_socket(plain) as tls:
            return tls.recv(1) == b""
    except TimeoutError:
        return False
    except (ssl.SSLError, ConnectionError):
        return True


class Tokens(ClusterTest):
    def refused(self, token, reason):
        data = self.cluster.folder / "refused"
        run = self.cluster.join(data, token, "--name", "intruder")
        self.assertNotEqual(0, run.code, run)
        self.assertRegex(run.err.lower(), reason)
        self.assertEqual([], self.cluster.ctl_json("node", "list").get("nodes", []))
        self.assertEqual([], list(data.rglob("identity.pem")))

    @staticmethod
    def changed(token, part):
        """The token with another last letter in one of its four parts."""
        parts = token.split(".")
        parts[part] = parts[part][:-2] + ("00" if parts[part][-2:] != "00" else "11")
        return ".".join(parts)

    def test_a_text_that_is_no_token_is_refused(self):
        self.refused("hunter2", "token")

    def test_a_wrong_secret_is_refused(self):
        self.refused(self.changed(self.cluster.token(), 2), "token|denied")

    def test_an_unknown_token_is_refused(self):
        self.refused(self.changed(self.cluster.token(), 1), "token|denied")

    def test_a_wrong_pin_is_refused(self):
        self.refused(self.changed(self.cluster.token(), 3), "pin|root|certificate")

    def test_an_expired_token_is_refused(self):
        made = time.monotonic()
        token = self.cluster.token("--ttl", "1s")
        wait_until(lambda: time.monotonic() - made > 1.2, what="the token has expired")
        self.refused(token, "expired|token")


class UsedTokens(ClusterTest):
    def test_a_used_up_token_is_refused(self):
        token = self.cluster.token("--uses", "1")
        self.cluster.add_node("first", token)
        run = self.cluster.join(self.cluster.folder / "second", token, "--name", "second")
        self.assertNotEqual(0, run.code, run)
        self.assertRegex(run.err.lower(), "used|token")
        names = [node["name"] for node in self.cluster.ctl_json("node", "list")["nodes"]]
        self.assertIn("first", names)
        self.assertNotIn("second", names)

    def test_a_name_that_another_node_has_is_refused(self):
        token = self.cluster.token("--uses", "2")
        self.cluster.add_node("taken", token)
        run = self.cluster.join(self.cluster.folder / "double", token, "--name", "taken")
        self.assertNotEqual(0, run.code, run)
        self.assertIn("taken", run.err)

    def test_a_wrong_pin_does_not_use_a_token_up(self):
        token = self.cluster.token("--uses", "1")
        run = self.cluster.join(self.cluster.folder / "mistyped", Tokens.changed(token, 3),
                                "--name", "careful")
        self.assertNotEqual(0, run.code, run)
        self.cluster.add_node("careful", token)


class Credentials(ClusterTest):
    nodes = ("n1",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Cluster("other")
        cls.addClassCleanup(cls.other.close)
        cls.other.start()
        cls.other.add_node("stranger", cls.other.token())

    def test_the_admin_of_another_cluster_is_refused_with_6(self):
        run = self.cluster.ctl("status", P2PCTL_HOME=str(self.other.home))
        self.assertEqual(6, run.code, run)

    def test_our_admin_on_another_clusters_api_is_refused_with_6(self):
        run = self.cluster.ctl("node", "list", P2PCTL_API=self.other.tracker.ready["api"])
        self.assertEqual(6, run.code, run)

    def test_an_agents_certificate_does_not_open_the_operators_api(self):
        api = self.cluster.tracker.ready["api"]
        self.assertIn(api_status(api, self.cluster.nodes["n1"].identity_file()), (None, 401, 403))
        # The same request with the admin's certificate is fine: the probe itself works.
        self.assertEqual(200, api_status(api, next(self.cluster.home.rglob("identity.pem"))))

    def test_no_certificate_does_not_open_the_operators_api(self):
        self.assertIn(api_status(self.cluster.tracker.ready["api"], None), (None, 401, 403))

    def test_the_tracker_refuses_an_agent_of_another_cluster(self):
        address = self.cluster.tracker.ready["listen"]
        self.assertTrue(agent_port_refuses(address,
                                           self.other.nodes["stranger"].identity_file()))
        # One of its own it does not send away at once: the probe itself works.
        self.assertFalse(agent_port_refuses(address, self.cluster.nodes["n1"].identity_file(), 1))

    def test_an_agent_refuses_a_node_of_another_cluster(self):
        address = self.cluster.nodes["n1"].ready["listen"]
        self.assertTrue(agent_port_refuses(address,
                                           self.other.nodes["stranger"].identity_file()))
        self.assertTrue(agent_port_refuses(address, None))

    def test_a_second_init_over_a_cluster_is_refused(self):
        run = self.cluster.ctl("init", "--tracker-data", self.cluster.tracker.data, "--name",
                               "again", P2PCTL_HOME=str(self.cluster.folder / "home2"))
        self.assertEqual(1, run.code, run)
        self.assertIn(str(self.cluster.tracker.data), run.err)


class Requests(ClusterTest):
    nodes = ("n1", "n2")

    def setUp(self):
        super().setUp()
        self.share = self.cluster.nodes["n1"].share

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        file = make_file(cls.cluster.nodes["n1"].share / "known.bin", 1000)
        cls.cluster.publish("n1", file, "images/known@1")

    def refused(self, reason, *args, codes=(1,)):
        run = self.cluster.ctl(*args)
        self.assertIn(run.code, codes, run)
        self.assertRegex(run.err, reason)
        self.assertEqual("", run.out)
        return run

    def refused_without_a_job(self, reason, *args):
        run = self.assert_no_job_started(*args)
        self.assertEqual(1, run.code, run)
        self.assertRegex(run.err, reason)
        return run

    def test_publish_of_a_path_outside_the_shares(self):
        self.refused_without_a_job("share", "publish", "n1:/etc/hostname", "--name", "a/outside")


    def test_publish_of_a_link_that_leads_out_of_the_share(self):
        link = self.share / "way-out"
        link.symlink_to("/etc/hostname")
        self.refused("way-out", "publish", f"n1:{link}", "--name", "a/link", codes=(1, 2))

    def test_publish_of_a_path_with_dot_dot(self):
        self.refused_without_a_job(r"\.\.", "publish", f"n1:{self.share}/../../x", "--name", "a/up")

    def test_publish_of_a_missing_file(self):
        self.refused("absent", "publish", f"n1:{self.share}/absent", "--name", "a/b", codes=(1, 2))

    def test_publish_of_a_folder(self):
        folder = self.share / "folder"
        folder.mkdir()
        self.refused("folder", "publish", f"n1:{folder}", "--name", "a/folder", codes=(1, 2))

    def test_publish_of_a_fifo_does_not_hang(self):
        os.mkfifo(self.share / "fifo")
        self.refused("fifo", "publish", f"n1:{self.share}/fifo", "--name", "a/fifo", codes=(1, 2))

    def test_publish_under_a_version_that_exists(self):
        file = make_file(self.share / "other.bin", 2000, seed="other")
        self.refused("images/known@1", "publish", f"n1:{file}", "--name", "images/known@1",
                     codes=(1, 2))

    def test_publish_under_a_name_that_is_none(self):
        self.refused_without_a_job("latest", "publish", f"n1:{self.share}/known.bin", "--name",
                                   "images/known@latest")
        self.refused_without_a_job("nodomain", "publish", f"n1:{self.share}/known.bin", "--name",
                                   "nodomain")

    def test_publish_from_an_unknown_node(self):
        self.refused_without_a_job("n77", "publish", "n77:/x", "--name", "a/b")

    def test_push_to_a_path_outside_the_roots(self):
        run = self.cluster.ctl("push", "images/known", "--to", "n2", "--path", "/etc/p2pd-escape")
        self.assertIn(run.code, (1, 2), run)
        self.assertIn("root", run.text)
        self.assertFalse(os.path.exists("/etc/p2pd-escape"))

    def test_push_to_a_path_with_dot_dot(self):
        run = self.cluster.ctl("push", "images/known", "--to", "n2", "--path", "a/../../escape")
        self.assertIn(run.code, (1, 2), run)
        self.assertIn("..", run.text)

    def test_push_to_a_reserved_name(self):
        run = self.cluster.ctl("push", "images/known", "--to", "n2", "--path", ".p2pd-x")
        self.assertIn(run.code, (1, 2), run)
        self.assertIn(".p2pd-", run.text)

    def test_push_through_a_link_that_leads_out_of_the_root(self):
        outside = self.cluster.folder / "outside"
        outside.mkdir()
        (self.cluster.nodes["n2"].root / "exit").symlink_to(outside)
        run = self.cluster.ctl("push", "images/known", "--to", "n2", "--path", "exit/file")
        self.assertEqual(2, run.code, run)
        self.assertEqual([], list(outside.iterdir()))

    def test_push_to_an_unknown_node(self):
        self.refused_without_a_job("n99", "push", "images/known", "--to", "n2,n99", "--path", "x")

    def test_push_of_an_unknown_file(self):
        self.refused_without_a_job("images/unknown", "push", "images/unknown", "--to", "n2",
                                   "--path", "x")

    def test_push_to_an_expression_that_does_not_parse_shows_where(self):
        run = self.refused_without_a_job("column 9", "push", "images/known", "--to", "dc=bj & ",
                                         "--path", "x")
        self.assertRegex(run.err, r"(?m)^ +\^")

    def test_push_to_an_expression_that_selects_nobody(self):
        self.refused_without_a_job("rack=nowhere", "push", "images/known", "--to", "rack=nowhere",
                                   "--path", "x")

    def test_push_with_a_limit_that_is_none(self):
        self.refused_without_a_job("fast", "push", "images/known", "--to", "n2", "--path", "x",
                                   "--limit", "fast")

    def test_an_unknown_command_or_option_is_1(self):
        self.refused("frobnicate", "frobnicate")
        self.refused("--frobnicate", "status", "--frobnicate")


if __name__ == "__main__":
    main()
