#!/usr/bin/python3
"""Who may have bytes of a content: asked by a hand-made node with good tickets, bad ones, and none.

That nothing was sent is not known from waiting: the node asks again on the same connection with a
good ticket, and only what it asks for then may come.
"""

import ssl
import subprocess
import time

import hostile_peer as hp
from cluster import ClusterTest, MiB, main, make_file, wait_until
from hostile_peer import HostileNode, peer_pb2, statement_pb2

SIZE = 2 * MiB
HOUR = 3600


class Signer:
    """Signs tickets as the tracker does, with the tracker's own key: a ticket that the tracker gave
    out long ago cannot be waited for."""

    def __init__(self, tracker_data):
        self.identity = next((tracker_data / "credentials").rglob("identity.pem"))
        pem = self.identity.read_text()
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        self.chain = [ssl.PEM_cert_to_DER_cert(begin + part.split(end)[0] + end)
                      for part in pem.split(begin)[1:]]

    def statement(self, purpose, payload):
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.identity)],
                                input=purpose + b"\0" + payload, capture_output=True, check=True,
                                timeout=60)
        return statement_pb2.Statement(payload=payload, signature=signed.stdout,
                                       chain=self.chain).SerializeToString()

    def ticket(self, like, **changes):
        """A ticket like that one, but for these fields."""
        ticket = payload_of(like)
        for field, value in changes.items():
            setattr(ticket, field, value)
        return self.statement(b"p2pd ticket 1", ticket.SerializeToString())


def payload_of(ticket):
    statement = statement_pb2.Statement.FromString(ticket)
    return statement_pb2.Ticket.FromString(statement.payload)


def ticket_for(cluster, node, name):
    """What the tracker gives this node with a push."""
    before = set(node.tickets)
    cluster.ctl_ok("push", name, "--to", node.name, "--path", "never", "--detach")
    job = wait_until(lambda: set(node.tickets) - before, what="the tracker sends a task").pop()
    return node.tickets[job]


class Asker:
    """A connection that asks for bytes of one content."""

    def __init__(self, peer, content):
        self.peer = peer
        self.content = content
        self.payload = 0  # bytes of data that came
        self.news = 0     # HAVE and OFFER
        peer.hello()

    def read(self):
        """The next frame: its type, flags, and what it says if it is a message."""
        kind, flags, _, body = self.peer.read()
        if kind == hp.DATA:
            self.payload += len(body) - 8
        if kind in (hp.HAVE, hp.OFFER):
            self.news += 1
        return kind, flags, peer_pb2.PeerMessage.FromString(body) if kind == hp.CONTROL else None

    def open(self, ticket, space=hp.CONTENT):
        """None when the other side opens the space, too; its Close otherwise."""
        self.peer.open(1 if space == hp.CONTENT else 2, self.content, space, wants=True,
                       ticket=ticket)
        while True:
            _, _, said = self.read()
            if said and said.HasField("open") and said.open.space == space:
                return None
            if said and said.HasField("close") and said.close.space == space:
                return said.close

    def open_elsewhere(self):
        """Asks for a content that nobody has: when the answer is here, what was queued before is."""
        self.peer.open(3, bytes(32), hp.BODY, wants=True)
        while True:
            _, _, said = self.read()
            if said and said.HasField("close") and said.close.content_id == bytes(32):
                return said.close

    def ask(self, *ranges):
        for chunk, offset, length in ranges:
            self.peer.request(1, chunk, offset, length)

    def wait_payload(self, payload):
        while self.payload < payload:
            self.read()


class Tickets(ClusterTest):
    nodes = ("holder", "receiver")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.holder = cls.cluster.nodes["holder"]
        file = make_file(cls.holder.share / "secret.bin", SIZE)
        other = make_file(cls.holder.share / "other.bin", SIZE, seed="other")
        cls.content = bytes.fromhex(cls.cluster.publish("holder", file, "images/secret"))
        cls.other = bytes.fromhex(cls.cluster.publish("holder", other, "images/other"))
        cls.signer = Signer(cls.cluster.tracker.data)
        # A node that is a target of a push, as far as the tracker knows: it has a ticket.
        cls.guest = HostileNode(cls.cluster, "guest", lambda _node, _peer: None)
        cls.addClassCleanup(cls.guest.close)
        cls.guest.go_online()
        cls.ticket = ticket_for(cls.cluster, cls.guest, "images/secret")
        cls.other_ticket = ticket_for(cls.cluster, cls.guest, "images/other")

    def dial(self, content=None):
        peer = self.guest.member.dial(self.holder.ready["listen"])
        self.addCleanup(peer.close)
        return Asker(peer, content or self.content)

    def lines(self, text, node="guest"):
        return [line for line in self.holder.log.read_text().splitlines()
                if f" node={node} " in line and text in line]

    def assert_refused(self, ticket, reason, content=None):
        logged = len(self.lines("a node was refused"))
        asker = self.dial(content)
        answer = asker.open(ticket)
        self.assertIsNotNone(answer, "the holder opened the space")
        self.assertTrue(answer.no_ticket)
        self.assertRegex(answer.reason, reason)
        asker.ask(*((chunk, 0, hp.PIECE) for chunk in range(8)))
        self.assertIsNotNone(asker.open(ticket, hp.BODY))
        self.assertEqual((0, 0), (asker.payload, asker.news))
        new_lines = self.lines("a node was refused")[logged:]
        self.assertEqual(1, len(new_lines), new_lines)
        self.assertRegex(new_lines[0], reason)
        self.assertIsNone(asker.open(self.other_ticket if content else self.ticket))
        asker.ask((1, 0, hp.BLOCK))
        asker.wait_payload(1)
        self.assertIsNotNone(asker.open_elsewhere())
        self.assertEqual(hp.BLOCK, asker.payload)

    def assert_served(self, ticket):
        asker = self.dial()
        self.assertIsNone(asker.open(ticket))
        asker.ask((1, 0, hp.PIECE), (2, 0, hp.PIECE))
        asker.wait_payload(2 * hp.PIECE)

    def test_the_nodes_own_ticket_is_good_and_again_on_another_connection(self):
        self.assert_served(self.ticket)
        self.assert_served(self.ticket)

    def test_no_ticket(self):
        self.assert_refused(b"", "no ticket")

    def test_a_ticket_of_another_content(self):
        self.assert_refused(self.ticket, "for another content", self.other)

    def test_another_nodes_ticket(self):
        # A neighbour sees it: receivers show theirs to whom they ask.
        thief = HostileNode(self.cluster, "thief", hp.FalseSeed(
            self.content, b"", SIZE, lambda *_: None))
        self.addCleanup(thief.close)
        thief.go_online((self.content, SIZE))
        self.cluster.ctl_ok("push", "images/secret", "--to", "receiver", "--path", "stolen")
        wait_until(lambda: thief.shown, what="the receiver shows its ticket to the thief")
        stolen = thief.shown[0]
        self.assertEqual("receiver", payload_of(stolen).node_name)
        self.assert_refused(stolen, "of another node: receiver")

    def test_an_expired_ticket(self):
        now = int(time.time())
        expired = {"issued_unix": now - 25 * HOUR, "expires_unix": now - HOUR}
        self.assert_refused(self.signer.ticket(self.ticket, **expired), "expired on")
        # With the same hand and another time it is good: nothing else was wrong with it.
        valid = {"issued_unix": now - HOUR, "expires_unix": now + HOUR}
        self.assert_served(self.signer.ticket(self.ticket, **valid))

    def test_a_ticket_that_ends_while_it_is_used(self):
        # Clocks may be five minutes apart: six seconds are left of those.
        now = int(time.time())
        ticket = self.signer.ticket(self.ticket, issued_unix=now - HOUR,
                                    expires_unix=now - 5 * 60 + 6)
        asker = self.dial()
        self.assertIsNone(asker.open(ticket))

        def answer():
            asker.ask((0, 0, hp.BLOCK))
            while True:
                kind, flags, _ = asker.read()
                if kind == hp.DATA:
                    return "data"
                if kind == hp.CANCEL and flags == hp.REFUSAL:
                    return "refusal"

        self.assertEqual("data", answer())
        wait_until(lambda: answer() == "refusal", 30, "the ticket has ended")
        said = None
        while not (said and said.HasField("close")):
            _, _, said = asker.read()
        self.assertTrue(said.close.no_ticket)
        self.assertTrue(self.lines("the ticket expired on"))

    def test_a_ticket_of_tomorrow(self):
        now = int(time.time())
        self.assert_refused(self.signer.ticket(self.ticket, issued_unix=now + HOUR,
                                               expires_unix=now + 25 * HOUR), "not valid before")

    def test_a_ticket_that_was_changed(self):
        statement = statement_pb2.Statement.FromString(self.ticket)
        payload = payload_of(self.ticket)
        payload.expires_unix += HOUR
        statement.payload = payload.SerializeToString()
        self.assert_refused(statement.SerializeToString(), "signature does not fit")

    def test_a_ticket_that_the_node_has_signed_itself(self):
        statement = statement_pb2.Statement.FromString(self.ticket)
        own = Signer(self.guest.program.data)
        self.assert_refused(own.statement(b"p2pd ticket 1", statement.payload), "no tracker")

    def test_a_signature_for_something_else(self):
        statement = statement_pb2.Statement.FromString(self.ticket)
        self.assert_refused(self.signer.statement(b"p2pd deny-list 1", statement.payload),
                            "signature does not fit")

    def test_garbage(self):
        self.assert_refused(b"\xff" * 700, "cannot be read")

    def test_a_ticket_of_another_cluster(self):
        self.assert_refused(self.signer.ticket(
            self.ticket, cluster_id="00000000-0000-4000-8000-000000000000"), "of cluster")

    def test_sixty_five_bad_tickets(self):
        asker = self.dial()
        self.assertRegex(asker.open(b"\xff" * 700).reason, "cannot be read")
        for _ in range(64):
            last = asker.open(b"\xff" * 700)
        self.assertRegex(last.reason, "too many bad tickets")
        # Not even a good one is looked at any more.
        self.assertRegex(asker.open(self.ticket).reason, "too many bad tickets")


class Removed(ClusterTest):
    nodes = ("holder",)

    def setUp(self):
        super().setUp()
        self.holder = self.cluster.nodes["holder"]

    def remove(self, name):
        heard = self.holder.log.read_text().count("a newer deny-list")
        self.cluster.ctl_ok("node", "remove", name)
        wait_until(lambda: self.holder.log.read_text().count("a newer deny-list") > heard,
                   what="the holder has the deny-list")

    def assert_turned_away(self, node):
        peer = node.member.dial(self.holder.ready["listen"])
        self.addCleanup(peer.close)
        said = []
        with self.assertRaises(OSError):
            peer.hello()
            while True:
                said.append(peer.read()[0])
        self.assertNotIn(hp.HELLO, said)
        self.assertRegex(self.holder.log.read_text(),
                         f"removed from the cluster was turned away.* node={node.name} ")

    def test_a_removed_node_is_cut_off_and_its_ticket_is_of_no_use(self):
        file = make_file(self.holder.share / "file.bin", SIZE)
        content = bytes.fromhex(self.cluster.publish("holder", file, "images/file"))
        leaver = HostileNode(self.cluster, "leaver", lambda _node, _peer: None)
        self.addCleanup(leaver.close)
        leaver.go_online()
        ticket = ticket_for(self.cluster, leaver, "images/file")
        peer = leaver.member.dial(self.holder.ready["listen"])
        self.addCleanup(peer.close)
        asker = Asker(peer, content)
        self.assertIsNone(asker.open(ticket))
        asker.ask((1, 0, hp.PIECE))
        asker.wait_payload(hp.PIECE)
        self.remove("leaver")
        peer.wait_end()
        self.assert_turned_away(leaver)

    def test_an_older_deny_list_brings_nobody_back(self):
        witness, first, second = (
            HostileNode(self.cluster, name, lambda _node, _peer: None)
            for name in ("witness", "first", "second"))
        for node in (witness, first, second):
            self.addCleanup(node.close)
        self.remove("first")
        peer = witness.member.dial(self.holder.ready["listen"])
        self.addCleanup(peer.close)
        peer.hello()
        peer.message(peer_pb2.PeerMessage(deny_version=0))
        kind, body = 0, b""
        while kind != hp.DENY_LIST:
            kind, _, _, body = peer.read()
        self.remove("second")
        self.assert_turned_away(second)
        peer.send(hp.DENY_LIST, 0, body)
        # The answer to another question shows that it has been read.
        peer.message(peer_pb2.PeerMessage(deny_version=0))
        wait_until(lambda: peer.read()[0] == hp.DENY_LIST, what="the newer list comes back")
        self.assert_turned_away(second)


if __name__ == "__main__":
    main()
