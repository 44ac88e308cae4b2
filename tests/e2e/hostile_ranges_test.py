#!/usr/bin/python3
"""Neighbours that answer requests for ranges with a byte more, another offset, wrong bytes, leaves of
nothing, or not at all, while a receiver has the most of each chunk in an old file."""

import os
import struct

import hostile_peer as hp
from cluster import MiB, main, make_file, wait_until
from hostile_peer import FalseSeed, HostileNode

CHUNK = 256 * 1024
SIZE = 8 * MiB
PAGE = 4096


class HostileRanges(hp.SourceAndReceiver):
    def setUp(self):
        super().setUp()
        self.path = f"{self.short}.img"
        file = make_file(self.source.share / f"{self.short}.1", SIZE, seed=self.short)
        self.cluster.publish("source", file, f"{self.name}@1")
        self.cluster.ctl_ok("push", f"{self.name}@1", "--to", "receiver", "--path", self.path)
        # In every chunk one page is another, at another place.
        data = bytearray(file.read_bytes())
        for chunk in range(SIZE // CHUNK):
            at = chunk * CHUNK + chunk * PAGE
            data[at:at + PAGE] = os.urandom(PAGE)
        self.data = bytes(data)
        self.file = self.source.share / f"{self.short}.2"
        self.file.write_bytes(self.data)
        self.content = bytes.fromhex(self.cluster.publish("source", self.file, f"{self.name}@2"))

    def right_bytes(self, chunk, pieces):
        return b"".join(self.data[chunk * CHUNK + begin:chunk * CHUNK + begin + length]
                        for begin, length in pieces)

    def hostile(self, answer_run, answer_leaves=None):
        body = next(self.cluster.tracker.data.rglob(f"{self.content.hex()}.body")).read_bytes()
        node = HostileNode(self.cluster, f"bad-{self._testMethodName[5:45]}".replace("_", "-"),
                           FalseSeed(self.content, body, SIZE, lambda *_: None,
                                     answer_run=answer_run, answer_leaves=answer_leaves))
        self.addCleanup(node.close)
        node.go_online((self.content, SIZE))
        return node

    def push(self, node):
        """The receiver asks both, the source and this one: its time for the 128 KiB is limited."""
        run = self.cluster.ctl("push", f"{self.name}@2", "--to", "receiver", "--path", self.path,
                               "--limit", "32kB/s")
        self.assertEqual(0, run.code, run)
        self.assertEqual(self.data, (self.receiver.root / self.path).read_bytes())
        self.assertTrue(node.asked_runs)
        return self.cluster.task(self.cluster.newest_job()["id"], "receiver")

    def reports(self, node):
        return [line for line in self.cluster.tracker.log.read_text().splitlines()
                if "a node was reported" in line and f"about={node.name} " in line]

    def assert_dropped(self, answer_run, reason):
        node = self.hostile(answer_run)
        self.push(node)
        wait_until(lambda: self.reports(node), what="it is reported")
        self.assertRegex(self.reports(node)[0], reason)
        wait_until(lambda: node.ends > 0, what="it was dropped")

    def test_who_gives_what_was_asked_for_is_not_blamed(self):
        def answer(_node, peer, channel, chunk, offset, pieces):
            data = self.right_bytes(chunk, pieces)
            for at in range(0, len(data), 1000):  # in any parts
                peer.run_data(channel, chunk, offset + at, data[at:at + 1000])

        node = self.hostile(answer)
        task = self.push(node)
        self.assertEqual([], self.reports(node))
        self.assertLess(int(task["bytes_received"]), 32 * PAGE + 16 * 1024, task)

    def test_a_byte_more(self):
        def answer(_node, peer, channel, chunk, offset, pieces):
            peer.run_data(channel, chunk, offset, self.right_bytes(chunk, pieces) + b"x")

        self.assert_dropped(answer, "nobody asked for")

    def test_a_byte_more_behind_the_end(self):
        def answer(_node, peer, channel, chunk, offset, pieces):
            data = self.right_bytes(chunk, pieces)
            peer.run_data(channel, chunk, offset, data)
            peer.run_data(channel, chunk, offset + len(data), b"x")

        self.assert_dropped(answer, "nobody asked for")

    def test_another_offset(self):
        def answer(_node, peer, channel, chunk, offset, pieces):
            peer.run_data(channel, chunk, offset + 1, self.right_bytes(chunk, pieces)[1:] + b"x")

        self.assert_dropped(answer, "nobody asked for")

    def test_a_chunk_that_does_not_exist(self):
        def answer(_node, peer, channel, _chunk, offset, pieces):
            peer.run_data(channel, 1_000_000, offset, self.right_bytes(0, pieces))

        self.assert_dropped(answer, "nobody asked for|outside of the file")

    def test_the_chunk_instead_of_the_run(self):
        def answer(_node, peer, channel, chunk, _offset, _pieces):
            peer.data(channel, chunk, 0, self.right_bytes(chunk, [(0, hp.BLOCK)]))

        self.assert_dropped(answer, "nobody asked for")

    def test_leaves_nobody_asked_for(self):
        def answer(_node, peer, _channel, chunk, _offset, _pieces):
            peer.leaves(self.content, chunk, os.urandom(32 * 16))

        self.assert_dropped(answer, "leaves that nobody asked for")

    def test_wrong_bytes(self):
        def answer(_node, peer, channel, chunk, offset, pieces):
            peer.run_data(channel, chunk, offset, os.urandom(sum(length for _, length in pieces)))

        node = self.hostile(answer, lambda node, peer, chunk: peer.leaves(
            self.content, chunk, os.urandom(32 * 16)))
        task = self.push(node)
        # Wrong chunks cost at most themselves; the hint is not wrong, and is used to the end.
        self.assertLess(int(task["bytes_received"]), 32 * PAGE + 3 * CHUNK, task)

    def test_refusals_of_runs(self):
        def answer(_node, peer, channel, chunk, offset, pieces):
            length = sum(length for _, length in pieces)
            peer.send(hp.CANCEL, channel, struct.pack("<III", chunk, offset, length),
                      hp.REFUSAL | hp.OF_RUN)

        node = self.hostile(answer)
        self.push(node)
        self.assertEqual([], self.reports(node))


if __name__ == "__main__":
    main()
