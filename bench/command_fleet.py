"""bench/command fleet: emulated agents. How long `p2pctl exec --to '*' -- true` takes from the start
of the command line to its end, what an idle agent costs the tracker's memory, and how soon all are
back after a kill of the tracker."""

import time

from command_parts import (Emulator, Report, e2e, processor_seconds, raise_descriptor_limit,
                           resident_bytes, spread, spread_text, timed_exec)
from common import KiB, size_text

BARS = {1000: 1.0, 5000: 5.0}  # seconds, p99
MOST_BYTES = 100 * KiB         # of the tracker, for each idle agent
MOST_BACK = 30                 # seconds until all agents are back after a kill of the tracker
IDLE = 3                       # seconds until a tracker counts as idle
CONNECT = 300                  # seconds until all have joined and are connected


def measure(report, agents, runs, args):
    cluster = e2e.Cluster("fleet")
    emulator = None
    try:
        cluster.start()
        empty = resident_bytes(cluster.tracker.process.pid)
        emulator = Emulator(cluster, agents, threads=args.threads, seed=args.seed)
        joined = emulator.wait_all(CONNECT)
        time.sleep(IDLE)
        result = {"agents": agents, "seconds_to_join": round(joined, 2)}
        idle = (resident_bytes(cluster.tracker.process.pid) - empty) / agents
        report.add(f"{agents} agents: tracker, per idle agent", round(idle), MOST_BYTES)

        before = processor_seconds(cluster.tracker.process.pid)
        times, used = [], 0.0
        for _ in range(runs):
            seconds, cpu, _ = timed_exec(cluster, "*", "true")
            times.append(seconds)
            used += cpu
        tracker = processor_seconds(cluster.tracker.process.pid) - before
        found = spread(times)
        print(f"{agents} agents: exec {spread_text(found)}", flush=True)
        report.seconds(f"{agents} agents: exec, p99", found["p99"], BARS.get(agents))
        report.seconds("  processor of the tracker, each", tracker / runs)
        report.seconds("  processor of p2pctl, each", used / runs)
        after = (resident_bytes(cluster.tracker.process.pid) - empty) / agents
        report.add("  tracker, per agent, after the runs", round(after))

        _, lines = emulator.connected()
        cluster.tracker.kill()
        begin = time.monotonic()
        cluster.tracker.start()
        emulator.wait_all(120, lines)
        back = time.monotonic() - begin
        report.seconds(f"{agents} agents: back after a kill of the tracker", back, MOST_BACK)
        handshakes = processor_seconds(cluster.tracker.process.pid)
        report.seconds("  processor of the tracker for each", handshakes / agents)
        time.sleep(IDLE)
        again = (resident_bytes(cluster.tracker.process.pid) - empty) / agents
        report.add("  tracker, per idle agent", round(again), MOST_BYTES)
        seconds, _, _ = timed_exec(cluster, "*", "true")
        report.seconds("  exec after that", seconds)
        words = emulator.stop()
        print(*(f"  {line}" for line in words), sep="\n", flush=True)
        return {**result, "exec": found, "seconds": [round(value, 4) for value in times],
                "bytes_per_idle_agent": round(idle), "bytes_per_agent_after_runs": round(after),
                "bytes_per_idle_agent_after_kill": round(again),
                "tracker_cpu_per_exec": round(tracker / runs, 4),
                "p2pctl_cpu_per_exec": round(used / runs, 4), "back_seconds": round(back, 2),
                "tracker_cpu_while_back": round(handshakes, 2), "emulator": words}
    except BaseException:
        cluster.show_logs(8)
        raise
    finally:
        if emulator is not None:
            emulator.stop()
        cluster.close()


def run(args):
    raise_descriptor_limit()
    report = Report()
    sizes = [tuple(map(int, part.split(":"))) for part in args.sizes.split(",")]
    results = [measure(report, agents, runs, args) for agents, runs in sizes]
    for found in results:
        print(f"{found['agents']}: {size_text(found['bytes_per_idle_agent'])} per idle agent, "
              f"{spread_text(found['exec'])}, back after {found['back_seconds']:.1f} s")
    return {"fleets": results, "rows": report.rows}, report.all_reached()
