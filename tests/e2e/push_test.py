#!/usr/bin/python3
"""Publishing and pushing: the right bytes, at the right place, once."""

import os
import time

from cluster import ClusterTest, MiB, leftovers, main, make_file, wait_until


class Push(ClusterTest):
    nodes = ("n1", "n2", "n3", "n4")

    def setUp(self):
        super().setUp()
        self.source = self.cluster.nodes["n1"]
        self.receivers = [self.cluster.nodes[name] for name in ("n2", "n3", "n4")]

    def push(self, name, path, *args, to="n[2-4]"):
        return self.cluster.ctl_ok("push", name, "--to", to, "--path", path, *args)

    def copies(self, path):
        return [node.root / path for node in self.receivers]

    def test_gives_every_node_the_same_bytes_mode_and_mtime(self):
        file = make_file(self.source.share / "image.bin", 20 * MiB + 12345)
        file.chmod(0o640)
        os.utime(file, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
        content = self.cluster.publish("n1", file, "images/base")
        self.assertRegex(content, r"^[0-9a-f]{64}$")
        self.push("images/base", "a/deep/image.bin")
        copies = self.copies("a/deep/image.bin")
        self.assert_copies(file, *copies)
        for copy in copies:
            self.assertEqual(0o640, copy.stat().st_mode & 0o7777)
            self.assertEqual(1_600_000_000_123_456_789, copy.stat().st_mtime_ns)

    def test_leaves_no_temporary_names_behind(self):
        file = make_file(self.source.share / "tidy.bin", 3 * MiB, seed="tidy")
        self.cluster.publish("n1", file, "images/tidy")
        self.push("images/tidy", "tidy.bin")
        self.assertEqual([[], [], []], [leftovers(node.root) for node in self.receivers])
        self.assertEqual([], leftovers(self.source.share))

    def test_of_what_is_already_there_is_skipped_without_sending(self):
        file = make_file(self.source.share / "again.bin", 16 * MiB, seed="again")
        self.cluster.publish("n1", file, "images/again")
        self.push("images/again", "again.bin")
        before = [copy.stat() for copy in self.copies("again.bin")]
        started = time.monotonic()
        # At this limit 48 MiB would take 25 s.
        self.push("images/again", "again.bin", "--limit", "2MB/s")
        self.assertLess(time.monotonic() - started, 10)
        job = self.cluster.job(self.cluster.newest_job()["id"])
        self.assertEqual({0}, {int(task["bytes_received"]) for task in job["tasks"]})
        after = [copy.stat() for copy in self.copies("again.bin")]
        self.assertEqual([stat.st_ino for stat in before], [stat.st_ino for stat in after])

    def test_replaces_an_older_version(self):
        old = make_file(self.source.share / "v1" / "app", 2 * MiB, seed="old")
        new = make_file(self.source.share / "v2" / "app", 2 * MiB + 7, seed="new")
        self.cluster.publish("n1", old, "apps/app@1")
        self.push("apps/app@1", "bin/app")
        self.assert_copies(old, *self.copies("bin/app"))
        self.cluster.publish("n1", new, "apps/app@2")
        self.push("apps/app", "bin/app")
        self.assert_copies(new, *self.copies("bin/app"))

    def test_takes_a_path_on_a_node_as_its_source(self):
        file = make_file(self.source.share / "direct.bin", 1 * MiB, seed="direct")
        self.push(f"n1:{file}", "direct.bin")
        self.assert_copies(file, *self.copies("direct.bin"))

    def test_takes_a_content_id_as_its_source(self):
        file = make_file(self.source.share / "by-id.bin", 1 * MiB, seed="by-id")
        self.push(self.cluster.publish("n1", file, "images/by-id"), "by-id.bin")
        self.assert_copies(file, *self.copies("by-id.bin"))

    def test_writes_the_nodes_name_and_the_sources_name_into_the_destination(self):
        file = make_file(self.source.share / "named.bin", 1000, seed="named")
        self.cluster.publish("n1", file, "images/named")
        self.push("images/named", "by-node/{node}/")
        self.assert_copies(file, *(node.root / "by-node" / node.name / "named.bin"
                                   for node in self.receivers))

    def test_takes_an_absolute_destination_below_a_root(self):
        file = make_file(self.source.share / "absolute.bin", 1000, seed="absolute")
        self.cluster.publish("n1", file, "images/absolute")
        copy = self.cluster.nodes["n2"].root / "x" / "absolute.bin"
        self.push("images/absolute", copy, to="n2")
        self.assert_copies(file, copy)

    def test_of_an_empty_file_makes_an_empty_file(self):
        file = make_file(self.source.share / "empty", 0)
        self.cluster.publish("n1", file, "images/empty")
        self.push("images/empty", "empty")
        self.assertEqual([0, 0, 0], [copy.stat().st_size for copy in self.copies("empty")])

    def test_of_one_byte_arrives(self):
        file = make_file(self.source.share / "one", 1)
        self.cluster.publish("n1", file, "images/one")
        self.push("images/one", "one")
        self.assert_copies(file, *self.copies("one"))

    def test_keeps_holes(self):
        file = self.source.share / "holes.img"
        with file.open("wb") as stream:
            stream.write(b"head" * 100_000)
            stream.seek(24 * MiB)
            stream.write(b"middle" * 100_000)
            stream.truncate(48 * MiB)
        if file.stat().st_blocks * 512 > 8 * MiB:
            self.skipTest(f"the file system of {file.parent} keeps no holes")
        self.cluster.publish("n1", file, "images/holes")
        self.push("images/holes", "holes.img")
        copies = self.copies("holes.img")
        self.assert_copies(file, *copies)
        for copy in copies:
            self.assertLess(copy.stat().st_blocks * 512, 8 * MiB, "holes were filled")
        self.assertLess(int(self.cluster.newest_job()["source_bytes_sent"]), 16 * MiB)

    def test_of_a_file_of_only_holes_arrives(self):
        file = self.source.share / "void.img"
        with file.open("wb") as stream:
            stream.truncate(8 * MiB)
        self.cluster.publish("n1", file, "images/void")
        self.push("images/void", "void.img")
        self.assert_copies(file, *self.copies("void.img"))

    def test_under_a_limit_is_neither_faster_nor_much_slower(self):
        file = make_file(self.source.share / "capped.bin", 8 * MiB, seed="capped")
        self.cluster.publish("n1", file, "images/capped")
        started = time.monotonic()
        self.push("images/capped", "capped.bin", "--limit", "8MB/s")
        took = time.monotonic() - started
        floor = 3 * 8 * MiB / 8e6
        self.assertGreater(took, 0.95 * floor)
        self.assertLess(took, 2 * floor + 2)

    def test_reaches_nodes_by_the_labels_of_their_token(self):
        token = self.cluster.token("--label", "rack=r9", "--label", "tier=edge")
        node = self.cluster.add_node("labelled", token)
        node.start()
        self.addCleanup(node.stop)
        shown = self.cluster.ctl_json("node", "show", "labelled")
        self.assertEqual({"rack": "r9", "tier": "edge"}, shown["labels"])
        file = make_file(self.source.share / "racked.bin", 5000, seed="racked")
        self.cluster.publish("n1", file, "images/racked")
        self.push("images/racked", "racked.bin", to="rack=r9 & tier=edge")
        self.assert_copies(file, node.root / "racked.bin")
        self.assertFalse((self.receivers[0].root / "racked.bin").exists())

    def test_waits_for_a_node_that_is_away(self):
        file = make_file(self.source.share / "patient.bin", 1 * MiB, seed="patient")
        self.cluster.publish("n1", file, "images/patient")
        away = self.cluster.nodes["n4"]
        away.stop()
        push = self.cluster.start_ctl("push", "images/patient", "--to", "n3,n4", "--path",
                                      "patient.bin")
        wait_until(lambda: (self.cluster.nodes["n3"].root / "patient.bin").exists(),
                   what="the node that is there has the file")
        away.start()
        self.assertEqual(0, self.cluster.finish(push).code)
        self.assert_copies(file, away.root / "patient.bin")


if __name__ == "__main__":
    main()
