#!/usr/bin/python3
"""Hints that are wrong: published by a member, found by everybody, and believed by nobody for long."""

import hashlib
import os
import struct

import hostile_peer as hp
from cluster import main, wait_until
from hint_maker import RECIPE, SIGNATURE, HintMaker, recipe
from hostile_peer import FalseSeed, HostileNode, varint
from updates import CHUNK, CHUNKS, MISSING, NEW_AT, PAGE, SIZE, UpdateCase, copies

BLOCK = 16384


class Hints(UpdateCase):
    nodes = ("n1", "n2", "n3", "n4")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.maker = HintMaker(cls.cluster, "maker")
        cls.addClassCleanup(cls.maker.close)

    def setUp(self):
        super().setUp()
        self.maker.mute, self.maker.before = False, None

    def versions(self, to="n[2-4]"):
        """Both versions at n1, the old one pushed, and the maker takes part in a push of the new
        one, of which nobody has made a hint."""
        first = self.publish("n1", "1", self.old)
        if to:
            self.push("1", to)
        second = self.publish("n1", "2", self.new, "--no-delta")
        self.contents = {"1": first.content, "2": second.content}
        job = self.maker.take_part(f"images/{self.name}@2")
        self.addCleanup(self.cluster.ctl, "job", "cancel", job)
        return first, second

    def offer_recipe(self, ranges, to="n[2-4]"):
        """A recipe that is valid, with these ranges; returns its id and how much there is to fetch
        besides what it does not have: itself and the manifest."""
        first, second = self.versions(to)
        hint = recipe(first.file, second.file, ranges)
        content, said = self.maker.make(RECIPE, hint, second, first)
        self.assertIn(" kept ", said)
        return content, len(hint) + len(second.body)

    def blames(self):
        return self.lines("tracker", "hints", "maker=maker")

    # Valid recipes that are right, or wrong in few places.

    def test_a_right_recipe_of_a_member_is_worth_as_much_as_any(self):
        _, besides = self.offer_recipe([c for chunk in range(CHUNKS) for c in copies(chunk)])
        for task in self.push("2", "n[2-4]").values():
            self.assert_received(task, MISSING + besides, MISSING + besides)
            self.assertEqual(SIZE - MISSING, int(task["bytes_copied"]))
        self.assert_content(self.new, "n2", "n3", "n4")
        self.assert_no_blame()

    def test_two_wrong_blocks_cost_two_blocks_and_nobody_is_blamed(self):
        ranges = []
        for chunk in range(CHUNKS):
            for at, old_at, length in copies(chunk):
                if chunk in (7, 20) and length > CHUNK // 2:
                    ranges += [(at, old_at, length - BLOCK),
                               (at + length - BLOCK, old_at, BLOCK)]
                else:
                    ranges.append((at, old_at, length))
        _, besides = self.offer_recipe(ranges, "n2")
        task = self.push("2", "n2")["n2"]
        self.assert_content(self.new, "n2")
        most = MISSING + besides + 2 * BLOCK
        self.assert_received(task, most, most)
        self.assertEqual(2, len(self.lines("n2", "a chunk is repaired")))
        self.assertIn("recipe from", task["basis"])
        self.assert_no_blame()

    # Valid recipes that are wrong.

    def push_poisoned(self, ranges, wrong):
        """Wrong in so many chunks: each costs the chunk at most, and three nodes are enough."""
        content, besides = self.offer_recipe(ranges)
        for node, task in self.push("2", "n[2-4]").items():
            self.assert_received(task, 0, besides + MISSING + wrong * CHUNK)
            self.assertIn("its hint has led to wrong bytes 3 times", task["basis"])
            self.assertEqual(1, len(self.lines(node, "the old file is not used any more")))
        self.assert_content(self.new, "n2", "n3", "n4")
        self.assert_all_run()
        wait_until(lambda: len(self.blames()) == 3, what="three nodes blame the maker")
        hint = f"hint={content.hex()[:8]}"
        self.assertTrue(all(hint in line for line in self.blames()), self.blames())
        self.assertIn("dropped: it led too many nodes to wrong bytes", self.blames()[2])
        self.assertEqual([], [line for line in self.blames()[:2] if "dropped" in line])
        for node in ("n1", "n2", "n3", "n4"):
            self.assertEqual([], self.lines("tracker", "a node was reported", f"about={node} "))

    def test_copies_from_the_next_chunk(self):
        self.push_poisoned([(chunk * CHUNK, (chunk + 1) % CHUNKS * CHUNK, CHUNK)
                            for chunk in range(CHUNKS)], CHUNKS)

    def test_copies_that_are_swapped(self):
        self.push_poisoned([(chunk * CHUNK + half * CHUNK // 2,
                             chunk * CHUNK + (1 - half) * CHUNK // 2, CHUNK // 2)
                            for chunk in range(CHUNKS) for half in (0, 1)], CHUNKS)

    def test_copies_that_overlap_in_the_old_file(self):
        self.push_poisoned([(at, at // 64, BLOCK) for at in range(BLOCK, SIZE, BLOCK)], CHUNKS)

    def test_copies_all_from_the_beginning(self):
        self.push_poisoned([(at, 0, PAGE) for at in range(PAGE, SIZE, PAGE)], CHUNKS)

    def test_six_wrong_chunks_among_right_ones(self):
        ranges = [c for chunk in range(CHUNKS) for c in
                  (copies(chunk) if chunk % 5 else [(chunk * CHUNK, 0 if chunk else 1, CHUNK - 1)])]
        # The three that are found wrong, and all that has not begun by then.
        self.push_poisoned(ranges, CHUNKS)

    def test_after_a_drop_its_maker_cannot_bring_it_again_and_another_can(self):
        ranges = [(at, 0, PAGE) for at in range(PAGE, SIZE, PAGE)]
        first, second = self.versions()
        self.maker.make(RECIPE, recipe(first.file, second.file, ranges), second, first)
        self.push("2", "n[2-4]")
        wait_until(lambda: any("dropped" in line for line in self.blames()), what="it is dropped")
        _, said = self.maker.make(RECIPE, recipe(first.file, second.file, ranges[1:]), second, first)
        self.assertIn("not kept", said)
        self.assertIn("a hint of this maker was dropped", said)
        # n1, which holds both, is asked before the next push.
        for node in ("n2", "n3", "n4"):
            self.copy_at(node).unlink()
        self.push("1", "n2")
        task = self.push("2", "n2", path="again.img")["n2"]
        self.assert_content(self.new, "n2", path="again.img")
        self.assertIn(f"recipe from images/{self.name}@1", task["basis"])
        self.assertLess(int(task["bytes_received"]), MISSING + 8192)

    # Hints that are not valid.

    def push_without(self, kind, hint, why):
        """The node says why it goes without, and fetches everything."""
        first, second = self.first, self.second
        content, said = self.maker.make(kind, hint, second, first if kind == RECIPE else None)
        self.assertIn(" kept ", said)
        task = self.push("2", "n2")["n2"]
        self.assert_content(self.new, "n2")
        self.assert_received(task, SIZE, SIZE + len(hint) + len(second.body))
        self.assertEqual("0", task.get("bytes_copied", "0"))
        self.assertIn(why, task["basis"])
        refused = self.lines("n2", "a hint is not used", f"hint={content.hex()[:8]}")
        self.assertEqual(1, len(refused), refused)
        self.assert_all_run()
        return f"hint={content.hex()[:8]}"

    def test_recipes_that_are_malformed(self):
        self.first, self.second = self.versions("n2")
        old, new = self.first.file, self.second.file
        good = recipe(old, new, copies(0))
        endless = b"p2pR" + varint(1) + good[5:-20]
        for why, hint in {
                "cut short": good[:-1],
                "begins with something else": b"p2pS" + good[4:],
                "bytes behind its end": good + b"\0",
                "ranges in": recipe(old, new, copies(0), count=1 << 40),
                "a range of": recipe(old, new, [(0, 0, 1 << 50)]),
                "leaves": recipe(old, new, [(0, SIZE - 1, PAGE)]),
                "is empty": recipe(old, new, [(0, 0, 0)]),
                "about other files": recipe((SIZE, bytes(31) + b"x"), new, copies(0)),
                "has version 2": b"p2pR\2" + good[5:],
                "cut short or": endless,
        }.items():
            with self.subTest(why):
                self.again()
                blamed = self.push_without(RECIPE, hint, why)
                # One of a newer release may be right.
                if why != "has version 2":
                    wait_until(lambda h=blamed: [line for line in self.blames() if h in line],
                               what="its maker is blamed")
        self.assertFalse([line for line in self.blames() if "dropped" in line or "version 2" in line])

    def again(self):
        """n2 has the old version only."""
        self.copy_at("n2").unlink(missing_ok=True)
        self.push("1", "n2")

    def test_signatures_that_are_malformed(self):
        self.first, self.second = self.versions("n2")
        magic = 0x72730147
        records = bytes(8 * (SIZE // 1024))
        for name, hint, why in (
                ("zeros", bytes(12), "begins with something else"),
                ("no blocks", struct.pack(">III", magic, 0, 4) + records, "block"),
                ("huge", struct.pack(">III", magic, 1 << 31, 4) + bytes(8), "block"),
                ("odd", struct.pack(">III", magic, 1000, 4) + records, "block"),
                ("strong 0", struct.pack(">III", magic, 1024, 0) + records, "strong sums of 0"),
                ("too many", struct.pack(">III", magic, 1024, 4) + records + bytes(8), "has one of"),
                ("too few", struct.pack(">III", magic, 1024, 4) + records[8:], "has one of"),
                ("half", struct.pack(">III", magic, 1024, 4) + records[4:], "has one of"),
                ("short", b"rs", "cut short after 2 bytes")):
            with self.subTest(name):
                self.copy_at("n2").unlink()
                self.copy_at("n2").write_bytes(self.old)  # nobody knows what it is
                self.push_without(SIGNATURE, hint, why)
        self.assert_no_blame()

    # Hints that nobody can serve.

    def test_a_hint_whose_maker_sends_nothing_of_it(self):
        _, besides = self.offer_recipe([c for chunk in range(CHUNKS) for c in copies(chunk)], "n2")
        self.maker.mute = True
        task = self.push("2", "n2")["n2"]
        self.assert_content(self.new, "n2")
        self.assert_received(task, SIZE, SIZE + besides)
        self.assertIn("nobody who is connected has it", task["basis"])
        self.assert_no_blame()

    def test_a_hint_whose_maker_is_gone(self):
        maker, self.maker = self.maker, HintMaker(self.cluster, "gone")
        try:
            self.offer_recipe([c for chunk in range(CHUNKS) for c in copies(chunk)], "n[2-3]")
            self.maker.close()
        finally:
            self.maker = maker
        for task in self.push("2", "n[2-3]").values():
            self.assertIn("nobody who is connected has it", task["basis"])
        self.assert_content(self.new, "n2", "n3")
        self.assert_no_blame()

    # Neighbours that answer what only updates ask for, and wrongly.

    def right(self, chunk, pieces):
        return b"".join(self.new[chunk * CHUNK + at:chunk * CHUNK + at + length]
                        for at, length in pieces)

    def push_past(self, ranges, *, answer_run=None, answer_leaves=None, reason=None):
        """At first only a hand-made node has the new version: with a reason it is reported for
        that, and n1 comes back; without, it is enough. Returns it, and the task."""
        first, second = self.versions("n2")
        hint = recipe(first.file, second.file, ranges)
        self.maker.make(RECIPE, hint, second, first)

        def answer_data(_node, peer, channel, chunk, offset, length):
            for at in range(offset, offset + length, hp.PIECE):
                piece = min(hp.PIECE, offset + length - at)
                peer.data(channel, chunk, at, self.right(chunk, [(at, piece)]))

        def answer_rightly(_node, peer, channel, chunk, offset, pieces):
            peer.run_data(channel, chunk, offset, self.right(chunk, pieces))

        node = HostileNode(self.cluster, self.name.replace("_", "-")[:40], FalseSeed(
            second.content, second.body, SIZE, answer_data, answer_run=answer_run or answer_rightly,
            answer_leaves=answer_leaves))
        self.addCleanup(node.close)
        node.go_online((second.content, SIZE))
        self.node("n1").stop()
        try:
            push = self.cluster.start_ctl(*self.push_args("2", "n2"))
            if reason:
                wait_until(lambda: self.lines("tracker", "a node was reported",
                                              f"about={node.name} ", reason),
                           what=f"the node is reported: {reason}")
                wait_until(lambda: node.ends > 0, what="the node is dropped")
                self.node("n1").start()
            run = self.cluster.finish(push)
        finally:
            if self.node("n1").process is None:
                self.node("n1").start()
        self.assertEqual(0, run.code, run)
        self.assert_content(self.new, "n2")
        self.assert_all_run()
        self.assert_no_blame()
        if not reason:
            self.assertEqual([], self.lines("tracker", "a node was reported"))
        task = self.newest_tasks()["n2"]
        self.assertIn("recipe from", task["basis"])
        return node, task, len(hint) + len(second.body)

    def wrong_once(self):
        """A block of one chunk is copied from the wrong place."""
        ranges = [c for chunk in range(CHUNKS) for c in copies(chunk)]
        at, _, _ = ranges[14]  # the first one of chunk 7
        return [*ranges[:14], (at, at + CHUNK, BLOCK), (at + BLOCK, at + BLOCK, NEW_AT - BLOCK),
                *ranges[15:]]

    def right_leaves(self, _node, peer, chunk):
        begin = chunk * CHUNK
        peer.leaves(self.content_of("2"), chunk, b"".join(
            hashlib.sha256(self.new[at:at + BLOCK]).digest()
            for at in range(begin, begin + CHUNK, BLOCK)))

    def test_right_answers_of_a_hand_made_node(self):
        node, task, besides = self.push_past(self.wrong_once(), answer_leaves=self.right_leaves)
        self.assertEqual([7], node.asked_leaves)
        self.assert_received(task, *[MISSING + besides + BLOCK] * 2)

    def test_leaves_that_are_wrong(self):
        self.push_past(self.wrong_once(), reason="sent wrong leaves", answer_leaves=lambda _, p, c:
                       p.leaves(self.content_of("2"), c, os.urandom(32 * CHUNK // BLOCK)))

    def test_too_many_leaves(self):
        self.push_past(self.wrong_once(), reason="sent wrong leaves", answer_leaves=lambda _, p, c:
                       p.leaves(self.content_of("2"), c, bytes(32 * CHUNK // BLOCK + 32)))

    def test_leaves_of_another_chunk(self):
        self.push_past(self.wrong_once(), reason="leaves that nobody asked for",
                       answer_leaves=lambda _, p, c:
                       p.leaves(self.content_of("2"), c + 1, bytes(32 * CHUNK // BLOCK)))

    def push_without_leaves(self, answer):
        node, task, besides = self.push_past(self.wrong_once(), answer_leaves=answer)
        self.assertEqual([7] * 3, node.asked_leaves)
        self.assert_received(task, *[MISSING + besides + CHUNK] * 2)

    def test_empty_leaves_cost_the_chunk(self):
        self.push_without_leaves(lambda _, p, c: p.leaves(self.content_of("2"), c, b""))

    def test_no_answer_for_leaves_costs_the_chunk(self):
        self.push_without_leaves(None)

    def push_past_runs(self, reason, run):
        node, _, _ = self.push_past([c for chunk in range(CHUNKS) for c in copies(chunk)],
                                    answer_run=run, reason=reason,
                                    answer_leaves=self.right_leaves)
        self.assertTrue(node.asked_runs)

    def test_a_run_with_a_byte_too_many(self):
        self.push_past_runs("sent bytes that nobody asked for",
                            lambda _node, peer, channel, chunk, offset, pieces: peer.run_data(
                                channel, chunk, offset, self.right(chunk, pieces) + b"x"))

    def test_a_run_at_another_offset(self):
        self.push_past_runs("sent bytes that nobody asked for",
                            lambda _node, peer, channel, chunk, offset, pieces: peer.run_data(
                                channel, chunk, offset + 1, self.right(chunk, pieces)[1:]))

    def test_a_run_with_wrong_bytes(self):
        self.push_past_runs("sent wrong bytes of a chunk", lambda _node, peer, channel, chunk, offset, pieces:
                            peer.run_data(channel, chunk, offset, os.urandom(sum(
                                length for _, length in pieces))))

    def test_data_instead_of_a_run(self):
        self.push_past_runs("sent bytes that nobody asked for",
                            lambda _node, peer, channel, chunk, _offset, pieces: peer.data(
                                channel, chunk, NEW_AT, self.right(chunk, pieces)))

    def content_of(self, version):
        return self.contents[version]


if __name__ == "__main__":
    main()
