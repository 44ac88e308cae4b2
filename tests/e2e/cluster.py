"""A real cluster on loopback in one temporary folder: a tracker, agents, and p2pctl to drive them.

Programs come from $P2P_BUILD (a build folder; CMake sets it), by default build/release. Every port
is chosen by the kernel and read from a ready file; nothing sleeps for a fixed time but polls with a
deadline, which $P2P_SLOWNESS (a factor, for sanitizers) stretches.
"""

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("P2P_BUILD", ROOT / "build" / "release"))
SLOWNESS = float(os.environ.get("P2P_SLOWNESS", "1"))
TRACKER = BUILD / "tracker" / "p2p-tracker"
AGENT = BUILD / "p2pd" / "p2pd"
CTL = BUILD / "tools" / "p2pctl" / "p2pctl"
MiB = 1 << 20
EXEC_ANY = ("--exec", "any")  # for p2pd run


class Run(collections.namedtuple("Run", "code out err")):
    """A finished p2pctl or p2pd join."""

    @property
    def text(self):
        """Everything that it said: the summary of a push is data, an error is not."""
        return self.out + self.err


def wait_until(condition, timeout=20, what="the condition"):
    """Polls until condition() is true and returns what it returned; TimeoutError otherwise."""
    deadline = time.monotonic() + timeout * SLOWNESS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not true after {timeout * SLOWNESS:g} s")
        time.sleep(0.02)


def waits_of(pid):
    """What each thread of a process waits for in the kernel: "main: futex_wait, ..."."""
    waits = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            state = (task / "stat").read_text().rsplit(")", 1)[1].split()[0]
            call = (task / "syscall").read_text().split()[0]
            waits.append(f"{(task / 'comm').read_text().strip()} {state} "
                         f"{(task / 'wchan').read_text()} (system call {call})")
    return ", ".join(waits)


class Program:
    """A daemon: started with a ready file, stopped with SIGTERM, its output in a log."""

    def __init__(self, name, folder):
        self.name = name
        self.log = folder / f"{name}.log"
        self.ready_file = folder / f"{name}.ready"
        self.process = None
        self.ready = {}

    def command(self):
        raise NotImplementedError

    def launch(self):
        """Starts it without waiting until it is ready."""
        assert self.process is None, f"{self.name} runs already"
        self.ready_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, self.command()), "--ready-file", str(self.ready_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        self.launch()
        self.wait_ready()

    def wait_ready(self):
        def is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode} at its start")
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                return json.loads(self.ready_file.read_text())
            return None

        self.ready = wait_until(is_ready, 20, f"{self.name} is ready")

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """Asks it to end, and insists that it ends well: 0, or by the signal itself."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(10 * SLOWNESS)
        except subprocess.TimeoutExpired:
            waits = waits_of(process.pid)
            process.kill()
            process.wait()
            raise RuntimeError(f"{self.name} does not end on SIGTERM: {waits}") from None
        if code not in (0, -signal.SIGTERM):
            raise RuntimeError(f"{self.name} ended with {code} after SIGTERM")

    def restart(self):
        self.stop()
        self.start()


class Tracker(Program):
    def __init__(self, folder):
        super().__init__("tracker", folder / "logs")
        self.data = folder / "tracker"

    def command(self):
        # After a restart at the same addresses: agents and p2pctl know those.
        return [TRACKER, "--data", self.data, "--listen", self.ready.get("listen", "127.0.0.1:0"),
                "--api", self.ready.get("api", "127.0.0.1:0")]


class Node(Program):
    def __init__(self, folder, name, extra):
        super().__init__(name, folder / "logs")
        self.data = folder / "data" / name
        self.root = folder / "nodes" / name
        self.share = folder / "share" / name
        self.extra = extra
        self.root.mkdir(parents=True)
        self.share.mkdir(parents=True)

    def command(self):
        return [AGENT, "run", "--data", self.data, "--root", self.root, "--share", self.share,
                "--listen", self.ready.get("listen", "127.0.0.1:0"), *self.extra]

    def identity_file(self):
        """Its key and certificate chain."""
        return next(self.data.rglob("identity.pem"))


class Cluster:
    def __init__(self, name="e2e"):
        for program in (TRACKER, AGENT, CTL):
            if not program.exists():
                raise FileNotFoundError(f"{program}: build first, or set P2P_BUILD")
        self.name = name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="p2pd-e2e-"))
        self.home = self.folder / "home"
        (self.folder / "logs").mkdir()
        self.nodes = {}
        self.tracker = Tracker(self.folder)
        self.commands = []  # p2pctl processes in the background
        self.log_offsets = {}

    # Making it.

    def start(self, *nodes):
        """init, a tracker, and these nodes, joined with one token and online."""
        made = self.ctl("init", "--tracker-data", self.tracker.data, "--name", self.name, "--api",
                        "127.0.0.1:1")
        if made.code != 0:
            raise RuntimeError(f"init: {made}")
        self.tracker.start()
        if nodes:
            token = self.token("--uses", len(nodes))
            for name in nodes:
                self.add_node(name, token).launch()
            for name in nodes:
                self.nodes[name].wait_ready()
        return self

    def token(self, *args):
        return self.ctl_ok("token", "create", *args).out.strip()

    def add_node(self, name, token, *, join_args=(), run_args=()):
        """Joins a node and does not start it."""
        node = Node(self.folder, name, run_args)
        joined = self.join(node.data, token, "--name", name, *join_args)
        if joined.code != 0:
            raise RuntimeError(f"join {name}: {joined}")
        self.nodes[name] = node
        return node

    def join(self, data, token, *args):
        return self._run([AGENT, "join", "--tracker", self.tracker.ready["listen"], "--token",
                          token, "--data", data, *args])

    # Talking to it.

    def environment(self, **changes):
        env = {**os.environ, "P2PCTL_HOME": str(self.home), **changes}
        if "api" in self.tracker.ready:
            env.setdefault("P2PCTL_API", self.tracker.ready["api"])
        return env

    def _run(self, command, timeout=60, **env):
        done = subprocess.run([*map(str, command)], env=self.environment(**env), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=timeout * SLOWNESS)
        return Run(done.returncode, done.stdout, done.stderr)

    def ctl(self, *args, timeout=60, **env):
        """Runs p2pctl to its end: Run(code, out, err). Keywords change its environment."""
        return self._run([CTL, *args], timeout, **env)

    def ctl_ok(self, *args, **kw):
        run = self.ctl(*args, **kw)
        if run.code != 0:
            raise AssertionError(f"p2pctl {' '.join(map(str, args))} exited with {run.code}:\n"
                                 f"{run.out}{run.err}")
        return run

    def ctl_json(self, *args, **kw):
        return json.loads(self.ctl_ok(*args, "-o", "json", **kw).out)

    def start_ctl(self, *args):
        """p2pctl in the background; finish it with finish()."""
        process = subprocess.Popen([str(CTL), *map(str, args)], env=self.environment(), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.commands.append(process)
        return process

    def finish(self, process, timeout=60):
        out, err = process.communicate(timeout=timeout * SLOWNESS)
        self.commands.remove(process)
        return Run(process.returncode, out, err)

    def jobs(self):
        """Newest first, without tasks."""
        return self.ctl_json("job", "list").get("jobs", [])

    def job(self, job_id):
        return self.ctl_json("job", "show", job_id)

    def newest_job(self):
        return self.job(self.jobs()[0]["id"])

    def task(self, job_id, node):
        return next(task for task in self.job(job_id)["tasks"] if task["node"] == node)

    def publish(self, node, file, name):
        """Publishes a file of the node's share and returns its content id."""
        return self.ctl_ok("publish", f"{node}:{file}", "--name", name).out.strip()

    def wait_bytes(self, job_id, fraction, node=None):
        """Until the job (or its task on one node) has this fraction of its bytes."""
        def reached():
            what = self.task(job_id, node) if node else self.job(job_id)
            return int(what["bytes_done"]) >= fraction * max(1, int(what["bytes_total"]))

        wait_until(reached, 30, f"{job_id} has {fraction:.0%}")

    def running_push(self, *args):
        """Starts a push in the background and returns (process, job id) once it moves bytes."""
        before = {job["id"] for job in self.jobs()}
        process = self.start_ctl("push", *args)

        def new_job():
            if process.poll() is not None:
                raise AssertionError(f"the push ended early: {self.finish(process)}")
            return next((job for job in self.jobs()
                         if job["id"] not in before and int(job["bytes_done"]) > 0), None)

        return process, wait_until(new_job, 20, "the push moves bytes")["id"]

    # Ending it.

    def mark_logs(self):
        """What show_logs() shows begins here."""
        self.log_offsets = {log: log.stat().st_size for log in (self.folder / "logs").glob("*.log")}

    def show_logs(self, lines=40):
        for log in sorted((self.folder / "logs").glob("*.log")):
            with log.open("rb") as stream:
                stream.seek(self.log_offsets.get(log, 0))
                text = stream.read().decode(errors="replace").splitlines()
            print(f"--- {log.name}, the last {min(lines, len(text))} of {len(text)} lines",
                  *text[-lines:], sep="\n", flush=True)

    def close(self):
        """Ends everything and removes the folder; raises when a daemon ended badly."""
        complaints = []
        try:
            for process in self.commands:
                process.kill()
                process.communicate()
            for program in [*self.nodes.values(), self.tracker]:
                try:
                    program.stop()
                except RuntimeError as error:
                    complaints.append(str(error))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        if complaints:
            raise RuntimeError("; ".join(complaints))


class ClusterTest(unittest.TestCase):
    """One cluster for the class (`nodes` names its agents), logs of a failed test printed."""

    nodes = ()
    cluster = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.close_cluster)
        try:
            cls.cluster.start(*cls.nodes)
        except Exception:
            cls.cluster.show_logs()
            raise

    @classmethod
    def close_cluster(cls):
        cls.cluster.close()

    def run(self, result=None):
        self._result = result
        return super().run(result)

    def setUp(self):
        self.cluster.mark_logs()
        self.addCleanup(self._show_logs_of_failure)

    def _show_logs_of_failure(self):
        if any(test is self for test, _ in self._result.failures + self._result.errors):
            print(f"\n=== logs of {self.id()}", flush=True)
            self.cluster.show_logs()

    def assert_copies(self, source, *copies):
        for copy in copies:
            self.assertEqual(digest(source), digest(copy), f"{copy} differs from {source}")

    def assert_no_job_started(self, *args):
        """Runs p2pctl, expects no new job, and returns the Run."""
        before = [job["id"] for job in self.cluster.jobs()]
        run = self.cluster.ctl(*args)
        self.assertEqual(before, [job["id"] for job in self.cluster.jobs()], run)
        return run


def make_file(path, size, seed=1):
    """A file of pseudo-random bytes, the same for the same seed; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        block = hashlib.shake_256(str(seed).encode())
        while size > 0:
            piece = block.digest(min(size, MiB))
            stream.write(piece)
            size -= len(piece)
            block = hashlib.shake_256(piece[:64])
    return path


def digest(path):
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def leftovers(folder):
    """Our temporary names below a folder."""
    return sorted(str(path) for path in folder.rglob(".p2pd-*"))


def main():
    unittest.main(verbosity=2)
