"""What tests of updates have in common: two versions of a file that differ in a page of each chunk,
so that what must be fetched is known to the byte."""

import pathlib
import random

from cluster import ClusterTest, MiB
from hint_maker import Version

PAGE = 4096
CHUNK = 256 * 1024
CHUNKS = 32
SIZE = CHUNKS * CHUNK
# In each chunk the new page begins here, in a block of its own.
NEW_AT = 4 * 16384
MISSING = CHUNKS * PAGE
assert SIZE == 8 * MiB


def with_new_pages(data, seed, at=NEW_AT, length=PAGE):
    """The bytes with new ones here in each chunk."""
    draw = random.Random(seed)
    out = bytearray(data)
    for chunk in range(CHUNKS):
        begin = chunk * CHUNK + at
        # No byte of it is the old one: what a copy may reach to is known.
        mask = int.from_bytes(draw.randbytes(length).replace(b"\0", b"\1"), "big")
        old = int.from_bytes(data[begin:begin + length], "big")
        out[begin:begin + length] = (old ^ mask).to_bytes(length, "big")
    return bytes(out)


def copies(chunk):
    """What the new version has of the old one in this chunk: (offset, old offset, length)."""
    begin = chunk * CHUNK
    page = begin + NEW_AT
    return [(begin, begin, NEW_AT), (page + PAGE, page + PAGE, CHUNK - NEW_AT - PAGE)]


class UpdateCase(ClusterTest):
    """One cluster for all tests: each has files of its own."""

    def setUp(self):
        super().setUp()
        self.name = self.id().rpartition("test_")[2]
        self.old = random.Random(self.name).randbytes(SIZE)
        self.new = with_new_pages(self.old, 2)

    def node(self, name):
        return self.cluster.nodes[name]

    def copy_at(self, node, path="disk.img") -> pathlib.Path:
        return self.node(node).root / self.name / path

    def publish(self, node, version, data, *args):
        file = self.node(node).share / self.name / version / "disk.img"
        file.parent.mkdir(parents=True)
        file.write_bytes(data)
        return Version(self.cluster, self.cluster.ctl_ok(
            "publish", f"{node}:{file}", "--name", f"images/{self.name}@{version}",
            *args).out.strip())

    def push_args(self, version, to, *args, path="disk.img"):
        return ("push", f"images/{self.name}@{version}", "--to", to, "--path",
                f"{self.name}/{path}", *args)

    def push(self, version, to, *args, path="disk.img"):
        """Pushes to the end, and returns the tasks by node."""
        self.cluster.ctl_ok(*self.push_args(version, to, *args, path=path))
        return self.newest_tasks()

    def running_push(self, version, to, limit):
        """A push in the background that has begun, and its job."""
        return self.cluster.running_push(*self.push_args(version, to, "--limit", limit)[1:])

    def newest_tasks(self):
        return {task["node"]: task
                for task in self.cluster.job(self.cluster.jobs()[0]["id"])["tasks"]}

    def log_of(self, node):
        """What a node, or the tracker, has said in this test, line by line."""
        log = self.cluster.tracker.log if node == "tracker" else self.node(node).log
        with log.open("rb") as stream:
            stream.seek(self.cluster.log_offsets.get(log, 0))
            return stream.read().decode(errors="replace").splitlines()

    def lines(self, node, *words):
        return [line for line in self.log_of(node) if all(word in line for word in words)]

    def assert_content(self, data, *nodes, path="disk.img"):
        for node in nodes:
            # Not assertEqual: it would print both.
            self.assertTrue(data == self.copy_at(node, path).read_bytes(), f"{node}: other bytes")

    def assert_received(self, task, least, most):
        received = int(task["bytes_received"])
        self.assertTrue(least <= received <= most, f"{least} <= {received} <= {most}: {task}")

    def assert_no_blame(self):
        """Nobody says that a hint was wrong."""
        self.assertEqual([], self.lines("tracker", "led to wrong bytes"))
        self.assertEqual([], self.lines("tracker", "too many nodes"))

    def assert_all_run(self):
        for program in (self.cluster.tracker, *self.cluster.nodes.values()):
            if program.process:
                self.assertIsNone(program.process.poll(), f"{program.name} has ended")
