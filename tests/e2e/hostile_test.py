#!/usr/bin/python3
"""Neighbours that send wrong bytes, garbage, too much, the same again, nothing, or next to nothing.

Each one is a member of the cluster that claims to hold the file, and at first the only one that is
online, so that the receiver has to ask it. Then the real source comes back, and the push must end
with the right bytes.
"""

import contextlib
import os
import re
import struct
import threading
import time

import hostile_peer as hp
from cluster import MiB, SLOWNESS, main, make_file, wait_until
from hostile_peer import FalseSeed, HostileNode

SIZE = 8 * MiB
# Of a receiver, whatever its neighbours do. Sanitizers take their share.
MEMORY_MAX = 128 * MiB * SLOWNESS


def peak_memory(process):
    """VmHWM in bytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024


class Hostile(hp.SourceAndReceiver):
    def setUp(self):
        super().setUp()
        self.got = self.receiver.root / f"got-{self.short}"
        self.file = make_file(self.source.share / f"{self.short}.bin", SIZE, seed=self.short)
        self.content = bytes.fromhex(self.cluster.publish("source", self.file, self.name))
        body = next(self.cluster.tracker.data.rglob(f"{self.content.hex()}.body"))
        self.body = body.read_bytes()
        self.hostile_nodes = 0

    def right_bytes(self, chunk, offset, length):
        with self.file.open("rb") as stream:
            stream.seek(chunk * hp.chunk_bytes(SIZE) + offset)
            return stream.read(length)

    def hostile(self, behaviour):
        """A node that is online and says that it holds the file."""
        self.hostile_nodes += 1
        name = f"bad{self.hostile_nodes}-{self._testMethodName.removeprefix('test_')[:40]}"
        node = HostileNode(self.cluster, name.replace("_", "-"), behaviour)
        self.addCleanup(node.close)
        node.go_online((self.content, SIZE))
        return node

    def false_seed(self, answer):
        return self.hostile(FalseSeed(self.content, self.body, SIZE, answer))

    def reports(self, node):
        """What the tracker wrote down about this node."""
        return [line for line in self.cluster.tracker.log.read_text().splitlines()
                if "a node was reported" in line and f"about={node.name} " in line]

    def push_past(self, *nodes, reason, timeout=60):
        """A push that has only these to ask at first: each is dropped and reported for `reason`,
        and the file comes from the source as soon as that is there."""
        self.source.stop()
        try:
            push = self.cluster.start_ctl("push", self.name, "--to", "receiver", "--path", self.got.name)
            for node in nodes:
                wait_until(lambda n=node: self.reports(n), timeout, f"{node.name} is reported")
                self.assertRegex(self.reports(node)[0], reason)
                wait_until(lambda n=node: n.ends > 0, what=f"{node.name} was dropped")
        finally:
            self.source.start()
        run = self.cluster.finish(push, 120)
        self.assertEqual(0, run.code, run)
        self.assert_copies(self.file, self.got)
        self.assertLess(peak_memory(self.receiver.process), MEMORY_MAX)
        for node in nodes:
            self.assertIn("peer dropped", self.receiver.log.read_text())

    # Wrong bytes.

    def test_wrong_bytes(self):
        def answer(_node, peer, channel, chunk, offset, length):
            for at in range(offset, offset + length, hp.PIECE):
                peer.data(channel, chunk, at, os.urandom(min(hp.PIECE, offset + length - at)))

        node = self.false_seed(answer)
        self.push_past(node, reason="sent a wrong chunk")
        self.assertTrue(node.asked)

    def test_bytes_outside_of_the_file(self):
        def answer(_node, peer, channel, _chunk, _offset, _length):
            peer.data(channel, 100_000, 0, bytes(hp.PIECE))

        self.push_past(self.false_seed(answer), reason="outside of the file")

    def test_a_part_of_a_block(self):
        def answer(_node, peer, channel, chunk, offset, _length):
            peer.data(channel, chunk, offset, self.right_bytes(chunk, offset, 1))

        self.push_past(self.false_seed(answer), reason="part of a block")

    def test_chunks_that_do_not_exist(self):
        liar = FalseSeed(self.content, self.body, SIZE, lambda *_: None, chunks=1_000_000)
        self.push_past(self.hostile(liar), reason="chunks that the file does not have")

    def test_bytes_of_a_run_instead_of_the_chunk(self):
        def answer(_node, peer, channel, chunk, offset, length):
            peer.run_data(channel, chunk, offset,
                          self.right_bytes(chunk, offset, min(length, hp.PIECE)))

        self.push_past(self.false_seed(answer), reason="sent bytes that nobody asked for")

    def test_leaves_that_nobody_asked_for(self):
        def answer(_node, peer, _channel, chunk, _offset, _length):
            peer.leaves(self.content, chunk, os.urandom(32 * 16))

        self.push_past(self.false_seed(answer), reason="leaves that nobody asked for")

    # Garbage and frames over the limit.

    def after_being_asked(self, send):
        """A false seed that answers the first request for data with `send(peer)`."""
        return self.false_seed(lambda _node, peer, *_: send(peer))

    def test_garbage_in_a_message(self):
        node = self.after_being_asked(lambda peer: peer.send(hp.CONTROL, 0, b"\xff" * 500))
        self.push_past(node, reason="cannot be read|malformed")

    def test_garbage_instead_of_frames(self):
        # As a length, the first four bytes are far above the limit.
        node = self.after_being_asked(lambda peer: peer.send_raw(b"\xff" * 4 + os.urandom(100_000)))
        self.push_past(node, reason="frame of 4294967295 bytes")

    def test_garbage_before_hello(self):
        node = self.hostile(lambda _node, peer: peer.send(hp.CONTROL, 0, os.urandom(200)))
        self.push_past(node, reason="before Hello")

    def test_a_frame_one_byte_over_the_limit(self):
        node = self.after_being_asked(
            lambda peer: peer.send_raw(struct.pack("<IBBH", hp.MAX_FRAME + 1, hp.DATA, 0, 2)))
        self.push_past(node, reason=f"frame of {hp.MAX_FRAME + 1} bytes")

    def test_a_flood_of_frames_that_mean_nothing(self):
        sent = []
        small = [hp.frame(hp.HAVE, 2, struct.pack("<II", 0, 1) * hp.chunk_count(SIZE)),
                 hp.frame(hp.CANCEL, 2, struct.pack("<III", 0, 0, 1), hp.BUSY),
                 hp.frame(hp.OFFER, 2, struct.pack("<II", 1, 0)),
                 hp.frame(hp.CONTROL, 0, b"")]

        def flood(peer):
            # A type that no release knows; HAVE of what was said already; answers to nothing; Hello
            # again. Each is fine by itself.
            for _ in range(100):
                peer.send(99, 0, bytes(hp.MAX_FRAME))
                peer.send_raw(b"".join(small) * 100)
                sent.append(1)
            peer.send(hp.HAVE, 2, b"odd")

        node = self.after_being_asked(flood)
        self.push_past(node, reason="malformed HAVE")
        self.assertGreaterEqual(len(sent), 100)

    # Replays.

    def test_the_same_data_twice(self):
        def answer(_node, peer, channel, chunk, offset, length):
            payload = self.right_bytes(chunk, offset, min(length, hp.PIECE))
            peer.data(channel, chunk, offset, payload)
            peer.data(channel, chunk, offset, payload)

        self.push_past(self.false_seed(answer), reason="sent bytes that nobody asked for")

    def test_hello_and_open_again_do_no_harm(self):
        def answer(_node, peer, channel, chunk, offset, length):
            peer.hello()
            peer.open(channel, self.content)
            for at in range(offset, offset + length, hp.PIECE):
                piece = min(hp.PIECE, offset + length - at)
                peer.data(channel, chunk, at, self.right_bytes(chunk, at, piece))

        node = self.false_seed(answer)
        self.source.stop()
        try:
            run = self.cluster.ctl("push", self.name, "--to", "receiver", "--path", self.got.name)
        finally:
            self.source.start()
        self.assertEqual(0, run.code, run)
        self.assert_copies(self.file, self.got)
        self.assertEqual([], self.reports(node))

    # Nothing, and next to nothing.

    def test_nothing_and_one_byte_a_second(self):
        stop = threading.Event()
        self.addCleanup(stop.set)

        def drip(_node, peer, channel, chunk, offset, length):
            frame = struct.pack("<IBBHII", 8 + length, hp.DATA, 0, channel, chunk, offset)
            for byte in frame + self.right_bytes(chunk, offset, length):
                peer.send_raw(bytes([byte]))
                if stop.wait(1):
                    return

        mute = self.false_seed(lambda *_: None)
        slow = self.false_seed(drip)
        self.push_past(mute, slow, reason="nothing of what it was asked for", timeout=120)
        self.assertTrue(mute.asked and slow.asked)

    def test_not_even_hello(self):
        node = self.hostile(lambda _node, _peer: None)
        self.push_past(node, reason="no Hello within 10 s")

    def test_a_handshake_that_never_ends_costs_nothing(self):
        host, port = self.receiver.ready["listen"].rsplit(":", 1)
        with contextlib.ExitStack() as sockets:
            for _ in range(50):
                sockets.enter_context(hp.socket.create_connection((host, int(port)), 30))
            started = time.monotonic()
            self.cluster.ctl_ok("push", self.name, "--to", "receiver", "--path", self.got.name)
            self.assertLess(time.monotonic() - started, 60 * SLOWNESS)
        self.assert_copies(self.file, self.got)


if __name__ == "__main__":
    main()
