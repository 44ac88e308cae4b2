"""bench/update sparse: a huge image that is nearly all holes, with 1 % of its data changed."""

import random
import subprocess

from common import KiB, MiB, first_difference, make_sparse, size_of
from landing_cluster import Report, timed
from update_data import PAGE
from update_lab import Agents, Measured, four_numbers, hosts

EVERY = 8 * MiB
PEAK_MOST = 256 * MiB
CHANGED = 0.01


def change(path, size, data, seed):
    """Overwrites 1 % of the pages of data; returns the bytes."""
    draw = random.Random(f"{seed}:pages")
    in_piece = data // PAGE
    pages = (-(-size // EVERY)) * in_piece
    chosen = draw.sample(range(pages), max(1, int(pages * CHANGED)))
    written = 0
    with path.open("r+b", buffering=0) as stream:
        for page in sorted(chosen):
            at = page // in_piece * EVERY + page % in_piece * PAGE
            if at + PAGE <= size:
                stream.seek(at)
                written += stream.write(draw.randbytes(PAGE))
    return written


class Watched:
    """An agent and its helpers, whose peaks begin anew."""

    def __init__(self, agents, node):
        self.processes = agents.processes_of(node)
        for one in self.processes:
            with open(f"/proc/{one.pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")  # VmHWM is what is resident now

    def show(self, report, what):
        for number, one in enumerate(self.processes):
            report.add(what + " helper" * (number > 0), one.peak_bytes(), PEAK_MOST)


def run(args):
    report = Report()
    with hosts("source", "receiver", cc=args.cc, frames=args.frames) as (the_lab, made, folder):
        share = folder / "share"
        share.mkdir()
        old, new = share / "v1.img", share / "v2.img"
        data = make_sparse(old, args.size, EVERY, args.data, args.seed)
        subprocess.run(["cp", "--sparse=always", "--reflink=never", old, new], check=True)
        changed = change(new, args.size, args.data, args.seed)
        report.add("data in v1", data)
        report.add("data changed in v2", changed)
        agents = Agents(the_lab, folder, made, args)
        try:
            agents.launch({"source": share})
            seconds, _ = timed(agents.publish, "source", old, "bench/sparse")
            report.seconds("publish v1", seconds)
            seconds, _ = timed(agents.push, "bench/sparse", ["receiver"])
            report.seconds("push v1", seconds)
            source = Watched(agents, "source")
            seconds, _ = timed(agents.publish, "source", new, "bench/sparse")
            report.seconds("publish v2", seconds)
            source.show(report, "memory after publish, source")
            source, receiver = Watched(agents, "source"), Watched(agents, "receiver")
            with Measured(made["receiver"], agents.processes) as measured:
                job = agents.push("bench/sparse", ["receiver"])
            report.seconds("push v2", measured.result["seconds"])
            for name, watched in (("source", source), ("receiver", receiver)):
                watched.show(report, f"memory, {name}")
            report.add("on the receiver's link", measured.result["wire_bytes"])
            report.ratio("of what has changed", measured.result["wire_bytes"] / changed)
            numbers = four_numbers(job["tasks"][0])
            for key, count in numbers.items():
                if key != "basis":
                    report.add(key.removeprefix("bytes_"), count)
            print(f"basis: {numbers['basis'] or '-'}")
            difference = first_difference(new, agents.copy("receiver"))
            report.count("copies that differ", int(difference is not None), 0)
        finally:
            agents.close()
    return {"rows": report.rows, "data_bytes": data, "changed_bytes": changed, **measured.result,
            **numbers}, report.all_reached()


def add_arguments(parser):
    parser.add_argument("--size", type=size_of, default="300GB")
    parser.add_argument("--data", type=size_of, default=120 * KiB, help="in every 8 MiB")


def need_of(args):
    return 5 * (args.size // EVERY + 1) * args.data

