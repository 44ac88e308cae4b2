#!/usr/bin/python3
"""What may happen to an old file, to the nodes, and to the push while a new version comes."""

import os
import subprocess

from cluster import MiB, leftovers, main, wait_until
from hint_maker import RECIPE, SIGNATURE, HintMaker, recipe, signature
from updates import CHUNK, CHUNKS, MISSING, PAGE, SIZE, UpdateCase, copies, with_new_pages

# The manifest, and a recipe of one page a chunk.
SMALL = 4096
# New in each chunk, where an update has to last a while: a cap lets one request through at once.
STRETCH = 64 * 1024
ALL_COPIES = [c for chunk in range(CHUNKS) for c in copies(chunk)]


def rewrite(path):
    """The upper half in place, with other bytes."""
    with path.open("r+b") as stream:
        stream.seek(SIZE // 2)
        stream.write(b"\xa5" * (SIZE // 2))


def rewrite_unnoticed(path):
    before = path.stat()
    rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path):
    os.truncate(path, SIZE // 2)


def replace(path):
    other = path.with_name("other.img")
    other.write_bytes(b"\x5a" * SIZE)
    other.rename(path)


def delete(path):
    path.unlink()


class OldFile(UpdateCase):
    """Somebody changes the old file at n2; n3 is not to notice."""

    nodes = ("n1", "n2", "n3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.maker = HintMaker(cls.cluster, "maker")
        cls.addClassCleanup(cls.maker.close)

    def versions(self, *args):
        first = self.publish("n1", "1", self.old)
        self.push("1", "n[2-3]")
        return first, self.publish("n1", "2", self.new, *args)

    def assert_updated(self, tasks, least, most, missing=MISSING):
        """n2 has fetched so many bytes more than n3 has, which fetched what is new."""
        self.assert_received(tasks["n3"], missing, missing + SMALL)
        self.assert_received(tasks["n2"], missing + least, missing + SMALL + most)
        self.assert_content(self.new, "n2", "n3")
        self.assert_no_blame()
        self.assert_all_run()
        for node in ("n2", "n3"):
            self.assertEqual([], leftovers(self.node(node).root))

    # Before the push.

    def push_after(self, change, least, most):
        self.versions()
        change(self.copy_at("n2"))
        self.assert_updated(self.push("2", "n[2-3]"), least, most)

    def test_rewritten_before_the_push(self):
        self.push_after(rewrite, SIZE // 2 - MISSING // 2, SIZE // 2 + SIZE // 128)

    def test_truncated_before_the_push(self):
        self.push_after(truncate, SIZE // 2 - MISSING // 2, SIZE // 2 + SIZE // 128)

    def test_replaced_before_the_push(self):
        self.push_after(replace, SIZE - MISSING, SIZE - MISSING + SIZE // 128)

    def test_deleted_before_the_push(self):
        self.push_after(delete, SIZE - MISSING, SIZE - MISSING)

    # After it was opened, and before it is known what of it is of use.

    def push_while_matching(self, change, least, most):
        first, second = self.versions("--no-delta")
        job = self.maker.take_part(f"images/{self.name}@2")
        hint = recipe(first.file, second.file, ALL_COPIES)
        self.maker.make(RECIPE, hint, second, first)
        self.maker.before = lambda: change(self.copy_at("n2"))
        n2 = self.push("2", "n2")["n2"]
        self.assertIsNone(self.maker.before)
        self.cluster.ctl_ok("job", "cancel", job)
        n3 = self.push("2", "n3")["n3"]
        self.assert_updated({"n2": n2, "n3": n3}, least, most)
        return n2

    def test_rewritten_during_the_match(self):
        task = self.push_while_matching(rewrite, 1, SIZE)
        self.assertIn("somebody has written to it meanwhile", task["basis"])

    def test_rewritten_during_the_match_with_its_time_set_back(self):
        task = self.push_while_matching(rewrite_unnoticed, 1, SIZE)
        self.assertIn("somebody has written to it meanwhile", task["basis"])

    def test_truncated_during_the_match(self):
        task = self.push_while_matching(truncate, 1, SIZE)
        self.assertIn("somebody has written to it meanwhile", task["basis"])

    def test_replaced_during_the_match(self):
        task = self.push_while_matching(replace, 0, 0)
        self.assertIn("recipe from", task["basis"])

    def test_deleted_during_the_match(self):
        task = self.push_while_matching(delete, 0, 0)
        self.assertIn("recipe from", task["basis"])

    def push_while_sampled(self, change, made_of, blamed):
        """Nobody knows what the old file is: a signature of these bytes is looked for in it."""
        second = self.publish("n1", "2", self.new, "--no-delta")
        self.copy_at("n2").parent.mkdir()
        self.copy_at("n2").write_bytes(self.old)
        job = self.maker.take_part(f"images/{self.name}@2")
        self.maker.make(SIGNATURE, signature(made_of), second)
        self.maker.before = lambda: change(self.copy_at("n2"))
        task = self.push("2", "n2")["n2"]
        self.cluster.ctl_ok("job", "cancel", job)
        self.assert_content(self.new, "n2")
        self.assertEqual(blamed, len(self.lines("tracker", "led to wrong bytes", "maker=maker")))
        self.assert_all_run()
        return task

    def test_a_right_signature_of_a_member(self):
        task = self.push_while_sampled(lambda _: None, self.new, blamed=0)
        self.assert_received(task, MISSING, MISSING + SIZE // 128 + SMALL)

    def test_rewritten_before_the_blocks_of_a_signature_are_looked_for(self):
        task = self.push_while_sampled(rewrite, self.new, blamed=0)
        self.assert_received(task, SIZE // 2, SIZE // 2 + MISSING + SIZE // 128 + SMALL)

    def test_truncated_before_the_blocks_of_a_signature_are_looked_for(self):
        task = self.push_while_sampled(truncate, self.new, blamed=0)
        self.assert_received(task, SIZE // 2, SIZE + SIZE // 128 + SMALL)

    def test_a_signature_of_the_old_file_leads_to_wrong_bytes_only_where_it_is_new(self):
        task = self.push_while_sampled(lambda _: None, self.old, blamed=1)
        self.assert_received(task, MISSING, SIZE + SIZE // 128 + SMALL + MISSING)
        self.assertIn("its hint has led to wrong bytes 3 times", task["basis"])

    # While the new file is put together.

    def push_while_assembling(self, change, least, most):
        self.new = with_new_pages(self.old, 2, length=STRETCH)
        self.versions()
        push, job = self.running_push("2", "n[2-3]", "2MB/s")
        self.cluster.wait_bytes(job, 0.1, "n2")
        change(self.copy_at("n2"))
        done = int(self.cluster.task(job, "n2")["bytes_done"])
        self.assertLess(done, 0.6 * SIZE, "changed too late")
        run = self.cluster.finish(push)
        self.assertEqual(0, run.code, run)
        tasks = self.newest_tasks()
        self.assert_updated(tasks, least, most, missing=CHUNKS * STRETCH)
        return tasks["n2"]

    def test_rewritten_during_assembly(self):
        task = self.push_while_assembling(rewrite, 1, SIZE)
        self.assertIn("somebody has written to it meanwhile", task["basis"])

    def test_truncated_during_assembly(self):
        task = self.push_while_assembling(truncate, 1, SIZE)
        self.assertIn("somebody has written to it meanwhile", task["basis"])

    def test_replaced_during_assembly(self):
        self.push_while_assembling(replace, 0, 0)

    def test_deleted_during_assembly(self):
        self.push_while_assembling(delete, 0, 0)


class Nodes(UpdateCase):
    """Nodes end in the middle of an update, or stand differently when it begins."""

    nodes = ("n1", "n2", "n3", "n4")

    def versions(self):
        self.publish("n1", "1", self.old)
        self.push("1", "n[2-3]")
        return self.publish("n1", "2", self.new)

    def finish(self, push, *nodes):
        run = self.cluster.finish(push)
        self.assertEqual(0, run.code, run)
        self.assert_content(self.new, *nodes)
        for node in nodes:
            self.assertEqual([], leftovers(self.node(node).root))
        self.assert_no_blame()
        return self.newest_tasks()

    def test_the_receiver_is_killed_at_several_moments(self):
        self.new = with_new_pages(self.old, 2, length=STRETCH)
        self.versions()
        push, job = self.running_push("2", "n2", "400KB/s")
        for fraction in (0.05, 0.6, 0.8):
            self.cluster.wait_bytes(job, fraction, "n2")
            self.node("n2").kill()
            self.node("n2").start()
        self.finish(push, "n2")
        resumed, landed = ([dict(word.split("=", 1) for word in line.split() if "=" in word)
                            for line in self.lines("n2", f"transfer {what}", f"job={job}")]
                           for what in ("resumed", "landed"))
        chunks = [int(line["chunks"]) for line in resumed]
        self.assertEqual(sorted(chunks), chunks)
        # 6 chunks a second, and every 2 s they are recorded.
        self.assertGreaterEqual(chunks[-1], CHUNKS // 4, resumed)
        # What the last process has fetched: nothing of what was on record.
        self.assertEqual(1, len(landed))
        fetched = int(landed[0]["received"])
        self.assertLessEqual(fetched, (CHUNKS - chunks[-1]) * STRETCH, resumed)
        self.assertEqual(0, fetched % STRETCH)

    def test_the_source_is_killed(self):
        self.new = with_new_pages(self.old, 2, length=STRETCH)
        self.versions()
        push, job = self.running_push("2", "n[2-3]", "2MB/s")
        self.cluster.wait_bytes(job, 0.2)
        self.node("n1").kill()
        self.node("n1").start()
        for task in self.finish(push, "n2", "n3").values():
            # What was on its way comes twice.
            self.assert_received(task, CHUNKS * STRETCH, (CHUNKS + 4) * STRETCH + SMALL)

    def test_the_tracker_restarts_between_publish_and_push(self):
        self.versions()
        self.cluster.tracker.kill()
        self.cluster.tracker.start()
        wait_until(lambda: all(n["online"] for n in self.cluster.ctl_json("node", "list")["nodes"]),
                   what="all nodes are online")
        for task in self.push("2", "n[2-3]").values():
            self.assert_received(task, MISSING, MISSING + SMALL)
            self.assertIn(f"recipe from images/{self.name}@1", task["basis"])
        self.assertEqual([], self.lines("tracker", "asked for before the push"))
        self.assert_content(self.new, "n2", "n3")

    def test_nodes_with_the_old_version_with_nothing_and_with_the_new_one(self):
        self.versions()
        self.push("2", "n3")
        tasks = self.push("2", "n[2-4]")
        self.assert_received(tasks["n2"], MISSING, MISSING + SMALL)
        self.assert_received(tasks["n3"], 0, 0)
        self.assertEqual("already there", tasks["n3"]["detail"])
        self.assert_received(tasks["n4"], SIZE, SIZE + SMALL)
        self.assert_content(self.new, "n2", "n3", "n4")

    def test_two_versions_for_one_path_at_once(self):
        self.new = with_new_pages(self.old, 2, length=STRETCH)
        self.versions()
        third = with_new_pages(self.new, 3, at=9 * 16384)
        self.publish("n1", "3", third)
        push, _ = self.running_push("2", "n[2-3]", "4MB/s")
        later = self.cluster.start_ctl(*self.push_args("3", "n[2-3]"))
        for process in (push, later):
            run = self.cluster.finish(process)
            self.assertEqual(0, run.code, run)
        self.assert_content(third, "n2", "n3")
        for task in self.newest_tasks().values():
            # From the second version, which is there by then; its recipe was not offered, because
            # the first one was there when this push began.
            self.assert_received(task, MISSING, MISSING + SIZE // 128 + SMALL)
        for node in ("n2", "n3"):
            self.assertEqual([], leftovers(self.node(node).root))

    def test_no_room_for_both_versions(self):
        if os.geteuid() != 0:
            self.skipTest("a small file system is mounted, which needs root")
        folder = self.copy_at("n2").parent
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"mount is refused here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(folder)], check=True)
        self.node("n2").restart()
        second = self.versions()
        run = self.cluster.ctl(*self.push_args("2", "n[2-3]"))
        self.assertEqual(2, run.code, run)
        tasks = self.newest_tasks()
        self.assertRegex(tasks["n2"]["detail"],
                         r"disk full: 8\.00 MiB are still needed, 4\.00 MiB are free")
        # The manifest says how much is needed.
        self.assert_received(tasks["n2"], 0, len(second.body))
        self.assert_content(self.old, "n2")
        self.assertEqual(["disk.img"], os.listdir(folder))
        self.assert_received(tasks["n3"], MISSING, MISSING + SMALL)
        self.assert_content(self.new, "n3")


if __name__ == "__main__":
    main()
