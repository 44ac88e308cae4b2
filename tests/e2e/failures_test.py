#!/usr/bin/python3
"""What goes wrong on one node, or on the operator's wish: said, contained, in the exit code."""

import os
import signal
import socket
import subprocess

from cluster import ClusterTest, MiB, leftovers, main, make_file, wait_until


class Failures(ClusterTest):
    nodes = ("n1", "n2", "n3", "n4")

    def setUp(self):
        super().setUp()
        self.source = self.cluster.nodes["n1"]

    def publish(self, size):
        name = self._testMethodName.replace("_", "-")
        file = make_file(self.source.share / f"{name}.bin", size, seed=name)
        self.cluster.publish("n1", file, f"images/{name}")
        return file, f"images/{name}"

    def root(self, name):
        return self.cluster.nodes[name].root

    def test_a_folder_in_the_way_fails_that_node_and_no_other(self):
        file, name = self.publish(2 * MiB)
        (self.root("n3") / "taken").mkdir()
        run = self.cluster.ctl("push", name, "--to", "n[2-4]", "--path", "taken")
        self.assertEqual(2, run.code, run)
        self.assertIn("n3", run.text)
        self.assertIn("folder", run.text)
        self.assert_copies(file, self.root("n2") / "taken", self.root("n4") / "taken")
        self.assertTrue((self.root("n3") / "taken").is_dir())
        job = self.cluster.newest_job()
        task = self.cluster.task(job["id"], "n3")
        self.assertEqual("failed", task["state"])
        self.assertIn("folder", task["detail"])
        self.assertEqual(2, job["counts"]["succeeded"])

    def test_a_file_as_a_folder_of_the_path_fails_that_node(self):
        _, name = self.publish(1000)
        (self.root("n2") / "plain").write_text("a file\n")
        run = self.cluster.ctl("push", name, "--to", "n2,n3", "--path", "plain/below.bin")
        self.assertEqual(2, run.code, run)
        self.assertEqual("a file\n", (self.root("n2") / "plain").read_text())
        self.assertTrue((self.root("n3") / "plain" / "below.bin").exists())

    def test_a_full_disk_fails_that_node_and_no_other(self):
        if os.geteuid() != 0:
            self.skipTest("a small file system is mounted, which needs root")
        small = self.root("n3") / "small"
        small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"mount is refused here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(small)], check=True)
        self.cluster.nodes["n3"].restart()  # what is mounted later is not written to
        file, name = self.publish(16 * MiB)
        run = self.cluster.ctl("push", name, "--to", "n[2-4]", "--path", "small/image.bin")
        self.assertEqual(2, run.code, run)
        self.assertRegex(run.text.lower(), r"space|free|full")
        self.assert_copies(file, self.root("n2") / "small/image.bin",
                           self.root("n4") / "small/image.bin")
        self.assertFalse((small / "image.bin").exists())

    def test_cancel_ends_the_push_with_5_and_leaves_no_file(self):
        _, name = self.publish(24 * MiB)
        push, job = self.cluster.running_push(name, "--to", "n[2-3]", "--path", "cancelled.bin",
                                              "--limit", "4MB/s")
        self.cluster.ctl_ok("job", "cancel", job)
        self.assertEqual(5, self.cluster.finish(push).code)
        self.assertEqual("cancelled", self.cluster.job(job)["state"])
        self.assertEqual(5, self.cluster.job(job)["exit_code"])
        for node in ("n2", "n3"):
            self.assertFalse((self.root(node) / "cancelled.bin").exists())
        self.assertEqual(5, self.cluster.ctl("job", "watch", job).code)

    def test_a_cancelled_push_can_be_done_again(self):
        file, name = self.publish(8 * MiB)
        push, job = self.cluster.running_push(name, "--to", "n2", "--path", "twice.bin",
                                              "--limit", "4MB/s")
        self.cluster.ctl_ok("job", "cancel", job)
        self.cluster.finish(push)
        self.cluster.ctl_ok("push", name, "--to", "n2", "--path", "twice.bin")
        self.assert_copies(file, self.root("n2") / "twice.bin")
        self.assertEqual([], leftovers(self.root("n2")))

    def test_ctrl_c_detaches_and_the_job_goes_on(self):
        file, name = self.publish(8 * MiB)
        push, job = self.cluster.running_push(name, "--to", "n2", "--path", "detached.bin",
                                              "--limit", "2MB/s")
        push.send_signal(signal.SIGINT)
        run = self.cluster.finish(push, 10)
        self.assertEqual(0, run.code, run)
        self.assertIn(f"p2pctl job watch {job}", run.err)
        self.assertFalse(self.cluster.job(job)["finished"])
        self.assertEqual(0, self.cluster.ctl("job", "watch", job).code)
        self.assert_copies(file, self.root("n2") / "detached.bin")

    def test_detach_prints_the_job_alone_and_the_job_goes_on(self):
        file, name = self.publish(1 * MiB)
        run = self.cluster.ctl_ok("push", name, "--to", "n2", "--path", "later.bin", "--detach")
        self.assertRegex(run.out, r"^j\d+\n$")
        self.assertEqual(0, self.cluster.ctl("job", "watch", run.out.strip()).code)
        self.assert_copies(file, self.root("n2") / "later.bin")

    def test_a_node_that_stays_away_too_long_expires_with_3(self):
        _, name = self.publish(1000)
        away = self.cluster.nodes["n4"]
        away.stop()
        self.addCleanup(away.start)
        wait_until(lambda: not self.cluster.ctl_json("node", "show", "n4")["online"],
                   what="the tracker knows that n4 is away")
        run = self.cluster.ctl("push", name, "--to", "n[3-4]", "--path", "e.bin", "--ttl", "1s")
        self.assertEqual(3, run.code, run)
        self.assertTrue((self.root("n3") / "e.bin").exists())
        self.assertEqual("expired",
                         self.cluster.task(self.cluster.newest_job()["id"], "n4")["state"])

    def test_no_tracker_is_7(self):
        with socket.socket() as closed:  # bound and not listening: connections are refused
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
            for args in (("status",), ("node", "list"),
                         ("push", "images/none", "--to", "n2", "--path", "x")):
                run = self.cluster.ctl(*args, P2PCTL_API=address)
                self.assertEqual(7, run.code, run)
                self.assertIn(address, run.err)


if __name__ == "__main__":
    main()
