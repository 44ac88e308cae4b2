#!/usr/bin/python3
"""What the commands print: data on stdout, JSON that parses, the facts that people look for."""

import json

from cluster import ClusterTest, MiB, main, make_file, wait_until


class Commands(ClusterTest):
    nodes = ("n1", "n2", "n3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        file = make_file(cls.cluster.nodes["n1"].share / "base.img", 3 * MiB)
        cls.content = cls.cluster.publish("n1", file, "images/base")
        cls.cluster.ctl_ok("push", "images/base", "--to", "n2", "--path", "base.img")
        cls.pushed = cls.cluster.jobs()[0]["id"]

    def test_status_counts_nodes_files_and_jobs(self):
        status = self.cluster.ctl_json("status")
        self.assertEqual("e2e", status["cluster"])
        self.assertEqual(3, status["nodes"])
        self.assertEqual(3, status["nodes_online"])
        self.assertGreaterEqual(status["files"], 1)
        self.assertIn("e2e", self.cluster.ctl_ok("status").out)

    def test_node_list_and_show_name_roots_shares_and_state(self):
        nodes = {node["name"]: node for node in self.cluster.ctl_json("node", "list")["nodes"]}
        self.assertEqual({"n1", "n2", "n3"}, set(nodes))
        shown = self.cluster.ctl_json("node", "show", "n2")
        self.assertTrue(shown["online"])
        self.assertEqual([str(self.cluster.nodes["n2"].root)], shown["roots"])
        self.assertEqual([str(self.cluster.nodes["n2"].share)], shown["shares"])
        self.assertEqual(nodes["n2"]["id"], shown["id"])
        self.assertIn("n2", self.cluster.ctl_ok("node", "list").out)

    def test_node_label_sets_changes_and_removes_labels(self):
        def labels():
            return self.cluster.ctl_json("node", "show", "n3")["labels"]

        self.cluster.ctl_ok("node", "label", "n3", "rack=r1", "tier=edge")
        self.assertEqual({"rack": "r1", "tier": "edge"}, labels())
        self.cluster.ctl_ok("node", "label", "n3", "rack=r2", "tier=")
        self.assertEqual({"rack": "r2"}, labels())
        self.cluster.ctl_ok("push", "images/base", "--to", "rack=r2", "--path", "labelled.img")
        self.assertTrue((self.cluster.nodes["n3"].root / "labelled.img").exists())

    def test_labels_outlive_a_restart_of_the_tracker(self):
        self.cluster.ctl_ok("node", "label", "n2", "kept=yes")
        self.cluster.tracker.restart()
        # The tests after this one count nodes that are online.
        wait_until(lambda: self.cluster.ctl_json("status")["nodes_online"] == 3, 20,
                   "the nodes are connected again")
        self.assertEqual("yes", self.cluster.ctl_json("node", "show", "n2")["labels"]["kept"])
        self.assertEqual(self.content, self.cluster.ctl_json("file", "show", "images/base")
                         ["content_id"])
        self.assertEqual("succeeded", self.cluster.job(self.pushed)["state"])

    def test_file_list_and_show_give_size_root_and_content_id(self):
        names = [file["name"] for file in self.cluster.ctl_json("file", "list")["files"]]
        self.assertIn("images/base", names)
        shown = self.cluster.ctl_json("file", "show", "images/base")
        self.assertEqual(self.content, shown["content_id"])
        self.assertEqual(3 * MiB, int(shown["total_bytes"]))
        self.assertEqual("base.img", shown["original_name"])
        self.assertEqual("n1", shown["published_by"])
        self.assertRegex(shown["root"], r"^[0-9a-f]{64}$")

    def test_versions_count_up_and_latest_is_the_last(self):
        share = self.cluster.nodes["n1"].share
        for version in ("1", "2"):
            file = make_file(share / f"counted-{version}", 1000, seed=version)
            self.cluster.publish("n1", file, "apps/counted")
            shown = self.cluster.ctl_json("file", "show", "apps/counted")
            self.assertEqual(version, shown["version"])
            self.assertTrue(shown["latest"])
        self.assertFalse(self.cluster.ctl_json("file", "show", "apps/counted@1")["latest"])

    def test_file_locate_names_every_holder_and_its_path(self):
        holders = {holder["node"]: holder for holder in
                   self.cluster.ctl_json("file", "locate", "images/base")["holders"]}
        self.assertTrue({"n1", "n2"} <= set(holders), holders)
        self.assertTrue(holders["n2"]["complete"])
        self.assertEqual(str(self.cluster.nodes["n2"].root / "base.img"), holders["n2"]["path"])

    def test_job_list_and_show_give_states_counts_and_tasks(self):
        self.assertIn(self.pushed, [job["id"] for job in self.cluster.jobs()])
        job = self.cluster.job(self.pushed)
        self.assertEqual(("push", "succeeded", True, 0),
                         (job["kind"], job["state"], job["finished"], job["exit_code"]))
        self.assertEqual(1, job["counts"]["succeeded"])
        self.assertEqual(["n2"], [task["node"] for task in job["tasks"]])
        self.assertTrue(job["tasks"][0]["durable"])
        self.assertIn("n2", self.cluster.ctl_ok("job", "show", self.pushed).out)

    def test_plan_says_what_each_node_would_fetch_and_changes_nothing(self):
        jobs = len(self.cluster.jobs())
        plan = self.cluster.ctl_json("plan", "images/base", "--to", "n2 | n3")
        self.assertEqual(self.content, plan["content_id"])
        nodes = {node["node"]: node for node in plan["nodes"]}
        self.assertEqual(0, int(nodes["n2"]["fetch_bytes"]))
        self.assertTrue(nodes["n2"]["exact"])
        lines = self.cluster.ctl_ok("plan", "images/base", "--to", "n2", "-o", "jsonl").out
        self.assertEqual("n2", json.loads(lines)["node"])
        self.assertIn("has it already",
                      self.cluster.ctl_ok("plan", "images/base", "--to", "n2").out)
        self.assertEqual(1, self.cluster.ctl("plan", "images/none", "--to", "n2").code)
        self.assertEqual(jobs, len(self.cluster.jobs()))

    def test_job_watch_of_a_finished_job_ends_at_once_with_its_exit_code(self):
        self.assertEqual(0, self.cluster.ctl("job", "watch", self.pushed, timeout=10).code)

    def test_job_watch_in_jsonl_ends_with_the_finished_job(self):
        out = self.cluster.ctl_ok("job", "watch", self.pushed, "-o", "jsonl").out
        last = json.loads(out.strip().splitlines()[-1])
        self.assertEqual((self.pushed, True), (last["id"], last["finished"]))

    def test_every_command_prints_one_json_document_with_o_json(self):
        file = make_file(self.cluster.nodes["n1"].share / "json.bin", 1000, seed="json")
        other = self.cluster.folder / "json-init"
        for args in (("status",), ("node", "list"), ("node", "show", "n1"),
                     ("node", "label", "n1", "a=b"), ("file", "list"),
                     ("file", "show", "images/base"), ("file", "locate", "images/base"),
                     ("plan", "images/base", "--to", "n2"), ("job", "list"),
                     ("job", "show", self.pushed), ("job", "watch", self.pushed),
                     ("token", "create"), ("publish", f"n1:{file}", "--name", "a/json"),
                     ("push", "a/json", "--to", "n2", "--path", "json.bin"),
                     ("push", "a/json", "--to", "n3", "--path", "json.bin", "--detach")):
            with self.subTest(" ".join(args)):
                out = self.cluster.ctl_ok(*args, "-o", "json").out
                self.assertIsInstance(json.loads(out), dict)
        made = self.cluster.ctl_ok("init", "--tracker-data", other / "tracker", "--name", "json",
                                   "-o", "json", P2PCTL_HOME=str(other / "home"))
        self.assertIsInstance(json.loads(made.out), dict)

    def test_lists_in_jsonl_are_one_object_a_line(self):
        for kind in ("node", "file", "job"):
            out = self.cluster.ctl_ok(kind, "list", "-o", "jsonl").out
            objects = [json.loads(line) for line in out.splitlines()]
            self.assertGreater(len(objects), 0)
            self.assertTrue(all("name" in one or "id" in one for one in objects), out)

    def test_errors_are_json_too(self):
        run = self.cluster.ctl("file", "show", "images/none", "-o", "json")
        self.assertEqual(1, run.code, run)
        self.assertEqual("not_found", json.loads(run.err)["error"]["code"])

    def test_stdout_carries_data_and_no_escape_codes(self):
        for args in (("token", "create"), ("node", "list"), ("status",)):
            run = self.cluster.ctl_ok(*args)
            self.assertNotIn("\x1b", run.out + run.err)
        self.assertRegex(self.cluster.ctl_ok("token", "create").out, r"^p2pd1\.\S+\n$")

    def test_version_is_printed_by_every_program(self):
        self.assertRegex(self.cluster.ctl_ok("--version").out, r"\d+\.\d+")


class Restarts(ClusterTest):
    nodes = ("n1", "n2")

    def test_end_cleanly_and_lose_nothing(self):
        file = make_file(self.cluster.nodes["n1"].share / "f", 100_000)
        self.cluster.publish("n1", file, "a/f")
        for program in (self.cluster.tracker, *self.cluster.nodes.values()):
            program.restart()
        self.cluster.ctl_ok("push", "a/f", "--to", "n2", "--path", "f")
        self.assert_copies(file, self.cluster.nodes["n2"].root / "f")


if __name__ == "__main__":
    main()
