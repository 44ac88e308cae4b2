#!/usr/bin/python3
"""p2pctl node remove: a node is cut off everywhere, also when the tracker is gone right after it."""

import signal

from cluster import ClusterTest, MiB, main, make_file, wait_until

SIZE = 24 * MiB


class Removal(ClusterTest):
    nodes = ("n1", "n2", "n3", "n4")

    def setUp(self):
        super().setUp()
        self.file = make_file(self.cluster.nodes["n1"].share / f"{self._testMethodName}.bin", SIZE,
                              seed=self._testMethodName)
        self.name = "images/" + self._testMethodName.replace("_", "-")
        self.cluster.publish("n1", self.file, self.name)

    def parts_of(self, node):
        return list(self.cluster.nodes[node].root.glob(".p2pd-*"))

    def bytes_on(self, node):
        return sum(part.stat().st_blocks * 512 for part in self.parts_of(node))

    def n4_stands_still_while_n2_goes_on(self):
        still, begin = self.bytes_on("n4"), self.bytes_on("n2")
        wait_until(lambda: self.bytes_on("n2") >= begin + 2 * MiB, 30, "n2 goes on")
        return self.bytes_on("n4") == still

    def test_in_mid_push_ends_its_task_and_no_other(self):
        push, job = self.cluster.running_push(self.name, "--to", "n2 | n3", "--path", "mid.bin",
                                              "--limit", "12MB/s")
        self.cluster.wait_bytes(job, 0.2, "n3")
        said = self.cluster.ctl_ok("node", "remove", "n3")
        self.assertIn("n3", said.text)
        run = self.cluster.finish(push)
        self.assertEqual(2, run.code, run)
        self.assert_copies(self.file, self.cluster.nodes["n2"].root / "mid.bin")
        self.assertIn("removed from the cluster", self.cluster.task(job, "n3")["detail"])
        names = {node["name"] for node in self.cluster.ctl_json("node", "list")["nodes"]}
        self.assertNotIn("n3", names)
        self.assertNotEqual(0, self.cluster.ctl("node", "show", "n3").code)
        self.assertNotEqual(0, self.cluster.ctl("push", self.name, "--to", "n3", "--path",
                                                "x").code)

    def test_cuts_a_node_off_within_five_seconds_with_the_tracker_gone(self):
        push, job = self.cluster.running_push(self.name, "--to", "n2 | n4", "--path", "gone.bin",
                                              "--limit", "2MB/s")
        self.cluster.wait_bytes(job, 0.05, "n4")
        # It sleeps while it is removed, so that nobody tells it: the others must not serve it.
        removed = self.cluster.nodes["n4"].process
        removed.send_signal(signal.SIGSTOP)
        try:
            self.cluster.ctl_ok("node", "remove", "n4")
            for node in ("n1", "n2"):
                wait_until(lambda n=node: "a newer deny-list" in self.cluster.nodes[n].log.read_text(),
                           5, f"the deny-list reaches {node}")
            self.cluster.tracker.kill()
        finally:
            removed.send_signal(signal.SIGCONT)
        # What was on its way still arrives; then it gets nothing, while n2 goes on.
        wait_until(self.n4_stands_still_while_n2_goes_on, 20, "nobody gives n4 anything")
        self.assertTrue(self.n4_stands_still_while_n2_goes_on())
        # The others go on without the tracker.
        self.cluster.tracker.start()
        run = self.cluster.finish(push)
        self.assertEqual(2, run.code, run)
        self.assert_copies(self.file, self.cluster.nodes["n2"].root / "gone.bin")
        wait_until(lambda: "removed" in self.cluster.nodes["n4"].log.read_text(),
                   what="the removed node says in its log that it was removed")


if __name__ == "__main__":
    main()
