#!/usr/bin/python3
"""What becomes of parts, sources and destinations that somebody meddles with."""

import os
import shutil
import threading

from cluster import ClusterTest, MiB, leftovers, main, make_file, wait_until

SIZE = 8 * MiB


class Landing(ClusterTest):
    nodes = ("n1", "n2", "n3")

    def setUp(self):
        super().setUp()
        self.n1, self.n2, self.n3 = (self.cluster.nodes[name] for name in self.nodes)
        self.file = make_file(self.n1.share / f"{self._testMethodName}.bin", SIZE,
                              seed=self._testMethodName)
        self.name = "images/" + self._testMethodName.replace("_", "-")
        self.cluster.publish("n1", self.file, self.name)
        self.target = f"{self._testMethodName}/image.bin"

    def copy_on(self, node):
        return node.root / self.target

    def begin(self, *nodes, rate="2MB/s", source=None, fraction=0.3):
        """A push that is under way: its process and its job."""
        push, job = self.cluster.running_push(source or self.name, "--to", " | ".join(nodes),
                                              "--path", self.target, "--limit", rate)
        self.cluster.wait_bytes(job, fraction, nodes[0])
        return push, job

    def part_on(self, node):
        parts = list(self.copy_on(node).parent.glob(".p2pd-*"))
        self.assertEqual(1, len(parts), parts)
        return parts[0]

    def assert_no_parts(self, node):
        wait_until(lambda: leftovers(node.root) == [], what=f"no part is left on {node.name}")

    def log_of(self, node):
        return node.log.read_text(errors="replace")

    # ---- the agent was away ------------------------------------------------------------------

    def test_a_part_whose_job_was_cancelled_meanwhile_is_removed(self):
        push, job = self.begin("n2")
        self.n2.kill()
        self.cluster.ctl_ok("job", "cancel", job)
        self.assertEqual(5, self.cluster.finish(push).code)
        self.assertNotEqual([], leftovers(self.n2.root))
        self.n2.start()
        self.assert_no_parts(self.n2)

    def test_the_same_when_the_records_were_lost(self):
        push, job = self.begin("n2")
        self.n2.kill()
        self.cluster.ctl_ok("job", "cancel", job)
        self.assertEqual(5, self.cluster.finish(push).code)
        (self.n2.data / "state" / "CURRENT").write_text("nonsense\n")
        self.n2.start()
        self.assert_no_parts(self.n2)

    def test_a_job_that_a_restarted_agent_does_not_know_of_goes_on_with_its_part(self):
        # The records are lost, the part is not: it is hashed, and the rest is fetched.
        push, job = self.begin("n2", fraction=0.5)
        self.n2.kill()
        self.assertFalse(self.copy_on(self.n2).exists(), "killed too late to have a part")
        shutil.rmtree(self.n2.data / "state")
        self.n2.start()
        run = self.cluster.finish(push)
        self.assertEqual(0, run.code, run)
        self.assert_copies(self.file, self.copy_on(self.n2))
        # From nothing it would be 1.5 and more.
        self.assertLess(int(self.cluster.job(job)["source_bytes_sent"]), 1.4 * SIZE)

    def test_a_damaged_store_is_moved_aside_and_said_once(self):
        self.n2.stop()
        (self.n2.data / "state" / "CURRENT").write_text("nonsense\n")
        marked = len(self.log_of(self.n2))
        self.n2.start()
        log = self.log_of(self.n2)[marked:]
        self.assertEqual(1, log.count("moved aside"), log)
        self.assertEqual(1, len(list(self.n2.data.glob("state.damaged-*"))))
        marked = len(self.log_of(self.n2))
        self.n2.restart()
        self.assertNotIn("moved aside", self.log_of(self.n2)[marked:])
        self.cluster.ctl_ok("push", self.name, "--to", "n2", "--path", self.target)
        self.assert_copies(self.file, self.copy_on(self.n2))

    # ---- somebody meddles with the part ------------------------------------------------------

    def meddle(self, meddling):
        """The push to n2 fails with a reason; n3's goes on."""
        push, job = self.begin("n2", "n3")
        meddling(self.part_on(self.n2))
        run = self.cluster.finish(push)
        self.assertEqual(2, run.code, run)
        self.assertFalse(self.copy_on(self.n2).exists())
        self.assert_copies(self.file, self.copy_on(self.n3))
        self.assert_no_parts(self.n2)
        detail = self.cluster.task(job, "n2")["detail"]
        self.assertIn(str(self.copy_on(self.n2)), detail)
        return detail

    def test_a_part_that_is_deleted_fails_that_node_with_the_reason(self):
        self.assertIn("deleted", self.meddle(lambda part: part.unlink()))

    def test_a_part_that_is_cut_short_fails_that_node_with_the_reason(self):
        self.assertIn("shorter", self.meddle(lambda part: os.truncate(part, 1000)))

    def test_a_part_that_is_replaced_by_a_link_leads_nowhere(self):
        outside = self.cluster.folder / "outside.bin"
        outside.write_text("not to be touched")

        def replace(part):
            part.unlink()
            part.symlink_to(outside)

        self.meddle(replace)
        self.assertEqual("not to be touched", outside.read_text())

    def test_a_folder_that_becomes_a_link_out_of_the_root_leads_nowhere(self):
        outside = self.cluster.folder / "elsewhere"
        outside.mkdir()
        push, job = self.begin("n2")
        folder = self.copy_on(self.n2).parent
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(outside)
        run = self.cluster.finish(push)
        self.assertEqual(2, run.code, run)
        self.assertEqual([], list(outside.iterdir()))
        self.assertIn("link", self.cluster.task(job, "n2")["detail"])
        folder.unlink()
        shutil.rmtree(folder.with_name("moved"))

    # ---- the source changes ------------------------------------------------------------------

    def test_a_version_whose_source_changes_is_withdrawn(self):
        push, job = self.begin("n2", "n3")
        with open(self.file, "r+b") as source:
            source.seek(SIZE - 4096)
            source.write(b"x" * 4096)
        run = self.cluster.finish(push)
        self.assertEqual(2, run.code, run)
        for node in ("n2", "n3"):
            self.assertIn("changed at the source", self.cluster.task(job, node)["detail"])
            self.assertFalse(self.copy_on(self.cluster.nodes[node]).exists())
            self.assert_no_parts(self.cluster.nodes[node])
        content = self.cluster.ctl_json("file", "show", self.name)["content_id"]
        for source in (self.name, content):
            again = self.assert_no_job_started("push", source, "--to", "n2", "--path", self.target)
            self.assertEqual(1, again.code, again)
            self.assertIn("changed at the source", again.err)
            self.assertIn("publish it again", again.err)
        self.cluster.publish("n1", self.file, self.name)
        self.cluster.ctl_ok("push", self.name, "--to", "n2", "--path", self.target)
        self.assert_copies(self.file, self.copy_on(self.n2))

    def test_a_restarted_tracker_hears_of_a_source_that_changed_meanwhile(self):
        push, job = self.begin("n2", "n3")
        self.cluster.tracker.kill()
        with open(self.file, "r+b") as source:
            source.seek(SIZE - 4096)
            source.write(b"x" * 4096)
        wait_until(lambda: "reading what is served failed" in self.log_of(self.n1), 30,
                   "the source notices the change")
        self.n1.kill()
        self.n1.launch()
        self.cluster.tracker.start()
        run = self.cluster.finish(push, 90)
        self.assertEqual(2, run.code, run)
        for node in ("n2", "n3"):
            self.assertIn("changed at the source", self.cluster.task(job, node)["detail"])
            self.assert_no_parts(self.cluster.nodes[node])
        self.n1.wait_ready()

    def test_a_job_says_for_which_holder_it_waits(self):
        push, job = self.begin("n2")
        self.n1.stop()
        wait_until(lambda: "waits for n1" in self.cluster.job(job).get("detail", ""),
                   what="the job says for whom it waits")
        self.n1.start()
        self.assertEqual(0, self.cluster.finish(push).code)
        self.assert_copies(self.file, self.copy_on(self.n2))

    def test_a_file_that_never_stands_still_cannot_be_published(self):
        busy = make_file(self.n1.share / "busy.bin", 48 * MiB)
        done = threading.Event()

        def write():
            with open(busy, "r+b", buffering=0) as file:
                while not done.is_set():
                    file.seek(0)
                    file.write(os.urandom(16))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            run = self.cluster.ctl("publish", f"n1:{busy}", "--name", self.name + "-busy")
        finally:
            done.set()
            writer.join()
        self.assertEqual(2, run.code, run)
        self.assertIn("changed while it was hashed, 3 times", run.err)
        self.assertIn(str(busy), run.err)
        self.assertNotEqual(0, self.cluster.ctl("file", "show", self.name + "-busy").code)

    def test_a_source_that_changes_does_not_matter_when_another_node_has_it_all(self):
        self.cluster.ctl_ok("push", self.name, "--to", "n3", "--path", self.target)
        original = self.cluster.folder / "original.bin"
        shutil.copy(self.file, original)
        push, job = self.begin("n2")
        with open(self.file, "r+b") as source:
            source.write(b"x" * SIZE)
        run = self.cluster.finish(push)
        self.assertEqual(0, run.code, run)
        self.assert_copies(original, self.copy_on(self.n2))
        self.cluster.ctl_ok("push", self.name, "--to", "n1", "--path", self.target)
        self.assert_copies(original, self.copy_on(self.n1))

    # ---- one path, two pushes ----------------------------------------------------------------

    def test_a_second_push_to_a_path_waits_however_the_path_is_written(self):
        other = make_file(self.n1.share / f"{self._testMethodName}-2.bin", 1 * MiB, seed=2)
        self.cluster.publish("n1", other, self.name + "-2")
        first, first_job = self.begin("n2")
        second_job = self.cluster.ctl_ok("push", self.name + "-2", "--to", "n2", "--path",
                                         str(self.copy_on(self.n2)), "--detach").out.strip()
        def waits():
            detail = self.cluster.task(second_job, "n2").get("detail", "")
            return detail if "waits for" in detail else None

        self.assertIn(first_job, wait_until(waits, what="the second push says what it waits for"))
        self.assertEqual(0, self.cluster.finish(first).code)
        self.assertEqual(0, self.cluster.ctl("job", "watch", second_job).code)
        self.assert_copies(other, self.copy_on(self.n2))
        self.assert_no_parts(self.n2)

    # ---- holes -------------------------------------------------------------------------------

    def test_holes_stay_holes_unless_allocate_is_asked_for(self):
        sparse = self.n1.share / "sparse.bin"
        with open(sparse, "wb") as file:
            file.truncate(32 * MiB)
            for at in range(0, 32, 8):
                file.seek(at * MiB)
                file.write(os.urandom(64 * 1024))
        self.cluster.publish("n1", sparse, self.name + "-sparse")
        self.cluster.ctl_ok("push", self.name + "-sparse", "--to", "n2", "--path", self.target)
        self.cluster.ctl_ok("push", self.name + "-sparse", "--to", "n3", "--path", self.target,
                            "--allocate")
        self.assert_copies(sparse, self.copy_on(self.n2), self.copy_on(self.n3))
        self.assertLess(self.copy_on(self.n2).stat().st_blocks * 512, 2 * MiB)
        self.assertGreaterEqual(self.copy_on(self.n3).stat().st_blocks * 512, 32 * MiB)


if __name__ == "__main__":
    main()
