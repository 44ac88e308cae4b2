"""What the benchmarks share: sizes, a description of the machine, files, a network of one's own."""

import datetime
import heapq
import json
import os
import pathlib
import platform
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
PIECE = MiB  # what is read or written at once
UNITS = {"KiB": KiB, "MiB": MiB, "GiB": GiB, "TiB": 1 << 40, "KB": 10**3, "MB": 10**6, "GB": 10**9,
         "TB": 10**12}


def size_of(text):
    """Bytes of "256MiB" or "300GB"."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(float(text[:-len(unit)]) * factor)
    return int(text)


def size_text(count):
    """"12.3 MiB"."""
    for unit in ("GiB", "MiB", "KiB"):
        if abs(count) >= UNITS[unit]:
            return f"{count / UNITS[unit]:.1f} {unit}"
    return f"{count:.0f} B"


def machine(cc=None):
    """What a result needs to be compared with another one."""
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], text=True,
                            capture_output=True, check=False).stdout.strip()
    if cc is None:
        cc = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return {"cores": os.cpu_count(), "kernel": platform.release(), "commit": commit or "unknown",
            "congestion_control": cc,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def machine_text(about):
    return (f"{about['cores']} cores, kernel {about['kernel']}, commit {about['commit']}, "
            f"{about['congestion_control']}")


def write_json(path, content):
    if path:
        path.write_text(json.dumps(content, indent=2) + "\n")


def in_own_network(script):
    """Starts `script` again in a network namespace that has only a loopback interface, so that the
    counters of `lo` are ours alone. The namespace ends with its last process. Needs root."""
    if os.environ.get("P2P_BENCH_NETWORK") == "own":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        sys.exit("a network namespace needs root: run this with sudo")
    os.environ["P2P_BENCH_NETWORK"] = "own"
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable, "-B", str(script),
                          *sys.argv[1:]])


def loopback_bytes():
    """Bytes of all packets that went over `lo` so far, headers included. Packets of up to 64 KiB:
    headers are about 0.1 % of a bulk transfer here, against 4.5 % on Ethernet."""
    for line in pathlib.Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])  # transmitted
    raise RuntimeError("this network namespace has no loopback interface")


# Files.

def make_dense(path, size, seed):
    """A file of pseudo-random bytes, the same for the same seed; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    with path.open("wb") as stream:
        for at in range(0, size, PIECE):
            stream.write(draw.randbytes(min(PIECE, size - at)))
    return path


def make_sparse(path, size, every, data, seed):
    """A file of holes with `data` pseudo-random bytes at the start of every `every`; returns the
    number of data bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    written = 0
    with path.open("wb") as stream:
        stream.truncate(size)
        for at in range(0, size, every):
            written += os.pwrite(stream.fileno(), draw.randbytes(min(data, size - at)), at)
    return written


def allocated(path):
    return os.stat(path).st_blocks * 512


def extents(descriptor, size):
    """(start, end) of what is not a hole, rising."""
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at


def first_difference(one, other):
    """Offset of the first byte that differs, or None. Reads only what is not a hole in both."""
    with one.open("rb") as a, other.open("rb") as b:
        size = os.fstat(a.fileno()).st_size
        if size != os.fstat(b.fileno()).st_size:
            return min(size, os.fstat(b.fileno()).st_size)
        seen = 0  # compared up to here
        for start, end in heapq.merge(extents(a.fileno(), size), extents(b.fileno(), size)):
            for at in range(max(start, seen), end, PIECE):
                length = min(PIECE, end - at)
                left = os.pread(a.fileno(), length, at)
                right = os.pread(b.fileno(), length, at)
                if left != right:
                    return at + next(i for i in range(length) if left[i:i + 1] != right[i:i + 1])
            seen = max(seen, end)
    return None
