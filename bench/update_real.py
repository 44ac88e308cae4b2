"""bench/update real: two versions of Debian packages, unpacked and put into one archive each."""

import os
import pathlib
import subprocess
import tempfile

import update_peers
from common import GiB, size_of
from update_data import Pair
from update_lab import Table, mb
from update_sets import columns, ours

PACKAGES = "libreoffice-core,libreoffice-common,libreoffice-writer,libreoffice-calc"
BLOCKS = "0,512,1KiB,2KiB,4KiB,8KiB,16KiB,64KiB"  # 0: the size that rsync chooses
SCAN_MOST = 1.02  # of rsync at its best block size; with a recipe 1


def said(*command, folder=None):
    return subprocess.run([str(word) for word in command], check=True, text=True, cwd=folder,
                          stdout=subprocess.PIPE).stdout


def versions_of(package):
    """Those that the configured archives offer, the newest first."""
    rows = [[word.strip() for word in line.split("|")]
            for line in said("apt-cache", "madison", package).splitlines()]
    return list(dict.fromkeys(row[1] for row in rows if row[2].endswith("Packages")))


def archive(path, packages, number):
    """An archive of what the packages contain in their newest (0) or an older version."""
    with tempfile.TemporaryDirectory(prefix="p2pd-update-") as name:
        folder = pathlib.Path(name)
        tree = folder / "tree"
        for package in packages:
            version = versions_of(package)[number]
            print(f"{path.stem} {path.suffix[1:]}: {package} {version}", flush=True)
            # As root: apt's own user may not write here.
            said("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root",
                 f"{package}={version}", folder=folder)
        for package in sorted(folder.glob("*.deb")):
            said("dpkg-deb", "-x", package, tree)
        said("tar", "--sort=name", "--numeric-owner", "-C", tree, "-cf", path, ".")
    return path


def get_pair(args, folder):
    if args.old:
        return Pair(args.old, args.new, None)
    packages = args.packages.split(",")
    for package in packages:
        if len(versions_of(package)) < 2:
            raise RuntimeError(f"{package}: fewer than two versions; choose others with --packages "
                               "(apt-cache madison shows what there is)")
    return Pair(archive(folder / "real.v1", packages, 1), archive(folder / "real.v2", packages, 0),
                None)


def run(args):
    with tempfile.TemporaryDirectory(prefix="p2pd-update-") as name:
        folder = pathlib.Path(name)
        pair = get_pair(args, folder)
        print(f"{mb(pair.old_bytes)} -> {mb(pair.new_bytes)} MB, SHA-256 of v2 {pair.digest}",
              flush=True)
        table, rows = Table(columns(None)), []

        def add(row):
            rows.append(row)
            table.add(row)

        for size in map(size_of, args.blocks.split(",")):
            update_peers.PEERS[f"rsync-{size or 'default'}"] = update_peers.of(
                update_peers.Rsync, size or None)
            row = update_peers.measure(f"rsync-{size or 'default'}", pair, args)
            if row:
                add({**row, "most": None})
        best = min((row["wire_bytes"] for row in rows if row["right"]), default=None)
        for way, factor in (("scan", SCAN_MOST), ("recipe", 1)):
            add({**ours(way, pair, args), "most": best and best * factor})
    reached = all(row["right"] and (not row["most"] or row["wire_bytes"] <= row["most"])
                  for row in rows)
    return {"old_bytes": pair.old_bytes, "new_bytes": pair.new_bytes, "rows": rows}, reached


def add_arguments(parser):
    parser.add_argument("--packages", default=PACKAGES,
                        help="each with two versions in the archives")
    parser.add_argument("--old", type=pathlib.Path, help="instead of packages, with --new")
    parser.add_argument("--new", type=pathlib.Path)
    parser.add_argument("--blocks", default=BLOCKS, help="of rsync; 0: its own choice")


def need_of(args):
    if not args.old:
        return 6 * GiB
    return 5 * max(os.stat(args.old).st_size, os.stat(args.new).st_size)
