"""The processes of a system under measurement: started in the background, counted, ended."""

import contextlib
import os
import pathlib
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
CGROUP_ROOTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")  # version 2 beside 1, or alone
INTO_CGROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def machine_seconds():
    """(processor seconds of this machine in use, seconds that its host took away) so far."""
    words = pathlib.Path("/proc/stat").read_text().split("\n", maxsplit=1)[0].split()
    user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def make_cgroup():
    """A new control group, or None where version 2 is not mounted or not ours to write."""
    for root in map(pathlib.Path, CGROUP_ROOTS):
        group = root / f"p2pd-bench-{os.getpid()}"
        if (root / "cgroup.controllers").exists():
            with contextlib.suppress(OSError):
                group.mkdir(exist_ok=True)
                return group
    return None


class Processes:
    """Each has a log. All of them and their children, also those that have ended, are in one
    control group, whose CPU time is counted. Without one it is that of /proc: of those that run,
    their children that have ended, and those that `wait` has seen end."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}  # name -> Popen
        self.cgroup = make_cgroup()
        self.waited_seconds = 0.0

    @property
    def cpu_source(self):
        return "cgroup" if self.cgroup else "/proc"

    def start(self, host, name, *command, **env):
        words = host.command(*command)
        if self.cgroup:  # before `ip netns exec`, which mounts a /sys of its own
            words = ["sh", "-c", INTO_CGROUP, str(self.cgroup), *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                                  stderr=log, env={**os.environ, **env})

    def ended(self):
        """Names of those that run no more."""
        return [name for name, process in self.running.items() if process.poll() is not None]

    def wait_for(self, name, happened, seconds=20):
        """Waits until `happened()`, while the process runs."""
        deadline = time.monotonic() + seconds
        while not happened():
            if self.running[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not get ready: see {self.folder}/{name}.log")
            time.sleep(0.01)

    def wait(self, name, seconds):
        """Exit code of a process that ends by itself, None when it does not in this time."""
        process = self.running[name]
        deadline = time.monotonic() + seconds
        while process.returncode is None:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.waited_seconds += usage.ru_utime + usage.ru_stime
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(0.01)
        return process.returncode

    def cpu_seconds(self):
        """User and system time so far."""
        if self.cgroup:
            for line in (self.cgroup / "cpu.stat").read_text().splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) / 1e6
            raise RuntimeError(f"{self.cgroup}/cpu.stat has no usage_usec")
        pids = [process.pid for process in self.running.values() if process.returncode is None]
        total = self.waited_seconds
        while pids:
            pid = pids.pop()
            # A process that ends meanwhile is in its parent's figures.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(map(int, stat[11:15])) / TICKS  # own, and of waited-for children
                for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                    pids.extend(map(int, children.read_text().split()))
        return total

    def stop(self):
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
        self.running.clear()
        if self.cgroup:
            with contextlib.suppress(OSError):  # no such file before Linux 5.14
                (self.cgroup / "cgroup.kill").write_text("1")
            deadline = time.monotonic() + 5
            while self.cgroup.exists() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):  # busy until the last has gone
                    self.cgroup.rmdir()
                time.sleep(0.01)
