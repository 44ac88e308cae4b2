"""Pairs of an old and a new file, the same for the same seed: the data of bench/update.

Content is random on purpose: compression changes nothing, so bytes compare like with like.

    vm         extents of 64 KiB to 4 MiB: 30 % zeros, 5 % duplicates of earlier ones, the rest
               random; v2 overwrites 1 % of the pages of 4 KiB, in place
    tar        files of 24 KB in the median and 115 KB on average; v2 lacks 1 % of them, 2 % have 1
               to 2000 bytes inserted, 1 % are new (24 KB in the median, 33 KB on average)
    tarhdr     the same, and in v2 every file's two times are other ones: 24 bytes of each header
    dense      random; v2 has 16 other bytes in every page of 4 KiB
    unrelated  v1 is that of tar, of twice the size, v2 is random
"""

import functools
import hashlib
import math
import os
import random
import shutil
import statistics
import tarfile

from common import GiB, KiB, MiB, PIECE, make_dense

PAGE = 4096
SIZES = {"vm": 2 * GiB, "tar": 2_150_000_000, "tarhdr": 2_150_000_000, "dense": 256 * MiB,
         "unrelated": GiB}
BLOCK = 512  # of a tar archive


class Pair:
    """v1, v2, and how many bytes of v2 the generator drew anew."""

    def __init__(self, old, new, fresh_bytes):
        self.old = old
        self.new = new
        self.fresh_bytes = fresh_bytes
        self.old_bytes, self.new_bytes = old.stat().st_size, new.stat().st_size

    @functools.cached_property
    def digest(self):
        """SHA-256 of v2."""
        with self.new.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def make(name, folder, size, seed):
    """Writes NAME.v1 and NAME.v2 into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    old, new = folder / f"{name}.v1", folder / f"{name}.v2"
    fresh = MAKERS[name](old, new, size, f"{seed}:{name.removesuffix('hdr')}")
    return Pair(old, new, fresh)


# vm

def make_image(path, size, seed):
    """An image of extents; returns its size, whole pages."""
    size -= size % PAGE
    draw = random.Random(f"{seed}:image")
    filled = []  # (offset, length) of random extents
    with path.open("w+b") as stream:
        at = 0
        while at < size:
            pages = int(math.exp(draw.uniform(math.log(64 * KiB), math.log(4 * MiB)))) // PAGE
            length, kind = min(pages * PAGE, size - at), draw.random()
            if kind < 0.05 and filled:
                start, length = draw.choice(filled)
                length = min(length, size - at)
                stream.seek(start)
                data = stream.read(length)
            elif kind < 0.35:
                data = bytes(length)
            else:
                data = draw.randbytes(length)
                filled.append((at, length))
            stream.seek(at)
            stream.write(data)
            at += length
    return size


def change_pages(path, size, part, seed):
    """Overwrites this part of the pages with random ones; returns their numbers."""
    draw = random.Random(f"{seed}:pages")
    pages = sorted(draw.sample(range(size // PAGE), int(size // PAGE * part)))
    with path.open("r+b", buffering=0) as stream:
        for page in pages:
            os.pwrite(stream.fileno(), draw.randbytes(PAGE), page * PAGE)
    return pages


def make_vm(old, new, size, seed):
    size = make_image(old, size, seed)
    shutil.copyfile(old, new)
    return len(change_pages(new, size, 0.01, seed)) * PAGE


# tar, tarhdr

MEDIAN, MEAN = 24_000, 115_000
NEW_MEAN = 33_000


def file_sizes(count, mean, draw):
    """Sizes at even steps of a log-normal distribution, in drawn order: sum and median hardly
    depend on the seed."""
    sigma = math.sqrt(2 * math.log(mean / MEDIAN))
    normal = statistics.NormalDist(math.log(MEDIAN), sigma)
    sizes = [int(math.exp(normal.inv_cdf((step + 0.5) / count))) for step in range(count)]
    draw.shuffle(sizes)
    return sizes


def header(number, name, size, times):
    """A header with two times, as GNU tar writes it in incremental archives."""
    info = tarfile.TarInfo(f"usr/share/set{number % 97:02}/{name}.bin")
    info.size, info.mtime, info.uname, info.gname = size, times[0], "root", "root"
    buffer = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    buffer[345:357] = b"%011o\0" % times[1]  # atime
    buffer[148:156] = b"        "
    buffer[148:156] = b"%06o\0 " % sum(buffer)
    return bytes(buffer)


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def make_tar(old, new, size, seed, touch=False):
    draw, look = random.Random(f"{seed}:files"), random.Random(f"{seed}:times")
    sizes = file_sizes(max(round(size / MEAN), 100), MEAN, draw)
    order = list(range(len(sizes)))
    draw.shuffle(order)
    deleted = set(order[:len(order) // 100])
    grown = set(order[len(deleted):len(deleted) + len(order) // 50])
    added_sizes = file_sizes(len(order) // 100, NEW_MEAN, draw)
    added = dict(zip(draw.sample(range(len(order)), len(added_sizes)), added_sizes))
    fresh = sum(added_sizes)
    times = (0o13200000000, 0o13200000001)
    with old.open("wb") as before, new.open("wb") as after:
        for number, length in enumerate(sizes):
            data = draw.randbytes(length)
            before.write(header(number, f"file{number:06}", length, times) + padded(data))
            if number not in deleted:
                if number in grown:
                    middle, more = draw.randrange(length), draw.randint(1, 2000)
                    data = data[:middle] + draw.randbytes(more) + data[middle:]
                    fresh += more
                touched = times
                if touch:
                    touched = look.randrange(1 << 32), look.randrange(1 << 32)
                    fresh += 24
                after.write(header(number, f"file{number:06}", len(data), touched) + padded(data))
            if number in added:
                data = draw.randbytes(added[number])
                after.write(header(number, f"new{number:06}", len(data), times) + padded(data))
        for stream in (before, after):
            stream.write(bytes(2 * BLOCK))
    return fresh


def make_tarhdr(old, new, size, seed):
    return make_tar(old, new, size, seed, touch=True)


# dense, unrelated

def make_dense_edits(old, new, size, seed):
    size -= size % PAGE
    make_dense(old, size, f"{seed}:old")
    draw = random.Random(f"{seed}:edits")
    with old.open("rb") as before, new.open("wb") as after:
        while piece := bytearray(before.read(PIECE)):
            for page in range(0, len(piece), PAGE):
                at = page + draw.randrange(PAGE - 15)
                piece[at:at + 16] = draw.randbytes(16)
            after.write(piece)
    return size // PAGE * 16


def make_unrelated(old, new, size, seed):
    make_tar(old, new, 2 * size, f"{seed}:old")
    new.unlink()
    make_dense(new, size, f"{seed}:new")
    return size


MAKERS = {"vm": make_vm, "tar": make_tar, "tarhdr": make_tarhdr, "dense": make_dense_edits,
          "unrelated": make_unrelated}
