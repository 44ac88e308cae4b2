"""bench/landing kill: kill -9 at random points of a push to four nodes.

The kinds of victims take turns; which node and which moment is drawn from (seed, number), so that
one point can be made again with --first N --count 1. An eighth of the points lies in the first
50 ms of the push, an eighth in the last 50 ms of what an undisturbed one takes, an eighth in the
50 ms after the first copy got its final name, the rest anywhere.
"""

import contextlib
import random
import shutil
import statistics
import subprocess
import time

from common import loopback_bytes, make_dense, size_text
from landing_cluster import LONG, e2e, helpers_of, processes_of, running_cluster

RECEIVERS = ("r1", "r2", "r3", "r4")
NODES = ("source", *RECEIVERS)
VICTIMS = ("receiver", "source", "tracker", "helper", "all")
EDGE_SECONDS = 0.05
PATH = "images/image.bin"
NO_TRACKER = 7  # exit code of p2pctl
UNDISTURBED = 3


class Point:
    """One kill: of whom, and when."""

    def __init__(self, seed, number, victims):
        self.number = number
        self.draw = random.Random(f"{seed}:{number}")
        self.victim = victims[number % len(victims)]
        self.node = self.draw.choice(RECEIVERS)
        self.phase = self.draw.choice(("start", "end", "landing", *5 * ("any",)))
        self.where = self.draw.random()
        self.overwrites = self.draw.random() < 0.5  # an older file lies at the destination
        self.looks = self.draw.random() < 0.5       # at the copies, before the restart
        self.away = self.draw.choice((0, 0, 0.3))   # seconds until the restart

    def __str__(self):
        whom = self.node if self.victim == "receiver" else self.victim
        if self.victim == "helper":
            whom = f"helper of {self.node}"
        return f"point {self.number} ({whom}, {self.phase} {self.where:.3f})"

    def wait(self, begin, duration, copies):
        """Until its moment. `duration` is what an undisturbed push takes."""
        if self.phase == "landing":
            marks = [mark_of(copy) for copy in copies]
            while all(mark_of(copy) == mark for copy, mark in zip(copies, marks)):
                if time.monotonic() > begin + duration + 5:
                    raise TimeoutError(f"no copy landed within {duration + 5:.1f} s")
                time.sleep(0.001)
            time.sleep(self.where * EDGE_SECONDS)
            return
        at = {"start": self.where * EDGE_SECONDS,
              "end": duration - self.where * EDGE_SECONDS,
              "any": self.where * duration}[self.phase]
        time.sleep(max(0, begin + at - time.monotonic()))

    def programs(self, cluster):
        if self.victim == "all":
            return [cluster.tracker, *cluster.nodes.values()]
        if self.victim == "tracker":
            return [cluster.tracker]
        return [cluster.nodes["source" if self.victim == "source" else self.node]]


def mark_of(path):
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


class Kills:
    """A cluster, pushes on it, and what became of them."""

    def __init__(self, cluster, args):
        self.cluster = cluster
        self.args = args
        self.copies = [cluster.nodes[name].root / PATH for name in RECEIVERS]
        self.old = None  # content of the copies that lie there

    def new_file(self, tag):
        """A content that no node has seen, published; returns (path, name)."""
        self.wait_online()
        share = self.cluster.nodes["source"].share
        for path in share.iterdir():
            path.unlink()
        file = make_dense(share / f"{tag}.bin", self.args.size, f"{self.args.seed}:{tag}")
        name = f"bench/{tag}"
        self.cluster.publish("source", file, name)
        return file, name

    def wait_online(self):
        """After a kill of the tracker its nodes come back when they notice."""
        e2e.wait_until(lambda: all(node.get("online") for node in
                                   self.cluster.ctl_json("node", "list").get("nodes", [])),
                       20, "every node is online")

    def clear(self):
        """The next push shall find nothing."""
        for copy in self.copies:
            copy.unlink(missing_ok=True)
        self.old = None

    def start_push(self, name):
        return self.cluster.start_ctl("push", name, "--to", ",".join(RECEIVERS), "--path", PATH,
                                      "--limit", self.args.limit)

    def undisturbed(self, number):
        """(seconds, bytes on the interface) of a push that nothing happens to."""
        _, name = self.new_file(f"undisturbed-{number}")
        self.clear()
        traffic, begin = loopback_bytes(), time.monotonic()
        run = self.cluster.finish(self.start_push(name), LONG)
        if run.code != 0:
            raise RuntimeError(f"the undisturbed push exits with {run.code}: {run.err}")
        return time.monotonic() - begin, loopback_bytes() - traffic

    def kill(self, point):
        """Ends the victims, and checks that what they started ends too. Returns complaints."""
        programs = point.programs(self.cluster)
        if point.victim == "helper":
            killed = helpers_of(programs[0])
            for helper in killed:
                helper.kill()
            # One that is being killed still counts for a moment.
            e2e.wait_until(lambda: not any(helper.runs() for helper in killed), 5)
            # An agent without its helper ends by itself, or starts another one.
            with contextlib.suppress(TimeoutError):
                e2e.wait_until(lambda: programs[0].process.poll() is not None
                               or helpers_of(programs[0]), 5)
            if programs[0].process.poll() is not None:
                programs[0].kill()
            return [] if programs[0].process is None or helpers_of(programs[0]) else [
                "the agent goes on without its helper"]
        families = [processes_of(program) for program in programs]
        for program in programs:
            program.process.kill()
        for program in programs:
            program.kill()
        orphans = [helper for family in families for helper in family[1:]]
        with contextlib.suppress(TimeoutError):
            e2e.wait_until(lambda: not any(helper.runs() for helper in orphans), 5)
        left = [helper for helper in orphans if helper.runs()]
        for helper in left:
            helper.kill()
        return [f"{len(left)} helpers outlive their agent"] if left else []

    def restart(self, point):
        programs = [program for program in point.programs(self.cluster) if program.process is None]
        for program in programs:
            program.launch()
        for program in programs:
            program.wait_ready()

    def torn(self, file):
        """Names of receivers whose path holds neither the old file nor the whole new one."""
        new = file.read_bytes()
        wrong = []
        for name, copy in zip(RECEIVERS, self.copies):
            found = copy.read_bytes() if copy.exists() else None
            if found not in (self.old, new):
                wrong.append(name)
        return wrong

    def finish(self, push, name):
        """Follows the push to its end, asking again when it ended for want of a tracker. Returns
        (how often it was asked again, complaints)."""
        again = 0
        while True:
            run = self.cluster.finish(push, 120)
            if run.code != NO_TRACKER or again == 3:
                break
            again += 1
            push = self.start_push(name)
        complaints = []
        if run.code != 0:
            complaints.append(f"the push exits with {run.code}: {run.text.strip()}")
        return again, complaints

    def unfinished_jobs(self):
        """An earlier push, whose command lost its tracker, may have been made all the same."""
        complaints = []
        with contextlib.suppress(TimeoutError):
            e2e.wait_until(lambda: all(job.get("finished") for job in self.cluster.jobs()), 60)
        for job in self.cluster.jobs():
            if not job.get("finished"):
                complaints.append(f"job {job['id']} does not end")
                self.cluster.ctl("job", "cancel", job["id"])
        return complaints

    def note_parts(self, file):
        """Called while the victims are down."""

    def fetched_too_much(self):
        """Complaints about what was fetched although it was there."""
        return []

    def left_behind(self):
        found = e2e.leftovers(self.cluster.folder / "nodes") + e2e.leftovers(
            self.cluster.folder / "share")
        return [f"left behind: {' '.join(found)}"] if found else []

    def make(self, point, duration, traffic):
        """One point; returns what was measured. `traffic` is that of an undisturbed push."""
        if not point.overwrites:
            self.clear()
        file, name = self.new_file(f"point-{point.number}")
        before, begin = loopback_bytes(), time.monotonic()
        push = self.start_push(name)
        point.wait(begin, duration, self.copies)
        at = time.monotonic() - begin
        complaints = self.kill(point)
        down = time.monotonic()
        self.note_parts(file)
        if point.looks:
            complaints += [f"neither old nor new at {who}" for who in self.torn(file)]
        time.sleep(max(0, down + point.away - time.monotonic()))
        up = time.monotonic()
        self.restart(point)
        again, more = self.finish(push, name)
        seconds = time.monotonic() - up
        again_bytes = loopback_bytes() - before - traffic
        complaints += more + self.unfinished_jobs()
        expected = e2e.digest(file)
        for who, copy in zip(RECEIVERS, self.copies):
            if not copy.exists():
                complaints.append(f"no copy at {who}")
            elif e2e.digest(copy) != expected:
                complaints.append(f"wrong bytes at {who}")
        complaints += self.left_behind() + self.fetched_too_much()
        complaints += [f"{program.name} has ended with {program.process.poll()}"
                       for program in (self.cluster.tracker, *self.cluster.nodes.values())
                       if program.process.poll() is not None]
        self.old = file.read_bytes()
        return {"point": point.number, "victim": point.victim, "node": point.node,
                "phase": point.phase, "killed_after_seconds": round(at, 4),
                "asked_again": again, "seconds_from_restart": round(seconds, 3),
                "bytes_again": again_bytes, "complaints": complaints}


def save_logs(cluster, folder, point):
    if folder:
        target = folder / f"point-{point.number}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(cluster.folder / "logs", target)


def make_points(args, points, kind):
    """Makes points on one cluster until one fails; yields the result of each."""
    with running_cluster(*NODES) as cluster:
        kills = kind(cluster, args)
        base = [kills.undisturbed(number) for number in range(UNDISTURBED)]
        duration = statistics.median(seconds for seconds, _ in base)
        traffic = statistics.median(count for _, count in base)
        print(f"an undisturbed push: {duration:.2f} s, {size_text(traffic)} on the interface",
              flush=True)
        kills.old = kills.copies[0].read_bytes()
        while points:
            point = points.pop(0)
            if point.victim == "helper" and not helpers_of(cluster.nodes[point.node]):
                point.victim = "receiver"  # one process a node: there is no helper to kill
                print(f"point {point.number}: {point.node} has no helper process, it is killed "
                      "itself", flush=True)
            try:
                result = kills.make(point, duration, traffic)
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as error:
                result = {"point": point.number, "victim": point.victim, "node": point.node,
                          "phase": point.phase, "complaints": [f"{type(error).__name__}: {error}"]}
            yield result
            if not result["complaints"]:
                print(f"{point}: killed after {result['killed_after_seconds']:.2f} s, done "
                      f"{result['seconds_from_restart']:.2f} s after the restart, "
                      f"{size_text(result['bytes_again'])} again", flush=True)
            else:
                print(f"FAILED {point}: {'; '.join(result['complaints'])}", flush=True)
                save_logs(cluster, args.logs, point)
                return  # what follows shall not suffer from it: with a fresh cluster


def print_summary(results):
    print(f"{'victim':10} {'kills':>6} {'failed':>7} {'asked again':>12} "
          f"{'seconds from restart':>21} {'bytes fetched again':>29}")
    print(f"{'':10} {'':6} {'':7} {'':12} {'median':>10} {'most':>10} {'median':>14} {'most':>14}")
    for victim in (*VICTIMS, "together"):
        of = [one for one in results if victim in (one["victim"], "together")]
        good = [one for one in of if not one["complaints"]]
        if not of:
            continue
        line = (f"{victim:10} {len(of):6} {len(of) - len(good):7} "
                f"{sum(one.get('asked_again', 0) for one in of):12}")
        if good:
            seconds = [one["seconds_from_restart"] for one in good]
            again = [one["bytes_again"] for one in good]
            line += (f" {statistics.median(seconds):10.2f} {max(seconds):10.2f}"
                     f" {size_text(statistics.median(again)):>14} {size_text(max(again)):>14}")
        print(line, flush=True)


def run(args, kind=Kills, point=Point, again="bench/landing kill"):
    """Makes the points that the command line names; `kind` makes the pushes, `point` draws
    the moments, `again` is the command that makes one of them again."""
    victims = tuple(args.victims.split(",")) if args.victims else VICTIMS
    last = args.points if args.count is None else min(args.points, args.first + args.count)
    points = [point(args.seed, number, victims) for number in range(args.first, last)]
    results = []
    while points:
        before = len(points)
        try:
            for result in make_points(args, points, kind):
                results.append(result)
        except RuntimeError as error:
            if not results:
                raise
            # A daemon that ends badly when it is asked to end.
            print(f"FAILED after point {results[-1]['point']}: {error}", flush=True)
            results[-1]["complaints"].append(str(error))
        if len(points) == before:
            raise RuntimeError("no point was made")
    print_summary(results)
    failed = [one["point"] for one in results if one["complaints"]]
    for number in failed:
        print(f"again: {again} --seed {args.seed} --size {args.size} --limit "
              f"{args.limit} --first {number} --count 1"
              + (f" --victims {args.victims}" if args.victims else ""))
    return {"results": results}, not failed
