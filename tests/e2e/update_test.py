#!/usr/bin/python3
"""Pushing a new version to nodes that have an old one: only what is new is fetched."""

import random

from cluster import ClusterTest, MiB, main

PAGE = 4096


def edited(data, pages, seed):
    """The bytes with so many of their pages overwritten."""
    draw = random.Random(seed)
    out = bytearray(data)
    for page in draw.sample(range(len(out) // PAGE), pages):
        out[page * PAGE:(page + 1) * PAGE] = draw.randbytes(PAGE)
    return bytes(out)


class Update(ClusterTest):
    nodes = ("n1", "n2", "n3")

    def setUp(self):
        super().setUp()
        # One cluster for all tests: each has files of its own.
        self.name = self.id().rpartition("test_")[2]
        self.old = random.Random(self.name).randbytes(12 * MiB)
        self.new = edited(self.old, 30, 2)

    def put(self, node, name, data):
        file = self.cluster.nodes[node].share / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def publish(self, node, version, data, *args):
        file = self.put(node, f"{self.name}/{version}/disk.img", data)
        self.cluster.ctl_ok("publish", f"{node}:{file}", "--name", f"images/{self.name}@{version}", *args)
        return file

    def push(self, version, path, *args, to="n[2-3]"):
        self.cluster.ctl_ok("push", f"images/{self.name}@{version}", "--to", to, "--path",
                            f"{self.name}/{path}", *args)
        return {task["node"]: task
                for task in self.cluster.job(self.cluster.newest_job()["id"])["tasks"]}

    def assert_content(self, path, data, *nodes):
        for node in nodes:
            self.assertEqual(data, (self.cluster.nodes[node].root / self.name / path).read_bytes())

    def assert_updated(self, task, most):
        """Fetched at most so many bytes, and the rest from the old file."""
        self.assertLessEqual(int(task["bytes_received"]), most, task)
        self.assertGreaterEqual(int(task["bytes_copied"]), len(self.new) - most, task)

    def test_with_a_recipe_fetches_the_new_bytes_only(self):
        self.publish("n1", "1", self.old)
        self.push("1", "disk.img")
        self.publish("n1", "2", self.new)
        tasks = self.push("2", "disk.img")
        self.assert_content("disk.img", self.new, "n2", "n3")
        for task in tasks.values():
            self.assert_updated(task, 30 * PAGE + 8192)
            self.assertIn(f"recipe from images/{self.name}@1", task["basis"])

    def test_without_a_recipe_looks_for_the_blocks_of_a_signature(self):
        self.publish("n1", "1", self.old)
        self.push("1", "disk.img", to="n3")
        # n2 has never had version 1, so it cannot make a recipe.
        self.publish("n2", "2", self.new)
        task = self.push("2", "disk.img", to="n3")["n3"]
        self.assert_content("disk.img", self.new, "n3")
        self.assert_updated(task, 30 * 1024 * 8 + len(self.new) // 1024 * 8 + 20000)
        self.assertIn("signature", task["basis"])

    def test_keeps_the_old_file_where_the_new_one_has_another_name(self):
        self.publish("n1", "1", self.old)
        self.push("1", "v1.img")
        self.publish("n1", "2", self.new)
        for task in self.push("2", "v2.img").values():
            self.assert_updated(task, 30 * PAGE + 8192)
        self.assert_content("v1.img", self.old, "n2", "n3")
        self.assert_content("v2.img", self.new, "n2", "n3")

    def test_to_nothing_and_back_is_no_special_case(self):
        for version, data in enumerate((self.old, b"", self.new, b"x"), 1):
            self.publish("n1", str(version), data)
            self.push(str(version), "disk.img")
            self.assert_content("disk.img", data, "n2", "n3")

    def test_says_why_the_named_old_file_was_not_the_one(self):
        self.publish("n1", "1", self.old)
        self.push("1", "disk.img", to="n2")
        self.publish("n1", "2", self.new)
        root = self.cluster.nodes["n2"].root
        (root / "empty").write_bytes(b"")
        for basis, why in (("empty", "the basis is empty"), ("no\nsuch", "cannot be read")):
            task = self.push("2", "beside.img", "--basis", basis, to="n2")["n2"]
            (root / self.name / "beside.img").unlink()
            self.assertIn(why, task["basis"])
            self.assertNotIn("\n", task["basis"])
            self.assertGreater(int(task["bytes_copied"]), len(self.new) // 2, task)

    def test_fetches_everything_when_told_to(self):
        self.publish("n1", "1", self.old)
        self.push("1", "disk.img")
        self.publish("n1", "2", self.new)
        for task in self.push("2", "disk.img", "--no-delta").values():
            self.assertGreaterEqual(int(task["bytes_received"]), len(self.new))
            self.assertEqual(0, int(task["bytes_copied"]))
        self.assert_content("disk.img", self.new, "n2", "n3")


if __name__ == "__main__":
    main()
