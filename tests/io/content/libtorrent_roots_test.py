"""Compares our roots and layers with those that libtorrent computes for the same files.

Usage: libtorrent_roots_test.py CONTENT_ROOT_PROGRAM
Needs Debian's python3-libtorrent; without it the comparison cannot be made, which is a failure.
"""

import os
import random
import subprocess
import sys
import tempfile

try:
    import libtorrent
except ImportError as error:
    sys.exit(f"FAIL: {error}; install the Debian package python3-libtorrent")

KIB = 1024
MIB = 1024 * KIB
CHUNK = 256 * KIB
SEED = 20240501
SIZES = [1, 16383, 16384, 16385, CHUNK, CHUNK + 1, 100 * MIB]


def write_random(path, size):
    rng = random.Random(SEED + size)
    with open(path, "wb") as file:
        while size > 0:
            part = min(size, MIB)
            file.write(rng.randbytes(part))
            size -= part


def write_sparse(path, size):
    rng = random.Random(SEED)
    with open(path, "wb") as file:
        file.truncate(size)
        file.seek(3 * MIB + 5000)
        file.write(rng.randbytes(200 * KIB))
        file.seek(size - 3)
        file.write(b"end")


def ours(program, path):
    run = subprocess.run([program, path], check=True, capture_output=True, text=True)
    pairs = [line.split() for line in run.stdout.splitlines()]
    layer = [value for key, value in pairs if key == "layer"]
    single = {key: value for key, value in pairs if key != "layer"}
    return int(single["chunk_bytes"]), single["root"], layer


def theirs(path, piece_bytes):
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, path)
    torrent = libtorrent.create_torrent(storage, piece_bytes, libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(torrent, os.path.dirname(path))
    made = torrent.generate()
    info = made[b"info"]
    assert info[b"piece length"] == piece_bytes, info[b"piece length"]
    root = info[b"file tree"][os.path.basename(path).encode()][b""][b"pieces root"]
    joined = made[b"piece layers"].get(root, b"")
    return root.hex(), [joined[at:at + 32].hex() for at in range(0, len(joined), 32)]


def compare(program, path, layered):
    """Returns what is wrong, or nothing."""
    chunk_bytes, root, layer = ours(program, path)
    their_root, their_layer = theirs(path, chunk_bytes)
    wrong = []
    if bool(layer) != layered:
        wrong.append(f"a layer of {len(layer)} digests for {os.path.getsize(path)} bytes")
    if root != their_root:
        wrong.append(f"root {root}, libtorrent has {their_root}")
    if layered and layer != their_layer:
        wrong.append(f"layer of {len(layer)} digests differs from libtorrent's {len(their_layer)}")
    return wrong


def main():
    program = sys.argv[1]
    failed = False
    with tempfile.TemporaryDirectory(prefix="p2pd-roots-") as folder:
        path = os.path.join(folder, "file.bin")
        cases = [(f"{size} bytes", write_random, size) for size in SIZES]
        cases.append(("20 MiB and 7 bytes, mostly holes", write_sparse, 20 * MIB + 7))
        for name, write, size in cases:
            write(path, size)
            wrong = compare(program, path, layered=size > CHUNK)
            failed = failed or bool(wrong)
            print(f"{'FAIL' if wrong else 'ok'}: {name}", *wrong, sep="\n      ")
    return 1 if failed else 0


sys.exit(main())
