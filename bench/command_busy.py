"""bench/command busy: exec on a node whose link is full, beside ping over the same link.

In a lab: the tracker, p2pctl and the source of the load on unshaped links, the node behind a link
of --rate with queues of at most 20 ms, so that the queue stands at the node's own link. The round
trip is that of a whole command line, from its start to its end; ping runs meanwhile. In the calm
before, both are measured without a load.
"""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types

import lab
from command_parts import LONG, RUN_ARGS, Report, spread, spread_text, timed_command
from common import make_dense
from update_lab import Agents

CONGESTION_CONTROL = "cubic"
MOST_OVER_PING = 0.05  # seconds: p99 of exec over p99 of ping
WARM_UP = 2            # seconds of load before anything is measured
ECHOES = pathlib.Path(__file__).resolve().parent / "echoes.py"
PUSH_SECONDS = 90      # what the pushed file takes at the full rate


class Ping:
    """Echoes every 50 ms, until it is asked for their round trips."""

    def __init__(self, host, address):
        self.process = host.popen(sys.executable, "-B", ECHOES, address, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)

    def stop(self):
        """The seconds of each."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        times = [float(line) / 1000 for line in out.split()]
        if not times:
            raise RuntimeError(f"echoes: {err[-500:]}")
        return times


class Streams:
    """TCP streams between two hosts, one way or both."""

    def __init__(self, source, node, both):
        me = pathlib.Path(lab.__file__).resolve()
        pairs = [(source, node)] + ([(node, source)] if both else [])
        self.processes = []
        for _, sink in pairs:
            process = sink.popen(sys.executable, "-B", me, "--receive", f"{LONG}:1",
                                 stdout=subprocess.PIPE, text=True)
            self.processes.append(process)
            if process.stdout.readline() != "listening\n":
                raise RuntimeError("the receiver of the load does not start")
        for sender, sink in pairs:
            process = sender.popen(sys.executable, "-B", me, "--send-to", sink.address,
                                   stdout=subprocess.PIPE, text=True)
            self.processes.append(process)
            used = process.stdout.readline().strip()
            if used != CONGESTION_CONTROL:
                raise RuntimeError(f"the load uses {used or 'nothing'}, not {CONGESTION_CONTROL}")

    def check(self):
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError("the load has ended early")

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


class Push:
    """A push of a large file to the node, which goes on for as long as anything is measured."""

    def __init__(self, agents, file):
        self.agents = agents
        agents.publish("source", file, "bench/load")
        self.job = agents.ctl("push", "bench/load", "--to", "node", "--path", "load.bin",
                              "--detach").split()[-1]

    def check(self):
        if self.agents.json("job", "show", self.job).get("finished"):
            raise RuntimeError("the push has ended early")

    def stop(self):
        self.agents.ctl("job", "cancel", self.job)


def round_trips(agents, runs):
    times = []
    command = agents.ctl_command("exec", "--to", "node", "--", "true")
    for _ in range(runs):
        seconds, _, run = timed_command(command["args"], command["env"])
        if run.code != 0:
            raise RuntimeError(f"p2pctl exec exits with {run.code}: {run.text[-1000:]}")
        times.append(seconds)
    return spread(times)


def measure(agents, node, runs):
    ping = Ping(agents.tracker_host, node.address)
    try:
        execs = round_trips(agents, runs)
        return execs, spread(ping.stop())
    finally:
        ping.process.kill()
        ping.process.wait()


def run(args):
    report, result = Report(), {}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="p2pd-busy-"))
    try:
        with lab.Lab(args.rate, cc=CONGESTION_CONTROL) as the_lab:
            source = the_lab.add_host("source", shaped=False)
            node = the_lab.add_host("node")
            (folder / "share").mkdir()
            agents = Agents(the_lab, folder, {"source": source, "node": node},
                            types.SimpleNamespace(build=args.build.resolve()))
            try:
                agents.launch({"source": folder / "share"}, *RUN_ARGS)
                round_trips(agents, 3)  # warms up
                execs, pings = measure(agents, node, args.runs)
                print(f"calm: exec {spread_text(execs)}\n      ping {spread_text(pings)}",
                      flush=True)
                result["calm"] = {"exec": execs, "ping": pings}
                for kind in args.load.split(","):
                    result[kind] = under_load(report, args, agents, (source, node), kind)
            finally:
                agents.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {**result, "rows": report.rows}, report.all_reached()


def under_load(report, args, agents, ends, kind):
    source, node = ends
    if kind == "push":
        size = int(lab.bits_of(args.rate) / 8 * PUSH_SECONDS)
        file = make_dense(agents.folder / "share" / "load.bin", size, args.seed)
        load = Push(agents, file)
    else:
        load = Streams(source, node, kind == "both")
    try:
        time.sleep(WARM_UP)
        before, begin = node.counters(), time.monotonic()
        execs, pings = measure(agents, node, args.runs)
        seconds = time.monotonic() - begin
        load.check()
        busy = (node.counters()[1] - before[1]) * 8 / seconds / lab.bits_of(args.rate)
    finally:
        load.stop()
    print(f"{kind}: the link to the node is {busy:.0%} full\n      exec {spread_text(execs)}\n"
          f"      ping {spread_text(pings)}", flush=True)
    report.seconds(f"{kind}: exec over ping, p99", execs["p99"] - pings["p99"], MOST_OVER_PING)
    return {"exec": execs, "ping": pings, "busy": round(busy, 3)}
