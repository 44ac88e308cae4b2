"""bench/command kill: kill -9 at random moments of a task.

The task appends the id of its run (P2PD_RUN) to a file, on three nodes. Whom it hits, when, and
what else happens is drawn from (seed, number), so that one point can be made again with --first N
--count 1. Checked: no id is there twice; exited(0) has its line, and what did not begin has none;
every job ends; and nothing is added later, also not when everything is started again.
"""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import random
import shutil
import tempfile
import time

from command_parts import RUN_ARGS, e2e, raise_descriptor_limit
from landing_cluster import Process, helpers_of, processes_of

NODES = ("n1", "n2", "n3")
# agent: all of p2pd but the shims; face: the process that the network sees; both: agent and
# tracker at once; all: both and every shim.
VICTIMS = ("agent", "tracker", "both", "face", "shim", "all")
COMMAND = 'echo "$P2PD_RUN" >> "$1"; sleep "$2"'
EDGE_SECONDS = 0.06
WITHOUT_LINE = ("rejected", "expired", "undeliverable", "skipped", "queued", "offered")
ENDS = ("exited", "rejected", "undeliverable", "expired", "timed_out+killed", "cancelled", "lost",
        "skipped")
JOB_ENDS = 60  # seconds


class Point:
    """One kill: of whom, when, and what the task is."""

    def __init__(self, seed, number, victims):
        self.number = number
        draw = random.Random(f"{seed}:{number}")
        self.victim = victims[number % len(victims)]
        self.node = draw.choice(NODES)
        self.sleep = draw.choice((0, 0, 0.05, 0.3))
        self.queue = draw.random() < 0.5         # --offline queue
        self.cancels = draw.random() < 0.15      # soon after the kill
        self.edge = draw.random() < 0.5          # right after the command line has begun
        self.where = draw.random()
        self.again = draw.random() < 0.25        # a second kill, of the same, soon after
        self.away = draw.choice((0, 0, 0.1, 0.4))  # seconds until the restart
        self.pause = draw.random() * 0.2         # before the second kill

    def __str__(self):
        whom = self.victim if self.victim in ("tracker", "all") else f"{self.victim} {self.node}"
        return (f"point {self.number} ({whom}, {'edge ' if self.edge else ''}{self.where:.3f}, sleep "
                f"{self.sleep}{', queue' if self.queue else ''}{', cancel' if self.cancels else ''}"
                f"{', twice' if self.again else ''})")


def shims_of(everything):
    """Of these processes, those that own a command."""
    found = []
    for process in everything:
        with contextlib.suppress(OSError):
            words = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            if words[1:2] == [b"shim"]:
                found.append(process)
    return found


def orphaned_shims(folder):
    """Shims below no agent any more: their working folder or descriptors are in the cluster's."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[1:2] != [b"shim"]:
                continue
            links = [os.readlink(link) for link in (entry / "fd").iterdir()]
            if any(link.startswith(str(folder)) for link in links):
                found.append(Process(int(entry.name)))
    return found


class Scene:
    """A cluster, tasks on it, and what became of them."""

    def __init__(self, args, number):
        self.args = args
        self.cluster = e2e.Cluster(f"kill{number}")
        # Its account is nobody's: it may neither look into the cluster's folder nor write there.
        self.room = pathlib.Path(tempfile.mkdtemp(prefix="p2pd-kill-"))
        self.room.chmod(0o711)
        self.known = {}  # file -> (point, {run id: state}) when its job ended
        self.duration = 0.3

    def start(self):
        self.cluster.start()
        token = self.cluster.token("--uses", len(NODES))
        for name in NODES:
            self.cluster.add_node(name, token, run_args=RUN_ARGS).launch()
        for name in NODES:
            self.cluster.nodes[name].wait_ready()
        times = []
        for number in range(3):
            begin = time.monotonic()
            run = self.cluster.finish(self.begin(self.new_file(f"calm-{number}"), 0, False))
            if run.code != 0:
                raise RuntimeError(f"the undisturbed task exits with {run.code}: {run.text}")
            times.append(time.monotonic() - begin)
        self.duration = sorted(times)[1]
        return self

    def close(self):
        try:
            for shim in orphaned_shims(self.cluster.folder):
                shim.kill()
            self.cluster.close()
        finally:
            shutil.rmtree(self.room, ignore_errors=True)

    def new_file(self, name):
        file = self.room / name
        file.touch()
        file.chmod(0o666)
        return file

    def begin(self, file, sleep, queue):
        options = ("--offline", "queue", "--ttl", "30s") if queue else ()
        return self.cluster.start_ctl("exec", "--to", ",".join(NODES), "--timeout", "20s", *options,
                                      "--", "sh", "-c", COMMAND, "sh", file, sleep)

    def wait_online(self):
        e2e.wait_until(lambda: sum(bool(node.get("online")) for node in
                                   self.cluster.ctl_json("node", "list").get("nodes", []))
                       == len(NODES), 30, "every node is online")

    def programs(self, point):
        node = self.cluster.nodes[point.node]
        return {"agent": [node], "face": [node], "shim": [], "tracker": [self.cluster.tracker],
                "both": [node, self.cluster.tracker],
                "all": [*self.cluster.nodes.values(), self.cluster.tracker]}[point.victim]

    def kill(self, point):
        """Ends the victims, and checks that what belongs to them ends too. Returns complaints."""
        if point.victim == "shim":
            for shim in shims_of(helpers_of(self.cluster.nodes[point.node])):
                shim.kill()
            for shim in orphaned_shims(self.cluster.nodes[point.node].data):
                shim.kill()
            return []
        programs = [program for program in self.programs(point) if program.process is not None]
        families = [process for program in programs for process in processes_of(program)]
        shims = shims_of(families)
        ends = [process for process in families if not is_of_a_shim(process, shims)]
        doomed = {"face": [], "all": [*ends, *shims]}.get(point.victim, ends)
        for process in doomed:
            process.kill()
        for program in programs:
            program.kill()
        # One that is being killed still counts for a moment; helpers notice what has happened.
        with contextlib.suppress(TimeoutError):
            e2e.wait_until(lambda: not any(process.runs() for process in ends), 5)
        left = [process for process in ends if process.runs()]
        for process in left:
            process.kill()
        return [f"{len(left)} helpers outlive their agent"] if left else []

    def restart(self):
        programs = [program for program in (self.cluster.tracker, *self.cluster.nodes.values())
                    if program.process is None or program.process.poll() is not None]
        complaints = []
        for program in programs:
            if program.process is not None:
                complaints.append(f"{program.name} has ended with {program.process.poll()}")
                program.process = None
            program.launch()
        for program in programs:
            program.wait_ready()
        return complaints

    def jobs_of(self, file):
        """Jobs whose command names the file: there is at most one."""
        return [job for job in self.cluster.jobs()
                if str(file) in job.get("exec", {}).get("command", ())]

    def make(self, point):
        """One point; returns what was seen."""
        self.wait_online()
        file = self.new_file(f"point-{point.number}")
        command = self.begin(file, point.sleep, point.queue)
        span = EDGE_SECONDS if point.edge else self.duration + point.sleep
        time.sleep(point.where * span + (self.duration / 3 if point.edge else 0))
        complaints = self.kill(point)
        if point.again:
            time.sleep(point.away)
            complaints += self.restart()
            time.sleep(point.pause)
            complaints += self.kill(point)
        time.sleep(point.away)
        complaints += self.restart()
        if point.cancels:
            for job in self.jobs_of(file):
                self.cluster.ctl("job", "cancel", job["id"])
        run = self.cluster.finish(command, 90)
        jobs = self.jobs_of(file)
        states = {}
        if len(jobs) > 1:
            complaints.append(f"{len(jobs)} jobs for one command line")
        for job in jobs:
            complaints += self.wait_end(job["id"])
            for one in self.cluster.job(job["id"]).get("runs", []):
                states[one.get("id", one["node"])] = one
        self.known[file] = (point, states)
        if not jobs and run.code == 0:
            complaints.append("the command line exits with 0, and there is no job")
        complaints += check(file, states)
        return {"point": point.number, "victim": point.victim, "text": str(point),
                "exit_code": run.code, "jobs": len(jobs),
                "states": dict(collections.Counter(one["state"] for one in states.values())),
                "complaints": complaints}

    def wait_end(self, job):
        try:
            e2e.wait_until(lambda: self.cluster.job(job).get("finished"), JOB_ENDS)
        except TimeoutError:
            self.cluster.ctl("job", "cancel", job)
            return [f"{job} does not end"]
        return []

    def check_again(self):
        """At the end: everything is started again, and what was said must still be true."""
        for program in (self.cluster.tracker, *self.cluster.nodes.values()):
            program.restart()
        self.wait_online()
        time.sleep(1)
        complaints = []
        for file, (point, states) in self.known.items():
            complaints += [f"{point}: later: {text}" for text in check(file, states)]
            for job in self.jobs_of(file):
                for one in self.cluster.job(job["id"]).get("runs", []):
                    before = states.get(one.get("id", one["node"]), {}).get("state")
                    if before and one["state"] != before:
                        complaints.append(f"{point}: {before} became {one['state']}")
        return complaints


def is_of_a_shim(process, shims):
    """Whether it is a shim, a command of a run, or what that has started."""
    pids = {shim.pid for shim in shims}
    pid = process.pid
    with contextlib.suppress(OSError):
        while pid > 1:
            if pid in pids:
                return True
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return False


def check(file, states):
    """What is wrong with the lines of a task, beside the states of its runs."""
    lines = collections.Counter(file.read_text().split())
    complaints = [f"run {run} has run {count} times" for run, count in lines.items() if count > 1]
    for run, one in states.items():
        state, count = one["state"], lines.get(run, 0)
        if state not in ENDS:
            complaints.append(f"{one['node']} is {state} in a job that has ended")
        if state == "exited" and one.get("has_code") and one.get("code", 0) == 0 and count != 1:
            complaints.append(f"{one['node']} exited with 0 and has {count} lines")
        if count and (state in WITHOUT_LINE or (state == "cancelled" and not one.get("seconds")
                                                and "before" in one.get("detail", ""))):
            complaints.append(f"{one['node']} is {state} and has run")
    complaints += [f"run {run} is in no job and has run" for run in lines if run not in states]
    return complaints


def save_logs(scene, folder, point):
    if folder:
        target = folder / f"point-{point.number}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(scene.cluster.folder / "logs", target)


def make_share(args, number, numbers, victims):
    """The points of one cluster, in a process of its own."""
    results, failed = [], []
    scene = None
    try:
        for point_number in numbers:
            point = Point(args.seed, point_number, victims)
            try:
                if scene is None:
                    scene = Scene(args, number).start()
                result = scene.make(point)
            except (RuntimeError, TimeoutError, AssertionError, OSError) as error:
                result = {"point": point_number, "victim": point.victim, "text": str(point),
                          "states": {}, "complaints": [f"{type(error).__name__}: {error}"]}
            results.append(result)
            if result["complaints"]:
                print(f"FAILED {point}: {'; '.join(result['complaints'])}\n"
                      f"  again: bench/command kill --seed {args.seed} --points {args.points} "
                      f"--first {point_number} --count 1 --clusters 1"
                      f"{' --victims ' + args.victims if args.victims else ''}", flush=True)
                if scene is not None:
                    save_logs(scene, args.logs, point)
                    scene.close()
                scene = None
            elif len(results) % 25 == 0:
                print(f"cluster {number}: {len(results)} of {len(numbers)} points", flush=True)
        if scene is not None:
            failed = scene.check_again()
            for text in failed:
                print(f"FAILED {text}", flush=True)
    finally:
        if scene is not None:
            scene.close()
    return results, failed


def run(args):
    raise_descriptor_limit()
    victims = args.victims.split(",") if args.victims else VICTIMS
    last = args.points if args.count is None else min(args.points, args.first + args.count)
    numbers = list(range(args.first, last))
    begin = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(args.clusters) as pool:
        shares = [pool.submit(make_share, args, number, numbers[number::args.clusters], victims)
                  for number in range(args.clusters)]
        done = [share.result() for share in shares]
    results = sorted((result for share, _ in done for result in share), key=lambda one: one["point"])
    later = [text for _, texts in done for text in texts]
    bad = [result for result in results if result["complaints"]]
    print(f"{'victim':10} {'points':>6} {'failed':>6}  states of the runs")
    for victim in victims:
        mine = [result for result in results if result["victim"] == victim]
        states = collections.Counter()
        for result in mine:
            states.update(result["states"])
        print(f"{victim:10} {len(mine):6} {sum(bool(one['complaints']) for one in mine):6}  "
              + ", ".join(f"{state} {count}" for state, count in states.most_common()))
    print(f"{len(results)} points in {time.monotonic() - begin:.0f} s, seed {args.seed}: "
          f"{len(bad)} failed, {len(later)} complaints afterwards")
    return {"points": results, "later": later}, not bad and not later
