"""bench/command real: agents as they are on servers, all on this machine: each run is an offer over
TLS, a synced record, a process of its own, and a synced result."""

from command_parts import (Report, processor_seconds, real_cluster, resident_bytes, spread,
                           spread_text, timed_exec)

MOST_SECONDS = 1.0  # p99


def run(args):
    report = Report()
    names = [f"n{number:03}" for number in range(1, args.nodes + 1)]
    with real_cluster(names) as cluster:
        tracker = cluster.tracker.process.pid
        timed_exec(cluster, "*", "true")
        before, times, used = processor_seconds(tracker), [], 0.0
        for _ in range(args.runs):
            seconds, cpu, _ = timed_exec(cluster, "*", "true")
            times.append(seconds)
            used += cpu
        found = spread(times)
        print(f"{args.nodes} real agents: exec {spread_text(found)}", flush=True)
        report.seconds(f"{args.nodes} real agents: exec, p99", found["p99"], MOST_SECONDS)
        report.seconds("  processor of the tracker, each",
                       (processor_seconds(tracker) - before) / args.runs)
        report.seconds("  processor of p2pctl, each", used / args.runs)
        report.add("  tracker resident", resident_bytes(tracker))
        one = spread([timed_exec(cluster, names[0], "true")[0] for _ in range(args.runs)])
        print(f"one of them: exec {spread_text(one)}", flush=True)
        report.seconds("one of them: exec, p99", one["p99"])
    return {"exec": found, "one": one, "seconds": times, "rows": report.rows}, report.all_reached()
