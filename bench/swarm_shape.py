"""The shapes of bench/swarm: who has which link, and what no system can be quicker than."""

import pathlib
import threading
import time

import lab

SLOW = 0.1  # a slow link, of the others' rate


class Shape:
    """Hosts of a lab by the command line: seeds and receivers in turn over the racks; the slow
    receiver is the last one, the slow seed the second."""

    def __init__(self, the_lab, args):
        self.lab = the_lab
        slow = lab.fraction_of(args.rate, SLOW)
        self.up = {}  # name of host -> rate of its uplink, in bits per second
        self.sources, self.receivers = [], []
        for n in range(args.seeds):
            name = "source" if n == 0 else f"source{n + 1}"
            is_slow = args.slow_seed and n == 1
            self.sources.append(self._add(name, n, slow if is_slow else args.rate))
        for n in range(1, args.hosts + 1):
            is_slow = args.slow_node and n == args.hosts
            self.receivers.append(self._add(f"h{n:02}", n - 1, slow if is_slow else args.rate))
        self.slow_node = self.receivers[-1].name if args.slow_node else None

    def _add(self, name, number, up):
        self.up[name] = lab.bits_of(up)
        return self.lab.add_host(name, rack=number % self.lab.racks, up=up)

    def measure(self):
        """Goodput of one stream, bytes per second: (inside a rack or a flat lab, into a rack
        without a seed or None)."""
        source = self.sources[0]
        inside = next(host for host in self.receivers if host.rack == source.rack)
        seeded = {host.rack for host in self.sources}
        outside = next((host for host in self.receivers if host.rack not in seeded), None)
        return (lab.goodput(source, inside), lab.goodput(source, outside) if outside else None)

    def floor_seconds(self, size, goodput, across):
        """The largest of: a receiver's link takes the file once; the seeds' uplinks carry it once;
        all uplinks together carry it once per receiver; an uplink brings it into a rack once."""
        link = lab.bits_of(self.lab.rate)
        seeds = sum(self.up[host.name] for host in self.sources) / link
        everyone = sum(self.up.values()) / link
        floors = [1, 1 / seeds, len(self.receivers) / everyone]
        if across:
            floors.append(goodput / across)
        return size / goodput * max(floors)


class DyingSeed(threading.Thread):
    """Kills every process of a host with SIGKILL when its interface has sent `limit` bytes."""

    def __init__(self, host, processes, limit):
        super().__init__(daemon=True)
        self.host = host
        self.processes = processes
        self.limit = limit
        self.ended = threading.Event()
        self.killed_at = None

    def run(self):
        counters = pathlib.Path(f"/proc/{self.processes.running[self.host.name].pid}/net/dev")
        begin = self.sent(counters)
        while not self.ended.wait(0.002):
            if self.sent(counters) - begin >= self.limit:
                self.killed_at = time.monotonic()
                self.host.kill_all()
                self.processes.wait(self.host.name, 5)
                return

    @staticmethod
    def sent(counters):
        for row in counters.read_text().splitlines():
            name, _, numbers = row.partition(":")
            if name.strip() == "eth0":
                return int(numbers.split()[8])
        raise RuntimeError(f"{counters} has no eth0")
