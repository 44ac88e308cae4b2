"""bench/update sets: one receiver with v1 gets v2, by p2pd and by others, on generated pairs."""

import os
import pathlib
import tempfile
import time

import update_data
import update_peers
from common import size_of
from update_lab import Agents, FirstByte, Measured, Table, digest, four_numbers, hosts, mb, number

OURS = ("recipe", "scan", "fresh")  # with a recipe, without one, to a node without a copy
PEERS = ("rsync", "rsync-4k", "zsync", "casync-64k", "casync-16k")
OF_SET = {"dense": ("rsync", "rsync-1k", "zsync-1k")}
FIRST_BYTE_MOST = 0.3   # seconds, of the unrelated pair
UNRELATED_MOST = 1.002  # of what a node without a copy fetches
# Bytes on the receiver's link at the sizes of update_data.SIZES.
MOST = {("vm", "recipe"): 22.6e6, ("vm", "scan"): 26.5e6, ("tar", "recipe"): 8.5e6,
        ("tar", "scan"): 17e6, ("tarhdr", "recipe"): 13e6, ("tarhdr", "scan"): 85e6,
        ("dense", "recipe"): 1.9e6}


def start_point(way, pair, folder):
    """{host: folder that it may publish from}, hard links: only the publisher of a recipe has both
    versions."""
    holders = {"recipe": {"source": (pair.old, pair.new)},
               "scan": {"first": (pair.old,), "source": (pair.new,)},
               "fresh": {"source": (pair.new,)}}[way]
    shares = {}
    for name, files in holders.items():
        shares[name] = folder / "share" / name
        shares[name].mkdir(parents=True)
        for file, link in zip(files, ("v1", "v2") if len(files) > 1 else (file_name(way, name),)):
            os.link(file, shares[name] / link)
    return shares


def file_name(way, host):
    return "v1" if way == "scan" and host == "first" else "v2"


def ours(way, pair, args):
    """A row of results of p2pd."""
    with hosts("source", "first", "receiver", cc=args.cc, frames=args.frames) as lab_of:
        the_lab, made, folder = lab_of
        shares = start_point(way, pair, folder)
        if "first" not in shares:
            del made["first"]
        agents = Agents(the_lab, folder, made, args)
        try:
            agents.launch(shares)
            if way != "fresh":
                agents.publish("first" if "first" in shares else "source",
                               shares.get("first", shares["source"]) / "v1", "bench/file")
                agents.push("bench/file@1", ["receiver"])
            prepared = agents.publish("source", shares["source"] / "v2", "bench/file")
            copy = agents.copy("receiver")
            first = FirstByte(copy.parent)
            options = ["--no-delta"] if way == "fresh" and args.has_delta else []
            first.start()
            with Measured(made["receiver"], agents.processes) as measured:
                job = agents.push("bench/file", ["receiver"], *options)
            first.ended.set()
            first.join()
            right = digest(copy) == pair.digest
        finally:
            agents.close()
    return {"way": f"p2pd, {way}", **measured.result, **prepared, "right": right,
            "first_byte_seconds": first.at and first.at - measured.begin,
            "node_seconds": job["tasks"][0].get("seconds"), **four_numbers(job["tasks"][0])}


def judge(rows, name, full_size):
    """Puts the bar and whether it was reached into each row."""
    fresh = next((row["wire_bytes"] for row in rows if row["way"] == "p2pd, fresh"), None)
    for row in rows:
        way = row["way"].removeprefix("p2pd, ")
        row["most"] = MOST.get((name, way)) if full_size else None
        is_update = row["way"].startswith("p2pd") and way != "fresh"
        if name == "unrelated" and is_update and full_size:
            row["most"] = fresh and fresh * UNRELATED_MOST
            row["first_byte_most"] = FIRST_BYTE_MOST
        row["reached"] = (row["right"] and (not row["most"] or row["wire_bytes"] <= row["most"])
                          and ("first_byte_most" not in row or row["first_byte_seconds"] is not None
                               and row["first_byte_seconds"] <= FIRST_BYTE_MOST))


def verdict(row):
    if not row["right"]:
        return "WRONG BYTES"
    late = "first_byte_most" in row and (row["first_byte_seconds"] or 9e9) > FIRST_BYTE_MOST
    text = "" if not row["most"] else "ok" if row["wire_bytes"] <= row["most"] else "MISSED"
    return f"{text}, first byte {'MISSED' if late else 'ok'}" if "first_byte_most" in row else text


def columns(fresh_bytes):
    return [
        ("way", 13, lambda row: row["way"]),
        ("link MB", 9, lambda row: mb(row["wire_bytes"])),
        ("of new", 7, lambda row: number(fresh_bytes and row["wire_bytes"] / fresh_bytes, 3)),
        ("most MB", 8, lambda row: mb(row["most"])),
        ("prep. s", 7, lambda row: number(row["prepare_seconds"], 1)),
        ("prep. CPU", 9, lambda row: number(row["prepare_cpu_seconds"], 1)),
        ("s", 6, lambda row: number(row["seconds"])),
        ("CPU s", 6, lambda row: number(row["cpu_seconds"])),
        ("peak MiB", 8, lambda row: number(max(row["peak_bytes"].values(), default=0) / 2**20, 0)),
        ("1st byte s", 10, lambda row: number(row.get("first_byte_seconds"), 3)),
        ("fetched", 8, lambda row: mb(row.get("bytes_received"))),
        ("copied", 8, lambda row: mb(row.get("bytes_copied"))),
        ("already", 8, lambda row: mb(row.get("bytes_already"))),
        ("written", 8, lambda row: mb(row.get("bytes_written"))),
        ("", 6, verdict),
    ]


def one_set(name, args):
    size = args.size or update_data.SIZES[name]
    full_size = size == update_data.SIZES[name]
    with tempfile.TemporaryDirectory(prefix="p2pd-update-") as folder:
        begin = time.monotonic()
        pair = update_data.make(name, pathlib.Path(folder), size, args.seed)
        print(f"\n{name}: {mb(pair.old.stat().st_size)} -> {mb(pair.new.stat().st_size)} MB, "
              f"{mb(pair.fresh_bytes)} MB of it new, made in {time.monotonic() - begin:.1f} s"
              + ("" if full_size else "; no bars at this size"), flush=True)
        rows = []
        for way in args.ways or (*reversed(OURS), *OF_SET.get(name, PEERS)):
            row = ours(way, pair, args) if way in OURS else update_peers.measure(way, pair, args)
            if row:
                rows.append(row)
                judge(rows, name, full_size)
                if len(rows) == 1:
                    table = Table(columns(pair.fresh_bytes))
                table.add(row)
    return {"set": name, "old_bytes": pair.old_bytes, "new_bytes": pair.new_bytes,
            "fresh_bytes": pair.fresh_bytes, "rows": rows}


def run(args):
    results = [one_set(name, args) for name in args.sets]
    return {"results": results}, all(row["reached"] for one in results for row in one["rows"])


def add_arguments(parser):
    parser.add_argument("--sets", type=lambda text: text.split(","),
                        default=tuple(update_data.SIZES), help="some of them, with commas")
    parser.add_argument("--size", type=size_of, help="of every new file; default: the issue's")
    parser.add_argument("--ways", type=lambda text: text.split(","),
                        help=f"some of {','.join((*OURS, *update_peers.PEERS))}")


def need_of(args):
    """Bytes that it may need below --dir."""
    return 5 * max(args.size or update_data.SIZES[name] for name in args.sets)

