"""bench/landing memory: one large file with real data to one receiver."""

from common import MiB, first_difference, make_dense
from landing_cluster import LONG, Report, drop_caches, peaks, running_cluster, timed

PEAK_MOST = 128 * MiB


def run(args):
    report = Report()
    with running_cluster("source", "receiver") as cluster:
        file = make_dense(cluster.nodes["source"].share / "file.bin", args.size, args.seed)
        drop_caches()
        seconds, _ = timed(cluster.ctl_ok, "publish", f"source:{file}", "--name", "bench/memory",
                           timeout=LONG)
        report.seconds("publish (hash)", seconds)
        hashed = peaks(cluster.nodes.values())
        seconds, _ = timed(cluster.ctl_ok, "push", "bench/memory", "--to", "receiver", "--path",
                           "file.bin", timeout=LONG)
        report.seconds("push", seconds)
        report.add("throughput, bytes a second", args.size / seconds)
        for name, peak in hashed.items():
            report.add(f"memory after publish: {name}", peak, PEAK_MOST)
        for name, peak in peaks([cluster.tracker, *cluster.nodes.values()]).items():
            report.add(f"memory after push: {name}", peak, PEAK_MOST)
        difference = first_difference(file, cluster.nodes["receiver"].root / "file.bin")
        report.count("copies that differ", int(difference is not None), 0)
    return {"rows": report.rows}, report.all_reached()
