"""bench/command output: nodes that write more than a job may keep. The tracker takes what a job may
have and says of the rest that it is missing; it stays small, and answers meanwhile."""

import threading
import time

import landing_cluster
from command_parts import Report, real_cluster, resident_bytes, spread, spread_text

e2e = landing_cluster.e2e
MiB = 1 << 20
JOB_BYTES = 1 << 30           # what a job may keep (docs/limits.md)
MOST_RESIDENT = 128 * MiB     # of the tracker
MOST_ANSWER = 1.0             # seconds, p99 of p2pctl status meanwhile


class Watcher(threading.Thread):
    """Asks for the status again and again; remembers how long that took, and the tracker's size."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.over = cluster, threading.Event()
        self.answers, self.resident = [], 0

    def run(self):
        pid = self.cluster.tracker.process.pid
        while not self.over.wait(0.25):
            begin = time.perf_counter()
            self.cluster.ctl_ok("status")
            self.answers.append(time.perf_counter() - begin)
            self.resident = max(self.resident, resident_bytes(pid))


def run(args):
    report = Report()
    names = [f"n{number:03}" for number in range(1, args.nodes + 1)]
    with real_cluster(names) as cluster:
        watcher = Watcher(cluster)
        watcher.start()
        begin = time.perf_counter()
        job = cluster.ctl_ok("exec", "--to", "*", "--detach", "--keep", f"{args.keep}MiB", "--", "sh",
                             "-c", f"head -c {args.written * MiB} /dev/zero").out.strip()
        e2e.wait_until(lambda: cluster.job(job)["finished"], 600, f"{job} is finished")
        seconds = time.perf_counter() - begin
        watcher.over.set()
        watcher.join()
        told = cluster.job(job)
        kept = sum(file.stat().st_size
                   for file in cluster.tracker.data.rglob("output") if file.is_file())
        ended = sum(run["state"] == "exited" and run.get("code", 0) == 0 for run in told["runs"])
        cut = sum(bool(run.get("out_truncated")) for run in told["runs"])
        print(f"{args.nodes} nodes wrote {args.written} MiB each in {seconds:.1f} s; {cut} are said to "
              f"be cut; status {spread_text(spread(watcher.answers))}", flush=True)
        report.add("output kept of the job", kept, JOB_BYTES + 4 * MiB)
        report.add("tracker resident, most", watcher.resident, MOST_RESIDENT)
        report.seconds("p2pctl status meanwhile, p99", spread(watcher.answers)["p99"], MOST_ANSWER)
        all_ended = ended == args.nodes and cut == args.nodes
        if not all_ended:
            print(f"MISSED: {ended} of {args.nodes} exited with 0, {cut} are said to be cut")
    return {"seconds": seconds, "kept": kept, "rows": report.rows}, (report.all_reached() and
                                                                    all_ended)
