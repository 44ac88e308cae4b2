"""bench/update kill: kill -9 at random points of updates from version to version.

The points are those of bench/landing kill. Every push is a new version of one image, with 5 % of
the pages overwritten. While the victims are down, the chunks in each part that are right already
are looked for: after the restart, no more may be fetched than what is missing in the others. Nodes
that go on may lose what was on its way from the dead.
"""

import pathlib
import re
import shutil

import landing_kill
from common import size_of
from landing_kill import RECEIVERS, VICTIMS, Kills
from update_data import PAGE, change_pages, make_image

CHANGED = 0.05
ON_ITS_WAY = 4  # chunks that a node may have begun to get from one that is killed


class Updates(Kills):
    """Pushes of one version after the other."""

    def __init__(self, cluster, args):
        super().__init__(cluster, args)
        self.share = cluster.nodes["source"].share
        self.version = self.share / "v0.img"
        make_image(self.version, args.size, args.seed)
        cluster.publish("source", self.version, "bench/image")
        cluster.ctl_ok("push", "bench/image", "--to", ",".join(RECEIVERS), "--path",
                       landing_kill.PATH)
        self.chunk = int(cluster.ctl_json("file", "show", "bench/image")["chunk_bytes"])
        self.pages = set()   # that differ from the version before
        self.victims = set()  # nodes that were killed
        self.parts = {}      # node -> chunks of its part that are right
        self.marks = {}      # node -> where its log ends
        self.overhead = None  # bytes beside the pages, of an undisturbed push

    def new_file(self, tag):
        for path in self.share.iterdir():
            if path != self.version:
                path.unlink()
        newer = self.share / f"{tag}.img"
        shutil.copyfile(self.version, newer)
        self.pages = set(change_pages(newer, self.args.size - self.args.size % PAGE, CHANGED,
                                      f"{self.args.seed}:{tag}"))
        self.wait_online()
        self.cluster.publish("source", newer, "bench/image")
        self.version = newer
        self.victims, self.parts = set(), {}
        self.mark_logs()
        return newer, "bench/image"

    def mark_logs(self):
        self.marks = {name: self.cluster.nodes[name].log.stat().st_size for name in RECEIVERS}

    def clear(self):
        """What lies there is what the update begins with."""

    def undisturbed(self, number):
        measured = super().undisturbed(number)
        beside = max(sum(self.fetched(name)) - self.missing(name) for name in RECEIVERS)
        self.overhead = max(beside, self.overhead or 0)
        return measured

    def note_parts(self, file):
        self.victims = {name for name in RECEIVERS if self.cluster.nodes[name].process is None}
        for name in self.victims:
            node = self.cluster.nodes[name]
            parts = list(node.root.rglob(".p2pd-*.part"))
            if parts:
                self.parts[name] = same_chunks(parts[0], file, self.chunk)
                self.marks[name] = node.log.stat().st_size

    def missing(self, name):
        """Bytes that this node may fetch."""
        right = self.parts.get(name, set())
        if not self.args.has_delta:
            return self.args.size - len(right) * self.chunk
        return sum(PAGE for page in self.pages if page * PAGE // self.chunk not in right)

    def fetched(self, name):
        """Bytes that this node received, duplicates left out, for each file that landed."""
        with self.cluster.nodes[name].log.open("rb") as log:
            log.seek(self.marks[name])
            text = log.read().decode(errors="replace")
        return [int(received) - int(again) for received, again in re.findall(
            r" transfer landed .*received=(\d+) duplicate=(\d+)", text)]

    def fetched_too_much(self):
        complaints = []
        for name in RECEIVERS:
            for count in self.fetched(name):
                allowed = self.missing(name) + self.overhead
                if name not in self.victims:
                    allowed += ON_ITS_WAY * self.chunk
                if count > allowed:
                    there = len(self.parts.get(name, ()))
                    complaints.append(f"{name} fetches {count - allowed} bytes that it had "
                                      f"({count} in all, {there} chunks were there)")
        return complaints


def same_chunks(one, other, chunk):
    """Numbers of the chunks that are equal in two files."""
    same, number = set(), 0
    with one.open("rb") as a, other.open("rb") as b:
        while piece := b.read(chunk):
            if a.read(chunk) == piece:
                same.add(number)
            number += 1
    return same


class Overwriting(landing_kill.Point):
    def __init__(self, *args):
        super().__init__(*args)
        self.overwrites = True


def run(args):
    return landing_kill.run(args, kind=Updates, point=Overwriting, again="bench/update kill")


def add_arguments(parser):
    parser.add_argument("--points", type=int, default=100, help="how many kills a whole run has")
    parser.add_argument("--first", type=int, default=0, help="the first of them to make")
    parser.add_argument("--count", type=int, help="how many of them to make (default: the rest)")
    parser.add_argument("--victims", help=f"only these: {','.join(VICTIMS)}")
    parser.add_argument("--size", type=size_of, default="64MiB")
    parser.add_argument("--limit", default="8MB/s", help="of the push to four nodes, which need "
                        f"{100 * CHANGED:.0f} %% of the image each")
    parser.add_argument("--logs", type=pathlib.Path, help="keeps the logs of failures here")


def need_of(args):
    return 12 * args.size
