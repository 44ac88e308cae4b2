#!/usr/bin/python3
"""ICMP echoes to an address, one every 50 ms, until SIGINT; then prints the milliseconds that each
answer took, one a line, and on stderr how many stayed without one. As `ping`, which is not on every
machine. Needs root."""

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time

EVERY = 0.05
ECHO, ECHO_REPLY = 8, 0


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(identity, number):
    """An echo request of 64 bytes, as ping's."""
    body = bytes(56)
    head = struct.pack("!BBHHH", ECHO, 0, 0, identity, number & 0xFFFF)
    return struct.pack("!BBHHH", ECHO, 0, checksum(head + body), identity, number & 0xFFFF) + body


def receive(link, identity, sent, times):
    while True:
        packet = link.recv(2048)
        now = time.perf_counter()
        header = (packet[0] & 15) * 4  # of IP
        kind, _, _, whose, number = struct.unpack("!BBHHH", packet[header:header + 8])
        if kind == ECHO_REPLY and whose == identity and number in sent:
            times.append((now - sent.pop(number)) * 1000)


def main():
    identity, sent, times = os.getpid() & 0xFFFF, {}, []
    link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    link.connect((sys.argv[1], 0))
    threading.Thread(target=receive, args=(link, identity, sent, times), daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    number = 0
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            number = (number + 1) & 0xFFFF
            sent[number] = time.perf_counter()
            with contextlib.suppress(OSError):  # a full queue: it counts as unanswered
                link.send(echo(identity, number))
            time.sleep(EVERY)
    print(*(f"{value:.3f}" for value in list(times)), sep="\n", flush=True)
    print(f"{len(sent)} without an answer", file=sys.stderr)


if __name__ == "__main__":
    main()
