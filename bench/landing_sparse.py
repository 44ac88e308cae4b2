"""bench/landing sparse: a huge file that is nearly all holes, to one receiver."""

from common import MiB, allocated, extents, first_difference, loopback_bytes, make_sparse
from landing_cluster import LONG, Report, peaks, running_cluster, timed

EVERY = CHUNK = 8 * MiB
TRAFFIC_MOST = 1.05  # of the bytes of data
PEAK_MOST = 128 * MiB


def run(args):
    report = Report()
    with running_cluster("source", "receiver") as cluster:
        file = cluster.nodes["source"].share / "sparse.img"
        data = make_sparse(file, args.size, EVERY, args.data, args.seed)
        report.add("data in the file", data)
        seconds, _ = timed(cluster.ctl_ok, "publish", f"source:{file}", "--name", "bench/sparse",
                           timeout=LONG)
        report.seconds("publish (hash)", seconds)
        for name, peak in peaks(cluster.nodes.values()).items():
            report.add(f"memory after publish: {name}", peak, PEAK_MOST)
        before = loopback_bytes()
        seconds, _ = timed(cluster.ctl_ok, "push", "bench/sparse", "--to", "receiver", "--path",
                           "sparse.img", timeout=LONG)
        traffic = loopback_bytes() - before
        report.seconds("push", seconds)
        report.ratio("traffic on the interface, of the data", traffic / data, TRAFFIC_MOST)
        for name, peak in peaks([cluster.tracker, *cluster.nodes.values()]).items():
            report.add(f"memory after push: {name}", peak, PEAK_MOST)
        copy = cluster.nodes["receiver"].root / "sparse.img"
        report.add("allocated: source", allocated(file))
        report.add("allocated: copy", allocated(copy), allocated(file) + CHUNK)
        with file.open("rb") as one, copy.open("rb") as other:
            report.count("extents: source", sum(1 for _ in extents(one.fileno(), args.size)))
            report.count("extents: copy", sum(1 for _ in extents(other.fileno(), args.size)))
        seconds, difference = timed(first_difference, file, copy)
        report.count("copies that differ", int(difference is not None), 0)
    return {"rows": report.rows, "data_bytes": data, "traffic_bytes": traffic}, report.all_reached()
