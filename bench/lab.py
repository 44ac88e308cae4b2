#!/usr/bin/python3
"""A data centre in network namespaces: racks of hosts with shaped links, on one machine.

Every host is a network namespace with one link (veth) to its rack's bridge; with several racks each
bridge has an uplink to a core bridge. Bridges live in a namespace of their own, so the machine's
own network is never touched and removing the namespaces removes everything. Token buckets (tc tbf)
on both ends of a link limit both directions: what a host sends, at its own end; what it receives,
at the bridge's end, where a switch would queue it. Needs root and iproute2.

    bench/lab.py --rate 100mbit          makes two hosts, measures one stream, removes them

Delay, jitter and loss are not modelled (netem is not in every kernel): latency is the machine's
own, plus queueing of at most 20 ms.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

LATENCY = "20ms"  # what a link's queue may add before it drops
# A bucket holds 2 ms, and the largest segment that TCP hands down (64 KiB and its headers) at
# least. tbf cuts what does not fit into single frames, and then this lab costs 20 CPU-seconds per
# GiB instead of 2, so that it measures itself: eight streams side by side at 100 Mbit/s.
BURST = 70_000
PORT = 7999       # of the goodput measurement, inside namespaces


def sh(*command, check=True):
    """Runs a command and returns its output; on failure an error that says what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def bits_of(rate):
    """Bits per second of tc's notation: 100mbit, 1gbit, 512kbit."""
    for unit, factor in (("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)):
        if rate.endswith(unit):
            return float(rate[:-len(unit)]) * factor
    raise ValueError(f"'{rate}' is no rate: write 100mbit or 1gbit")


def fraction_of(rate, part):
    """`part` of `rate`, in tc's notation."""
    return f"{max(int(bits_of(rate) * part / 1e3), 1)}kbit"


def kill_all(namespace):
    for pid in sh("ip", "netns", "pids", namespace, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


class Host:
    """One namespace with one address. `name` is unique in the lab, `namespace` on the machine."""

    def __init__(self, lab, name, address, port, rack):
        self.lab = lab
        self.name = name
        self.address = address
        self.namespace = f"{lab.prefix}-{name}"
        self.port = port  # its link's end at the bridge
        self.rack = rack

    def command(self, *command):
        """The command line that runs `command` in here."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    def run(self, *command):
        return sh(*self.command(*command))

    def popen(self, *command, **options):
        return subprocess.Popen(self.command(*command), **options)

    def kill_all(self):
        """SIGKILL for every process in here."""
        kill_all(self.namespace)

    def counters(self):
        """(bytes sent, bytes received) of its link so far: frames, with every header."""
        stats = json.loads(sh("ip", "-n", self.namespace, "-j", "-s", "link", "show", "eth0"))
        stats = stats[0]["stats64"]
        return stats["tx"]["bytes"], stats["rx"]["bytes"]


class Lab:
    """Use as a context: everything is gone behind it, also after an exception or SIGTERM."""

    def __init__(self, rate, *, cc="cubic", racks=1, uplink=None):
        bits_of(rate)
        self.rate = rate
        self.cc = cc
        self.racks = racks
        self.uplink = uplink
        self.prefix = f"lab{os.getpid()}"
        self.switch = f"{self.prefix}-sw"
        self.hosts = []
        self.namespaces = []

    def __enter__(self):
        if os.geteuid() != 0:
            raise PermissionError("network namespaces need root: run this with sudo")
        # A termination becomes an exception, so that __exit__ runs.
        self.old_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            self._namespace(self.switch)
            if self.racks > 1:
                self._bridge("core")
            for rack in range(self.racks):
                self._bridge(f"rack{rack}")
                if self.racks > 1:
                    self._connect_rack(rack)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, self.old_handler)
        for namespace in reversed(self.namespaces):
            kill_all(namespace)
            sh("ip", "netns", "delete", namespace, check=False)
        self.namespaces.clear()

    def _namespace(self, name):
        sh("ip", "netns", "add", name)
        self.namespaces.append(name)
        sh("ip", "-n", name, "link", "set", "lo", "up")

    def _bridge(self, name):
        sh("ip", "-n", self.switch, "link", "add", name, "type", "bridge", "forward_delay", "0")
        sh("ip", "-n", self.switch, "link", "set", name, "up")

    def _connect_rack(self, rack):
        down, up = f"down{rack}", f"up{rack}"
        sh("ip", "-n", self.switch, "link", "add", down, "type", "veth", "peer", "name", up)
        for port, bridge in ((down, f"rack{rack}"), (up, "core")):
            sh("ip", "-n", self.switch, "link", "set", port, "master", bridge, "up")
            if self.uplink:
                self._shape(self.switch, port, self.uplink)

    @staticmethod
    def _shape(namespace, device, rate):
        burst = max(int(bits_of(rate) / 8 * 0.002), BURST)
        sh("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate", rate,
           "burst", burst, "latency", LATENCY)

    def uplink_counters(self):
        """(bytes out, bytes in) of every rack's uplink so far, headers included."""
        counters = []
        for rack in range(self.racks if self.racks > 1 else 0):
            link = json.loads(sh("ip", "-n", self.switch, "-j", "-s", "link", "show",
                                 f"down{rack}"))
            stats = link[0]["stats64"]
            counters.append((stats["tx"]["bytes"], stats["rx"]["bytes"]))
        return counters

    def add_host(self, name, *, rack=0, shaped=True, up=None):
        """`up` is the rate of what the host sends, when it is not the lab's."""
        number = len(self.hosts) + 1
        host = Host(self, name, f"10.77.{number // 250}.{number % 250 + 1}", f"p{number}", rack)
        self._namespace(host.namespace)
        sh("ip", "-n", self.switch, "link", "add", host.port, "type", "veth", "peer", "name",
           "eth0", "netns", host.namespace)
        sh("ip", "-n", self.switch, "link", "set", host.port, "master", f"rack{rack}", "up")
        sh("ip", "-n", host.namespace, "address", "add", f"{host.address}/16", "dev", "eth0")
        sh("ip", "-n", host.namespace, "link", "set", "eth0", "up")
        # By route and not by sysctl: a namespace may set only what the whole machine allows.
        sh("ip", "-n", host.namespace, "route", "replace", "10.77.0.0/16", "dev", "eth0", "proto",
           "kernel", "scope", "link", "src", host.address, "congctl", self.cc)
        if shaped:
            self._shape(host.namespace, "eth0", up or self.rate)
            self._shape(self.switch, host.port, self.rate)
        self.hosts.append(host)
        return host


def goodput(source, sink, seconds=4.0, warm_up=1.0, both_ways=False):
    """Bytes of payload per second that one TCP stream carries from source to sink.

    With both_ways a second stream loads the opposite direction meanwhile. Sender and receiver are
    Python loops of 256 KiB calls: good for a few Gbit/s, far above the rates used here.
    """
    receivers, senders = [], []
    pairs = [(source, sink)] + ([(sink, source)] if both_ways else [])
    me = pathlib.Path(__file__).resolve()
    try:
        for _, receiver in pairs:
            process = receiver.popen(sys.executable, "-B", me, "--receive", f"{seconds}:{warm_up}",
                                     stdout=subprocess.PIPE, text=True)
            receivers.append(process)
            if process.stdout.readline() != "listening\n":
                raise RuntimeError("the goodput receiver does not start")
        for sender, receiver in pairs:
            process = sender.popen(sys.executable, "-B", me, "--send-to", receiver.address,
                                   stdout=subprocess.PIPE, text=True)
            senders.append(process)
            used = process.stdout.readline().strip()
            if used != source.lab.cc:
                raise RuntimeError(f"streams use {used or 'nothing'} instead of {source.lab.cc}")
        return float(receivers[0].communicate(timeout=seconds + 20)[0])
    finally:
        for process in senders + receivers:
            process.kill()
            process.wait()


def receive(seconds, warm_up):
    with socket.create_server(("0.0.0.0", PORT)) as server:
        print("listening", flush=True)
        stream, _ = server.accept()
    buffer = bytearray(256 * 1024)
    begin = time.monotonic() + warm_up
    counted, first = 0, None
    while True:
        count = stream.recv_into(buffer)
        now = time.monotonic()
        if count == 0:
            raise RuntimeError("the sender went away")
        if first is None:
            if now >= begin:
                first = now
            continue
        counted += count
        if now - first >= seconds:
            print(counted / (now - first), flush=True)
            return


def send_to(address):
    with socket.create_connection((address, PORT)) as stream:
        used = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        print(used.rstrip(b"\0").decode(), flush=True)
        block = bytes(256 * 1024)
        with contextlib.suppress(ConnectionError):
            while True:
                stream.sendall(block)


def main():
    parser = argparse.ArgumentParser(description="Measures one stream between two shaped hosts.")
    parser.add_argument("--rate", default="100mbit")
    parser.add_argument("--cc", default="cubic")
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    parser.add_argument("--send-to", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.receive:
        return receive(*map(float, args.receive.split(":")))
    if args.send_to:
        return send_to(args.send_to)
    with Lab(args.rate, cc=args.cc) as lab:
        a, b = lab.add_host("a"), lab.add_host("b")
        print(f"congestion control {args.cc}, rate {args.rate}")
        for both_ways in (False, True):
            rate = goodput(a, b, both_ways=both_ways)
            print(f"one stream, {'both directions loaded' if both_ways else 'one direction'}: "
                  f"{rate / 1e6:.3f} MB/s, {rate * 8 / bits_of(args.rate):.1%} of the line")
    return None


if __name__ == "__main__":
    main()
