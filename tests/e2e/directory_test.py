#!/usr/bin/python3
"""Groups, accounts, scripts, users and audit records, asked for over the API itself: who may call
what, and what is left behind."""

import base64
import hashlib
import http.client
import json
import os
import pwd
import ssl
import subprocess
import urllib.parse

from cluster import TRACKER, ClusterTest, main, wait_until

SCRIPT = b"#!/bin/sh\necho hello\n"


class Client:
    """One connection of somebody with a certificate."""

    def __init__(self, cluster, folder):
        host, port = cluster.tracker.ready["api"].rsplit(":", 1)
        context = ssl.create_default_context(cafile=folder / "bundle.pem")
        context.load_cert_chain(folder / "identity.pem")
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)

    def call(self, method, path, body=None):
        """(status, answer)"""
        self.connection.request(method, path, None if body is None else json.dumps(body))
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


class Directory(ClusterTest):
    nodes = ("web1", "web2")

    def setUp(self):
        self.admin = self.client(self.cluster.home)

    def client(self, folder):
        client = Client(self.cluster, folder)
        self.addCleanup(client.connection.close)
        return client

    def ok(self, method, path, body=None, client=None):
        status, answer = (client or self.admin).call(method, path, body)
        self.assertEqual(status, 200, answer)
        return answer

    def refused(self, expected, method, path, body=None, client=None):
        """What the error says."""
        status, answer = (client or self.admin).call(method, path, body)
        self.assertEqual(status, expected, answer)
        return answer["error"]["detail"]

    def user(self, name, *roles):
        """A client with the certificate of a new user."""
        folder = self.cluster.folder / f"user-{name}-{len(list(self.cluster.folder.iterdir()))}"
        folder.mkdir()
        key = subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"],
                             capture_output=True, check=True, timeout=60).stdout
        (folder / "key.pem").write_bytes(key)
        # What the request asks for does not matter: the tracker takes its key only.
        request = subprocess.run(["openssl", "req", "-new", "-key", folder / "key.pem", "-subj",
                                  "/CN=root"], capture_output=True, check=True, timeout=60).stdout
        made = self.ok("POST", "/v1/users", {"name": name, "roles": list(roles),
                                             "csr_pem": request.decode()})
        self.assertEqual(made["cluster"], "e2e")
        (folder / "identity.pem").write_text(key.decode() + made["chain_pem"])
        (folder / "bundle.pem").write_text(made["bundle_pem"])
        shown = subprocess.run(["openssl", "x509", "-noout", "-text"], input=made["chain_pem"],
                               text=True, capture_output=True, check=True, timeout=60).stdout
        self.assertIn(f"CN = {name}", shown)
        self.assertIn(f"/user/{made['id']}", shown)
        return self.client(folder)

    def script(self, name, body):
        return {"name": name, "body": base64.b64encode(body).decode()}

    def audit(self):
        """All records, and the chain checked by somebody else's code."""
        entries = []
        while True:
            page = self.ok("GET", f"/v1/audit?from={len(entries) + 1}")
            self.assertEqual(page["problem"], "")
            entries += page["entries"]
            if len(entries) == int(page["last"]):
                break
        before = bytes(32)
        for number, entry in enumerate(entries, 1):
            self.assertEqual(int(entry["number"]), number)
            before = hashlib.sha256(before + base64.b64decode(entry["record"])).digest()
            self.assertEqual(entry["hash"], before.hex())
        return entries

    def test_a_script_is_kept_in_versions_and_read_back(self):
        first = self.ok("POST", "/v1/scripts", self.script("hello", SCRIPT))
        self.assertEqual((first["version"], first["interpreter"], first["already"]),
                         (1, "/bin/sh", False))
        self.assertEqual(first["sha256"], hashlib.sha256(SCRIPT).hexdigest())
        self.assertTrue(self.ok("POST", "/v1/scripts", self.script("hello", SCRIPT))["already"])
        large = SCRIPT + b"#" * (960 * 1024 - len(SCRIPT))
        self.assertEqual(self.ok("POST", "/v1/scripts", self.script("hello", large))["version"], 2)
        got = self.ok("GET", "/v1/scripts/hello")
        self.assertEqual((got["version"], base64.b64decode(got["body"]), got["latest"]),
                         (2, large, True))
        got = self.ok("GET", "/v1/scripts/hello@1")
        self.assertEqual((base64.b64decode(got["body"]), got["latest"]), (SCRIPT, False))
        self.assertIn("1 to 2", self.refused(404, "GET", "/v1/scripts/hello@7"))

    def test_a_script_that_no_node_could_run_is_refused(self):
        for body, why in ((b"#!/bin/sh\r\necho\r\n", "CRLF"), (b"echo\n", "#!"),
                          (b"#!sh\n", "absolute"), (SCRIPT + b"#" * 960 * 1024, "960 KiB")):
            with self.subTest(why=why):
                self.assertIn(why, self.refused(400, "POST", "/v1/scripts",
                                                self.script("bad", body)))
        self.refused(404, "GET", "/v1/scripts/bad")

    def test_a_group_selects_nodes_everywhere(self):
        made = self.ok("PUT", "/v1/groups/web", {"expression": "web[1-2]"})
        self.assertEqual((made["nodes"], made["problem"]), (["web1", "web2"], ""))
        self.ok("PUT", "/v1/groups/rest", {"expression": "@web - web1"})
        targets = self.ok("GET", "/v1/targets?to=" + urllib.parse.quote("@rest | web1"))
        self.assertEqual((targets["nodes"], targets["folded"]), (["web1", "web2"], "web[1-2]"))
        self.assertIn("@web > @rest > @web",
                      self.refused(400, "PUT", "/v1/groups/web", {"expression": "@rest"}))
        self.assertIn("part of group rest", self.refused(400, "DELETE", "/v1/groups/web"))
        self.ok("DELETE", "/v1/groups/rest")
        self.ok("DELETE", "/v1/groups/web")
        self.refused(404, "GET", "/v1/groups/web")

    def test_a_user_may_look_and_an_administrator_may_change(self):
        self.ok("PUT", "/v1/accounts/web", {"user": "www-data", "roles": ["deployer"]})
        self.ok("PUT", "/v1/accounts/all", {"user": "root"})
        ann = self.user("ann", "deployer")
        for path in ("/v1/status", "/v1/nodes", "/v1/jobs", "/v1/files", "/v1/groups",
                     "/v1/scripts", "/v1/targets?to=web1", "/v1/nodes/web1"):
            self.ok("GET", path, client=ann)
        seen = [account["name"] for account in self.ok("GET", "/v1/accounts",
                                                       client=ann)["accounts"]]
        self.assertEqual(seen, ["web"])
        for method, path in (("POST", "/v1/tokens"), ("DELETE", "/v1/nodes/web1"),
                             ("PUT", "/v1/accounts/web"), ("DELETE", "/v1/accounts/web"),
                             ("PUT", "/v1/groups/x"), ("DELETE", "/v1/groups/x"),
                             ("POST", "/v1/scripts"), ("POST", "/v1/users"),
                             ("DELETE", "/v1/users/ann"), ("GET", "/v1/users"),
                             ("GET", "/v1/audit"), ("POST", "/v1/nodes/web1/labels")):
            with self.subTest(call=f"{method} {path}"):
                self.assertIn("you are user 'ann'", self.refused(403, method, path, client=ann))

    def test_what_others_run_is_not_shown(self):
        self.ok("PUT", "/v1/accounts/shown", {"user": "daemon", "roles": ["shown"]})
        friend, other = self.user("fay", "shown"), self.user("gus", "other")
        spec = {"targets": "web1", "account": "shown", "command": ["echo", "secret-word"]}
        job = self.ok("POST", "/v1/jobs", {"exec": spec})["id"]
        self.assertEqual(self.ok("GET", f"/v1/jobs/{job}", client=friend)["exec"]["command"],
                         ["echo", "secret-word"])
        self.ok("GET", f"/v1/jobs/{job}/output", client=friend)
        seen = self.ok("GET", f"/v1/jobs/{job}", client=other)
        self.assertEqual((seen["id"], seen["exec"]["targets"], seen["runs"]), (job, "web1", []))
        for path in (f"/v1/jobs/{job}", "/v1/jobs"):
            text = json.dumps(self.ok("GET", path, client=other))
            self.assertNotIn("secret-word", text)
            self.assertNotIn("shown", text)
        words = {self.refused(403, "GET", f"/v1/jobs/{job}/{what}", client=other)
                 for what in ("output", "events", "watch")}
        words.add(self.refused(403, "POST", f"/v1/jobs/{job}/retry", {}, client=other))
        self.assertEqual(len(words), 1, words)

    def test_a_removed_user_is_refused_at_once_and_on_a_connection_that_is_open(self):
        bob = self.user("bob")
        self.ok("GET", "/v1/status", client=bob)
        self.ok("DELETE", "/v1/users/bob")
        self.assertIn("user bob was removed", self.refused(403, "GET", "/v1/status", client=bob))
        bob.connection.close()
        self.assertIn("user bob was removed", self.refused(403, "GET", "/v1/status", client=bob))
        # The next one of that name is somebody else.
        again = self.user("bob")
        self.ok("GET", "/v1/status", client=again)
        bob.connection.close()
        self.refused(403, "GET", "/v1/status", client=bob)

    def test_a_removed_user_is_not_told_the_rest_of_a_stream(self):
        eve = self.user("eve")
        self.cluster.add_node("away", self.cluster.token())
        source = self.cluster.nodes["web1"].share / "streamed"
        source.write_bytes(b"x")
        self.cluster.publish("web1", source, "d/streamed")
        job = self.cluster.ctl_ok("push", "d/streamed", "--to", "away", "--path", "x",
                                  "--detach").out.strip()
        eve.connection.request("GET", f"/v1/jobs/{job}/watch")
        stream = eve.connection.getresponse()
        self.assertFalse(json.loads(stream.readline())["finished"])
        self.ok("DELETE", "/v1/users/eve")
        # The job waits for its node, and its stream would go on as long.
        with self.assertRaises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
            stream.read()
        self.ok("POST", f"/v1/jobs/{job}/cancel")

    def test_every_call_that_may_change_something_is_on_record(self):
        cyd = self.user("cyd")
        before = len(self.audit())
        body = json.dumps({"expression": "web1"})
        self.ok("PUT", "/v1/groups/noted", json.loads(body))
        self.refused(403, "DELETE", "/v1/groups/noted", client=cyd)
        self.refused(404, "DELETE", "/v1/groups/other")
        self.ok("GET", "/v1/groups")
        source = self.cluster.nodes["web1"].share / "noted"
        source.write_bytes(b"x")
        self.cluster.publish("web1", source, "d/noted")
        entries = self.audit()[before:]
        self.assertEqual([entry["what"] for entry in entries],
                         ["PUT /v1/groups/noted", "DELETE /v1/groups/noted",
                          "DELETE /v1/groups/other", "POST /v1/jobs", "publish"])
        self.assertEqual(entries[0]["outcome"], "asked")
        self.assertEqual(entries[0]["order_sha256"], hashlib.sha256(body.encode()).hexdigest())
        self.assertTrue(entries[1]["outcome"].startswith("refused: "), entries[1])
        # People are called by their names, whoever made the cluster, too.
        me = pwd.getpwuid(os.geteuid()).pw_name
        self.assertTrue(entries[0]["who"].startswith(f"{me} ("), entries[0])
        self.assertEqual(entries[4]["who"], me)
        self.assertEqual(self.cluster.jobs()[0]["created_by"], me)
        self.assertTrue(entries[1]["who"].startswith("cyd ("), entries[1])
        self.assertEqual((entries[4]["outcome"], entries[4]["targets"]), ("made", "web1"))
        self.assertEqual(entries[4]["job"], self.cluster.jobs()[0]["id"])

    def test_all_of_it_survives_a_restart(self):
        self.ok("PUT", "/v1/groups/kept", {"expression": "web1"})
        self.ok("PUT", "/v1/accounts/kept", {"user": "daemon"})
        self.ok("POST", "/v1/scripts", self.script("kept", SCRIPT))
        dan = self.user("dan")
        count = len(self.audit())
        self.cluster.tracker.kill()
        checked = subprocess.run([TRACKER, "--data", self.cluster.tracker.data, "--verify-audit"],
                                 capture_output=True, text=True, check=True, timeout=60).stdout
        self.assertIn(f"{count} audit records", checked)
        self.cluster.tracker.start()
        self.admin = self.client(self.cluster.home)
        dan.connection.close()
        self.ok("GET", "/v1/status", client=dan)
        self.ok("GET", "/v1/groups/kept")
        self.ok("GET", "/v1/scripts/kept@1")
        self.assertEqual(len(self.audit()), count)
        self.ok("DELETE", "/v1/accounts/kept")
        self.assertEqual(len(self.audit()), count + 1)
        wait_until(lambda: all(self.ok("GET", f"/v1/nodes/{name}")["online"] for name in self.nodes),
                   what="the nodes are back")


if __name__ == "__main__":
    main()
