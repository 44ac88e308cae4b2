"""bench/landing resume: what a restart of the receiver costs after kill -9.

A 100 GiB file of 12,800 chunks, each with a little data. For every point in --at the receiver is
killed in two pushes: once for the times, and once under strace, which tells exactly what is read of
the part (and disturbs the times). The source's count says what was fetched again.
"""

import calendar
import os
import re
import shutil
import time

from common import MiB, allocated, first_difference, loopback_bytes, make_sparse
from landing_cluster import LONG, Report, e2e, peaks, processes_of, running_cluster

EVERY = 8 * MiB
READY_MOST = 1.0  # seconds from the start of the process to the first request of data
PEAK_MOST = 128 * MiB
# A checkpoint interval (core/transfer/checkpoint.h), a quarter more for the sync itself, and what
# was requested and on its way.
INTERVAL_BYTES, INTERVAL_SECONDS, ON_ITS_WAY = 64 * MiB, 2.0, 4 * MiB
READS = "read,readv,pread64,preadv,preadv2"


def log_time(line):
    """Seconds since 1970 of a line of our log."""
    stamp, fraction = re.match(r"(\S+)\.(\d+)Z ", line).groups()
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction}")


def part_of(node):
    parts = list(node.root.rglob(".p2pd-*.part"))
    return parts[0] if parts else None


class Restart:
    """One push whose receiver is killed at a fraction and started again, perhaps under strace."""

    def __init__(self, cluster, limit, data):
        self.cluster = cluster
        self.node = cluster.nodes["receiver"]
        self.limit = limit
        self.data = data

    def run(self, path, at, trace):
        """A dictionary of what was measured; `trace` is strace's output file, or None."""
        push = self.cluster.start_ctl("push", "bench/resume", "--to", "receiver", "--path", path,
                                      "--limit", self.limit)
        e2e.wait_until(lambda: part_of(self.node), 20, "the part is there")
        part = part_of(self.node)
        goal = at * self.data
        while allocated(part) < goal:
            time.sleep(0.001)
        traffic = loopback_bytes()
        self.node.kill()
        time.sleep(0.2)  # what the source still sends into the void
        if not part.exists():
            raise RuntimeError(f"the file landed before the kill at {at}: choose a smaller --at")
        result = {"at": at, "traced": trace is not None, "written": allocated(part)}
        mark = self.node.log.stat().st_size
        command = self.node.command()
        if trace:
            command = ["strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-e", f"trace={READS}", "-P",
                       part, "-o", trace, *command]
        self.node.command = lambda: command
        begin = time.time()
        self.node.launch()
        del self.node.command
        self.node.wait_ready()
        result["ready_seconds"] = self.node.ready_file.stat().st_mtime - begin
        asked = log_time(e2e.wait_until(lambda: self.first_request(mark), 60, "a first request"))
        result["first_request_seconds"] = asked - begin
        io = [process.io() for process in processes_of(self.node)]
        result["files_read_until_then"] = sum(one["rchar"] for one in io)
        result["device_read_until_then"] = sum(one["read_bytes"] for one in io)
        run = self.cluster.finish(push, LONG)
        if run.code != 0:
            raise RuntimeError(f"the push exits with {run.code}: {run.text}")
        result["traffic_after"] = loopback_bytes() - traffic
        result["peaks"] = peaks([self.node])
        if trace:
            reads = list(reads_of(trace))
            result["part_read"] = sum(count for _, count in reads)
            result["part_read_before_request"] = sum(count for at, count in reads if at < asked)
        return result

    def first_request(self, mark):
        with self.node.log.open("rb") as log:
            log.seek(mark)
            for line in log.read().decode(errors="replace").splitlines():
                if " transfer first request space=data" in line:
                    return line
        return None


def reads_of(trace):
    """(time, bytes) of every successful read in strace's output."""
    for line in trace.read_text(errors="replace").splitlines():
        match = re.match(r"\d+ +(\d+\.\d+) .* = (\d+)$", line)
        if match:
            yield float(match[1]), int(match[2])


def run(args):
    report = Report()
    results = []
    tracing = shutil.which("strace") is not None
    if not tracing:
        print("strace is not installed: what is read of the part is not counted")
    with running_cluster("source", "receiver", run_args=("--log-level", "debug")) as cluster:
        file = cluster.nodes["source"].share / "file.img"
        data = make_sparse(file, args.size, EVERY, args.data, args.seed)
        rate = int(data / args.seconds)
        interval = 1.25 * min(INTERVAL_BYTES, INTERVAL_SECONDS * rate) + ON_ITS_WAY
        cluster.ctl_ok("publish", f"source:{file}", "--name", "bench/resume", timeout=LONG)
        report.count("chunks", -(-args.size // EVERY))
        report.add("data", data)
        restart = Restart(cluster, f"{rate}B/s", data)
        for at in map(float, args.at.split(",")):
            for trace in (None, cluster.folder / f"trace-{at}")[:1 + tracing]:
                path = f"at-{at}{'-traced' if trace else ''}.img"
                one = restart.run(path, at, trace)
                one["fetched_again"] = source_sent(cluster, data) - data
                copy = cluster.nodes["receiver"].root / path
                one["differs_at"] = first_difference(file, copy)
                one["left_behind"] = e2e.leftovers(cluster.nodes["receiver"].root)
                # The receiver serves it, and would free all its extents when it is closed at the end:
                # ten seconds on a file system that discards what is freed.
                os.truncate(copy, 0)
                copy.unlink()
                results.append(one)
                show(report, one, interval)
    return {"rows": report.rows, "results": results, "data_bytes": data,
            "limit_bytes_per_second": rate}, report.all_reached()


def source_sent(cluster, expected):
    """Payload that the source has sent in the newest push, once it has reported `expected`."""
    def sent():
        return int(cluster.newest_job().get("source_bytes_sent", 0))

    e2e.wait_until(lambda: sent() >= expected, 10, "the source reports what it sent")
    return sent()


def show(report, one, interval):
    where = f"killed at {one['at']:.1%}" + (", traced" if one["traced"] else "")
    if one["traced"]:
        report.add(f"{where}: read of the part before asking", one["part_read_before_request"],
                   interval)
        report.add(f"{where}: read of the part in all", one["part_read"], interval)
    else:
        report.seconds(f"{where}: ready after", one["ready_seconds"])
        report.seconds(f"{where}: first request after", one["first_request_seconds"], READY_MOST)
        report.add(f"{where}: files read until then", one["files_read_until_then"])
        report.add(f"{where}: device read until then", one["device_read_until_then"])
        for name, peak in one["peaks"].items():
            report.add(f"{where}: memory, {name}", peak, PEAK_MOST)
    report.add(f"{where}: fetched again", one["fetched_again"], interval)
    report.count(f"{where}: copies that differ", int(one["differs_at"] is not None), 0)
    report.count(f"{where}: parts left behind", len(one["left_behind"]), 0)
