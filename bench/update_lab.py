"""What the checks of bench/update share: hosts in a lab, what crosses a host's link, how much
memory processes took, and p2pd with a receiver that may hold an older version."""

import contextlib
import hashlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import types

import lab
from landing_cluster import Process, helpers_of
from swarm_systems import Ours

LONG = 7200     # seconds that a command may take
SETTLE = 0.5    # what still goes over the links after the end of an update is counted, too
DESTINATION = "file.bin"


def digest(path):
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def hosts(*names, rate=None, cc="cubic", frames=False):
    """Hosts of a lab, links of `rate` or unshaped, by name; and an empty folder. With `frames` no
    packet is larger than Ethernet carries, so that counters have the headers of a real network."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="p2pd-update-"))
    try:
        with lab.Lab(rate or "1gbit", cc=cc) as the_lab:
            made = {name: the_lab.add_host(name, shaped=rate is not None) for name in names}
            if frames:
                for host in made.values():
                    no_segments(host)
            yield the_lab, made, folder
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            if lines:
                print(f"--- {log.name}", *lines[-8:], sep="\n", flush=True)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def no_segments(host):
    for namespace, device in ((host.namespace, "eth0"), (host.lab.switch, host.port)):
        lab.sh("ip", "-n", namespace, "link", "set", device, "gso_max_segs", 1)


class Peaks(threading.Thread):
    """VmHWM of the processes of a control group, every 20 ms: {name of program: bytes}."""

    def __init__(self, cgroup):
        super().__init__(daemon=True)
        self.cgroup = cgroup
        self.most = {}
        self.ended = threading.Event()

    def look(self):
        for pid in (self.cgroup / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                fields = dict(line.split(":", 1) for line in status.splitlines())
                if "VmHWM" in fields:
                    name, peak = fields["Name"].strip(), int(fields["VmHWM"].split()[0]) * 1024
                    self.most[name] = max(self.most.get(name, 0), peak)

    def run(self):
        with contextlib.suppress(OSError):  # the group has gone
            while not self.ended.wait(0.02):
                self.look()


class Measured:
    """Use as a context around an update: bytes on the receiver's link in both directions, processor
    seconds and peak memory of all `processes`, seconds."""

    def __init__(self, receiver, processes):
        self.receiver = receiver
        self.processes = processes
        self.result = {}

    def __enter__(self):
        self.before = self.receiver.counters()
        self.cpu = self.processes.cpu_seconds()
        self.peaks = Peaks(self.processes.cgroup) if self.processes.cgroup else None
        if self.peaks:
            self.peaks.start()
        self.begin = time.monotonic()
        return self

    def __exit__(self, *_):
        seconds = time.monotonic() - self.begin
        if self.peaks:
            with contextlib.suppress(OSError):
                self.peaks.look()
            self.peaks.ended.set()
        time.sleep(SETTLE)
        sent, received = (now - then for now, then in zip(self.receiver.counters(), self.before))
        self.result.update(wire_bytes=sent + received, wire_sent=sent, wire_received=received,
                           seconds=seconds, cpu_seconds=self.processes.cpu_seconds() - self.cpu,
                           peak_bytes=dict(self.peaks.most) if self.peaks else {})


class FirstByte(threading.Thread):
    """When the first block of a new file is in a folder, by the clock of time.monotonic()."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder = folder
        self.there = set(folder.iterdir())
        self.at = None
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.002):
            for path in self.folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if path not in self.there and path.is_file() and path.stat().st_blocks:
                        self.at = time.monotonic()
                        return


class Agents(Ours):
    """p2pd: the tracker on a host of its own, so that a receiver's link carries its own dealings
    with it and nobody else's."""

    def __init__(self, the_lab, folder, hosts_of, args):
        super().__init__(the_lab, folder, [], list(hosts_of.values()), args)
        self.hosts_of = hosts_of  # by name

    def launch(self, shares, *options):
        """`shares`: {name of a host: folder whose files it may publish}."""
        self.start(self.receivers, {self.hosts_of[name]: share for name, share in shares.items()},
                   *options)

    def publish(self, node, file, name, *options):
        """Seconds and CPU seconds of it."""
        begin, cpu = time.monotonic(), self.processes.cpu_seconds()
        self.ctl("publish", f"{node}:{file}", "--name", name, *options)
        return {"prepare_seconds": time.monotonic() - begin,
                "prepare_cpu_seconds": self.processes.cpu_seconds() - cpu}

    def push(self, name, to, *options):
        """Brings it to the destination at these nodes; returns the finished job."""
        command = self.ctl_command("push", name, "--to", ",".join(to), "--path", DESTINATION,
                                   *options)
        done = subprocess.run(**command, capture_output=True, check=False, timeout=LONG)
        if done.returncode != 0:
            raise RuntimeError(f"the push of {name} exits with {done.returncode}: "
                               f"{done.stdout}{done.stderr}")
        return self.newest_job()

    def json(self, *args):
        return json.loads(self.ctl(*args, "-o", "json"))

    def newest_job(self):
        return self.json("job", "show", self.json("job", "list")["jobs"][0]["id"])

    def copy(self, node):
        return self.destination(self.hosts_of[node])

    def processes_of(self, name):
        """The agent of a node and its helpers."""
        program = types.SimpleNamespace(process=self.processes.running[name])
        return [Process(program.process.pid), *helpers_of(program)]

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")


FOUR = ("bytes_received", "bytes_copied", "bytes_already", "bytes_written")


def four_numbers(task):
    """What a node says about its part of a push; a build that does not count one of them says 0."""
    return {key: int(task.get(key, 0)) for key in FOUR} | {"basis": task.get("basis", "")}


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def mb(count):
    return "-" if count is None else f"{count / 1e6:.2f}"


class Table:
    """Columns of (heading, width, text of a row); the first one is aligned to the left."""

    def __init__(self, columns):
        self.columns = columns
        self._print([heading for heading, _, _ in columns])

    def add(self, row):
        self._print([text(row) for _, _, text in self.columns])
        if row.get("basis"):
            print(f"    {row['basis']}", flush=True)

    def _print(self, words):
        cells = [f"{word:>{width}}" for word, (_, width, _) in zip(words, self.columns)]
        cells[0] = f"{words[0]:{self.columns[0][1]}}"
        print(" ".join(cells).rstrip(), flush=True)
