"""bench/update disks: updates on XFS and ext4 on loop devices; reflinks and extents."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from common import MiB, size_of
from landing_cluster import Report
from update_data import PAGE, change_pages, make_image
from update_lab import Agents, digest, hosts

EXTENT_EVERY = 256 * 1024  # more extents than one for so many bytes: no reflink
# name -> what differs in v2; few edits stay far below the limit, 1 % of the pages is far above it
EDITS = {"few": 0, "scattered": 0.01}
FEW = 8  # runs of a MiB


def sh(*command):
    return subprocess.run([str(word) for word in command], check=True, text=True,
                          capture_output=True).stdout


@contextlib.contextmanager
def file_system(kind, size):
    """A new file system on a loop device, mounted."""
    with tempfile.TemporaryDirectory(prefix="p2pd-update-") as name:
        folder = pathlib.Path(name)
        image, place = folder / "disk", folder / "mounted"
        place.mkdir()
        with image.open("wb") as stream:
            stream.truncate(max(size, 400 * MiB))
        sh(f"mkfs.{kind}", *(["-q", "-F"] if kind == "ext4" else ["-q", "-m", "reflink=1"]), image)
        sh("mount", "-o", "loop", image, place)
        try:
            yield place
        finally:
            sh("umount", place)


def change_few(path, size, seed):
    """Overwrites some runs of a MiB with other bytes."""
    with path.open("r+b", buffering=0) as stream:
        for number in range(FEW):
            at = size // FEW * number // PAGE * PAGE
            stream.seek(at)
            stream.write(bytes(byte ^ 0x55 ^ seed for byte in os.pread(stream.fileno(), MiB, at)))


def extents(path):
    """(number of extents, bytes that they share with other files), by FIEMAP."""
    sh("sync", path)
    number, shared = 0, 0
    for line in sh("filefrag", "-v", "-b4096", path).splitlines():
        match = re.match(r" *\d+: +(?:\d+)\.\. *\d+: +\d+\.\. *\d+: +(\d+):(.*)", line)
        if match:
            number += 1
            shared += int(match[1]) * 4096 if "shared" in match[2] else 0
    return number, shared


def one_update(kind, edits, reflink, args):
    """v1 -> v2 on one file system; a row of results."""
    size = args.size - args.size % PAGE
    with hosts("source", "receiver", cc=args.cc) as (the_lab, made, folder), \
            file_system(kind, 4 * size) as place:
        share = folder / "share"
        share.mkdir()
        old, new = share / "v1", share / "v2"
        make_image(old, size, args.seed)
        shutil.copyfile(old, new)
        if EDITS[edits]:
            change_pages(new, size, EDITS[edits], args.seed)
        else:
            change_few(new, size, args.seed & 0xff)
        agents = OnDisk(the_lab, folder, made, args)
        agents.place = place
        try:
            agents.launch({"source": share})
            agents.publish("source", old, "bench/image")
            agents.push("bench/image", ["receiver"])
            agents.publish("source", new, "bench/image")
            copy = agents.copy("receiver")
            options = ["--reflink", reflink] if args.has_delta else []
            with copy.open("rb"):  # v1 stays while v2 lands: what both have is shared
                job = agents.push("bench/image", ["receiver"], *options)
                number, shared = extents(copy)
            right = digest(copy) == digest(new)
        finally:
            agents.close()
    return {"file_system": kind, "edits": edits, "reflink": reflink, "extents": number,
            "shared_bytes": shared, "right": right, "size": size,
            "basis": job["tasks"][0].get("basis", ""),
            "written": int(job["tasks"][0].get("bytes_written", 0))}


class OnDisk(Agents):
    """The receiver's copies lie on the file system."""

    place = None

    def destination(self, receiver):
        if receiver.name == "receiver":
            return self.place / "copies" / "file.bin"
        return super().destination(receiver)


def run(args):
    report, rows = Report(), []
    for kind in args.kinds:
        for edits in EDITS:
            for reflink in ("auto", "never"):
                row = one_update(kind, edits, reflink, args)
                rows.append(row)
                what = f"{kind}, {edits} edits, reflink {reflink}"
                shall = kind == "xfs" and edits == "few" and reflink == "auto" and args.has_delta
                report.count(f"{what}: wrong copies", int(not row["right"]), 0)
                report.count(f"{what}: extents", row["extents"],
                             max(row["size"] // EXTENT_EVERY, 1) if shall else None)
                report.add(f"{what}: written", row["written"])
                if shall:
                    report.add(f"{what}: not shared", row["size"] - row["shared_bytes"],
                               row["size"] // 2)
                else:
                    report.add(f"{what}: shared", row["shared_bytes"], 0)
                print(f"    {row['basis'] or '-'}", flush=True)
    return {"rows": report.rows, "results": rows}, report.all_reached()


def add_arguments(parser):
    parser.add_argument("--size", type=size_of, default="256MiB")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=("xfs", "ext4"))


def need_of(args):
    return 8 * args.size + 400 * MiB
