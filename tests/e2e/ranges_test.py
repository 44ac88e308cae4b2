#!/usr/bin/python3
"""Byte ranges of a chunk, and its leaves: a hand-made node asks a holder, as it should and worse."""

import hashlib
import struct

import hostile_peer as hp
from cluster import ClusterTest, MiB, main, make_file, wait_until
from hostile_peer import HostileNode, peer_pb2

CHUNK = 256 * 1024
SIZE = 2 * MiB + 20_000


class Ranges(ClusterTest):
    nodes = ("holder",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.holder = cls.cluster.nodes["holder"]
        file = make_file(cls.holder.share / "ranges.bin", SIZE)
        cls.bytes = file.read_bytes()
        cls.content = bytes.fromhex(cls.cluster.publish("holder", file, "images/ranges"))
        cls.guest = cls.member("guest")
        # A target of a push, as far as the tracker knows: it has a ticket.
        cls.cluster.ctl_ok("push", "images/ranges", "--to", "guest", "--path", "never", "--detach")
        cls.ticket = wait_until(lambda: list(cls.guest.tickets.values()),
                                what="the tracker sends a task")[0]

    @classmethod
    def member(cls, name):
        node = HostileNode(cls.cluster, name, lambda _node, _peer: None)
        cls.addClassCleanup(node.close)
        node.go_online()
        return node

    def dial(self, node, ticket):
        peer = node.member.dial(self.holder.ready["listen"])
        self.addCleanup(peer.close)
        peer.hello()
        self.open(peer, ticket)
        return peer

    def open(self, peer, ticket):
        """With a ticket, until the holder has opened the space in return."""
        peer.open(1, self.content, wants=True, ticket=ticket)
        while ticket and (self.content, hp.CONTENT) not in peer.spaces.values():
            peer.read()

    def answer(self, peer, kinds):
        """The next frame of these types: its type, flags and body."""
        while True:
            kind, flags, _, body = peer.read()
            if kind in kinds:
                return kind, flags, body

    def leaves(self, peer):
        while True:
            _, _, body = self.answer(peer, (hp.CONTROL,))
            said = peer_pb2.PeerMessage.FromString(body)
            if said.HasField("leaves"):
                return said.leaves

    def assert_refused(self, peer, chunk, pieces):
        peer.request_ranges(1, chunk, 7, pieces)
        kind, flags, body = self.answer(peer, (hp.CANCEL, hp.RUN_DATA))
        self.assertEqual((hp.CANCEL, hp.REFUSAL | hp.OF_RUN), (kind, flags))
        self.assertEqual((chunk, 7, sum(length for _, length in pieces)),
                         struct.unpack("<III", body))

    def assert_run(self, peer, chunk, pieces):
        """They are answered with their bytes, from offset 7 of our run on."""
        peer.request_ranges(1, chunk, 7, pieces)
        wanted = b"".join(self.bytes[chunk * CHUNK + begin:chunk * CHUNK + begin + length]
                          for begin, length in pieces)
        got = b""
        while len(got) < len(wanted):
            _, flags, body = self.answer(peer, (hp.RUN_DATA,))
            self.assertEqual((0, chunk, 7 + len(got)), (flags, *struct.unpack("<II", body[:8])))
            self.assertLessEqual(len(body), 8 + hp.PIECE)
            got += body[8:]
        self.assertEqual(wanted, got)

    def test_ranges_are_answered_in_one_run(self):
        peer = self.dial(self.guest, self.ticket)
        self.assert_run(peer, 2, [(0, 1)])
        self.assert_run(peer, 0, [(3, 16), (19, 1), (5000, 4096), (CHUNK - 1, 1)])
        self.assert_run(peer, 1, [(2 * i, 1) for i in range(1024)])
        self.assert_run(peer, 3, [(100, 100_000), (150_000, 100_000)])
        self.assert_run(peer, 8, [(19_999, 1)])

    def test_ranges_that_are_not_there_are_refused(self):
        peer = self.dial(self.guest, self.ticket)
        self.assert_refused(peer, 8, [(0, 1), (20_000, 1)])
        self.assert_refused(peer, 0, [(CHUNK, 1)])
        self.assert_refused(peer, 9, [(0, 1)])
        self.assert_run(peer, 0, [(0, 1)])

    def test_without_a_ticket_there_are_neither_ranges_nor_leaves(self):
        peer = self.dial(self.guest, b"")
        # Nothing is said about a space that was not opened in return.
        peer.request_ranges(1, 0, 0, [(0, 16)])
        peer.want_leaves(self.content, 0)
        self.assertEqual(b"", self.leaves(peer).leaves)
        self.open(peer, self.ticket)
        self.assert_run(peer, 0, [(0, 16)])

    def test_leaves(self):
        peer = self.dial(self.guest, self.ticket)
        for chunk in (1, 8):
            peer.want_leaves(self.content, chunk)
            told = self.leaves(peer)
            part = self.bytes[chunk * CHUNK:(chunk + 1) * CHUNK]
            leaves = [hashlib.sha256(part[at:at + hp.BLOCK]).digest()
                      for at in range(0, len(part), hp.BLOCK)]
            self.assertEqual((self.content, chunk, b"".join(leaves)),
                             (told.content_id, told.chunk, told.leaves))
        peer.want_leaves(self.content, 9)
        self.assertEqual(b"", self.leaves(peer).leaves)

    def test_who_asks_for_what_cannot_be_is_dropped(self):
        ranges = "malformed REQUEST_RANGES"
        body = hp.run_request
        cases = {
            "none": (ranges, hp.REQUEST_RANGES, body(0, 0, [])),
            "too-many": (ranges, hp.REQUEST_RANGES,
                         body(0, 0, [(2 * i, 1) for i in range(1025)])),
            "outside": (ranges, hp.REQUEST_RANGES, body(0, 0, [(0, 1), (8 * MiB, 1)])),
            "overlapping": (ranges, hp.REQUEST_RANGES, body(0, 0, [(100, 50), (149, 50)])),
            "empty-one": (ranges, hp.REQUEST_RANGES, body(0, 0, [(100, 0)])),
            "too-much": (ranges, hp.REQUEST_RANGES, body(0, 0, [(0, MiB), (2 * MiB, 1)])),
            "run-too-long": (ranges, hp.REQUEST_RANGES, body(0, 8 * MiB, [(0, 1)])),
            "cut-short": (ranges, hp.REQUEST_RANGES, body(0, 0, [(0, 300)])[:-1]),
            "long-data": ("malformed RUN_DATA", hp.RUN_DATA, bytes(8 + hp.PIECE + 1)),
            "leaf": ("malformed Leaves", hp.CONTROL, peer_pb2.PeerMessage(leaves=peer_pb2.Leaves(
                content_id=self.content, leaves=b"x" * 31)).SerializeToString()),
        }
        log = self.cluster.tracker.log
        for name, (reason, kind, text) in cases.items():
            with self.subTest(name):
                peer = self.dial(self.member(name), b"")
                peer.send(kind, 0 if kind == hp.CONTROL else 1, text)
                peer.wait_end()
                wait_until(lambda n=name, r=reason: any(
                    "a node was reported" in line and f"about={n} " in line and r in line
                    for line in log.read_text().splitlines()), what=f"{name} is reported")


if __name__ == "__main__":
    main()
