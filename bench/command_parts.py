"""What the checks of bench/command share: agents that run commands, timed command lines, shares of
processor time, and the emulator."""

import contextlib
import math
import pathlib
import re
import resource
import signal
import subprocess
import time

from landing_cluster import Report, e2e, running_cluster

LONG = 600  # seconds that one command may take
RUN_ARGS = ("--exec", "any")


def percentile(values, part):
    """The smallest value that `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def spread(values):
    """{"p50", "p99", "max", "count"} of some seconds."""
    return {"count": len(values), "p50": round(percentile(values, 0.5), 4),
            "p99": round(percentile(values, 0.99), 4), "max": round(max(values), 4)}


def spread_text(found):
    return (f"p50 {found['p50'] * 1000:.0f} ms, p99 {found['p99'] * 1000:.0f} ms, "
            f"max {found['max'] * 1000:.0f} ms of {found['count']}")


def processor_seconds(pid):
    """Of all threads of a process that runs, in nanosecond steps."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has ended")


def raise_descriptor_limit():
    """Of this process and all that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        most = max(most, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def timed_command(command, env=None):
    """(seconds, its own processor seconds, Run) of one command line from its start to its end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run([*map(str, command)], env=env, text=True, stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=LONG)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return seconds, used, e2e.Run(done.returncode, done.stdout, done.stderr)


def timed_exec(cluster, to, *command, prefix=()):
    """timed_command of `p2pctl exec`; raises unless every target has exited with 0."""
    seconds, used, run = timed_command([*prefix, e2e.CTL, "exec", "--to", to, "--", *command],
                                       cluster.environment())
    if run.code != 0:
        raise RuntimeError(f"p2pctl exec exits with {run.code}:\n{run.text[-2000:]}")
    return seconds, used, run


def wait_online(cluster, nodes, timeout=60):
    def all_online():
        found = [node for node in cluster.ctl_json("node", "list").get("nodes", [])
                 if node.get("online")]
        return len(found) >= nodes

    e2e.wait_until(all_online, timeout, f"{nodes} nodes are online")


@contextlib.contextmanager
def real_cluster(names):
    """A cluster of real agents that run any command; nothing of it is left behind."""
    raise_descriptor_limit()
    with running_cluster(*names, run_args=RUN_ARGS) as cluster:
        yield cluster


class Emulator:
    """bench/agents in the background."""

    def __init__(self, cluster, agents, *, threads=2, seed=1):
        self.agents = agents
        self.log = cluster.folder / "logs" / "agents.log"
        token = cluster.folder / "agents.token"
        token.write_text(cluster.token("--uses", agents))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(e2e.BUILD / "bench" / "agents"), str(agents), "--tracker",
                 cluster.tracker.ready["listen"], "--token-file", str(token), "--data",
                 str(cluster.folder / "agents"), "--threads", str(threads), "--seed", str(seed)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def connected(self):
        """How many are connected, as it said last; and how many lines it has said."""
        lines = re.findall(r"^[\d.]+ s: (\d+) of \d+ connected$", self.log.read_text(), re.MULTILINE)
        return int(lines[-1]) if lines else 0, len(lines)

    def wait_all(self, timeout, lines_before=0):
        """Until all are connected, said behind so many lines; the seconds that it took."""
        begin = time.monotonic()

        def all_connected():
            if self.process.poll() is not None:
                raise RuntimeError(f"the emulator ended: {self.log.read_text()[-1000:]}")
            connected, lines = self.connected()
            return lines > lines_before and connected == self.agents

        e2e.wait_until(all_connected, timeout, f"all {self.agents} agents are connected")
        return time.monotonic() - begin

    def stop(self):
        """Its last words."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
            self.process.kill()
            self.process.wait()
        return self.log.read_text().splitlines()[-2:]


__all__ = ["Emulator", "LONG", "RUN_ARGS", "Report", "e2e", "percentile", "processor_seconds",
           "raise_descriptor_limit", "real_cluster", "resident_bytes", "spread", "spread_text",
           "timed_command", "timed_exec", "wait_online"]
