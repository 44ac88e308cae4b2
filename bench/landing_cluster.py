"""What the checks of bench/landing share: a cluster on loopback, its processes, and bars."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

from common import ROOT, size_text

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import cluster as e2e  # noqa: E402

LONG = 3600  # seconds that a command may take


class Process:
    """One process of a daemon: the one that was started, or a helper that this one started."""

    def __init__(self, pid):
        self.pid = pid
        self.born = self._field(19)  # tells it from a later process with the same number

    def _field(self, number):
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rsplit(")", 1)[1].split()[number]

    def runs(self):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return self._field(19) == self.born and self._field(0) not in "ZX"
        return False

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)

    def peak_bytes(self):
        """The most memory that it ever had resident (VmHWM)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {self.pid} has ended")

    def io(self):
        """The kernel's account: rchar is what read and pread returned, of files and not of
        sockets; read_bytes is what came from the device."""
        text = pathlib.Path(f"/proc/{self.pid}/io").read_text()
        return {key: int(value) for key, value in
                (line.split(": ") for line in text.splitlines())}


def helpers_of(program):
    """The processes below a running program that have not ended, but its launcher: [Process]."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                name, stat = (entry / "stat").read_text().rsplit(")", 1)
                if name.endswith("(p2pd-launcher"):
                    continue
                stat = stat.split()
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [program.process.pid]
    while queue:
        for child in parents.get(queue.pop(), []):
            queue.append(child)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.append(Process(child))
    return [process for process in found if process.runs()]


def processes_of(program):
    return [Process(program.process.pid), *helpers_of(program)]


def peaks(programs):
    """{"n1": bytes, "n1 helper": bytes}: VmHWM of every process of these programs."""
    found = {}
    for program in programs:
        for number, process in enumerate(processes_of(program)):
            name = program.name + ("" if number == 0 else " helper")
            found[name] = max(found.get(name, 0), process.peak_bytes())
    return found


@contextlib.contextmanager
def running_cluster(*nodes, run_args=()):
    """A started cluster; nothing of it is left behind."""
    the_cluster = e2e.Cluster("bench")
    try:
        the_cluster.start()
        token = the_cluster.token("--uses", len(nodes))
        for name in nodes:
            the_cluster.add_node(name, token, run_args=run_args).launch()
        for name in nodes:
            the_cluster.nodes[name].wait_ready()
        yield the_cluster
    except BaseException:
        the_cluster.show_logs(12)
        raise
    finally:
        the_cluster.close()


def timed(call, *args, **options):
    """(seconds, result) of a call."""
    begin = time.monotonic()
    result = call(*args, **options)
    return time.monotonic() - begin, result


def drop_caches():
    """Forgets cached file data, so that reads come from the device again."""
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1\n")


class Report:
    """Prints what was measured, line by line, and remembers whether every bar was reached."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, most=None, show=size_text):
        """A figure, and the most it may be."""
        reached = most is None or value <= most
        self.rows.append({"what": what, "value": value, "most": most, "reached": reached})
        bar = "" if most is None else f"at most {show(most):>10}  {'ok' if reached else 'MISSED'}"
        print(f"{what:52} {show(value):>12}  {bar}".rstrip(), flush=True)

    def seconds(self, what, value, most=None):
        self.add(what, round(value, 3), most, lambda number: f"{number:.2f} s")

    def ratio(self, what, value, most=None):
        self.add(what, round(value, 4), most, lambda number: f"{number:.3f} x")

    def count(self, what, value, most=None):
        self.add(what, value, most, str)

    def all_reached(self):
        return all(row["reached"] for row in self.rows)
