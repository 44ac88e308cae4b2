"""bench/update fleet: nodes with v1, with v0 and with nothing get v2 in one swarm, links shaped."""

import re
import shutil
import statistics
import time

from common import size_of, size_text
from landing_cluster import Report
from update_data import PAGE, change_pages, make_image
from update_lab import Agents, SETTLE, digest, four_numbers, hosts

FETCH_MOST = 1.03   # of a node's own missing bytes
SOURCE_MOST = 1.05  # of the largest missing set
# What a source logs when it makes a hint, or looks for one file in another.
HINT = re.compile(r" (?:hints?|delta|match) |(?:recipe|signature)", re.IGNORECASE)


class Group:
    """Nodes with the same old version, or without one (version None)."""

    def __init__(self, name, count, version):
        self.name = name
        self.nodes = [f"{name}-{number:02}" for number in range(1, count + 1)]
        self.version = version
        self.missing = 0


def read_by(agents, node):
    """Bytes of files that an agent and its helper have read so far."""
    return sum(one.io()["rchar"] for one in agents.processes_of(node))


def make_versions(share, size, seed):
    """v0, v1, v2 in the folder; returns the bytes in which v2 differs from v0 and from v1."""
    size = make_image(share / "v0", size, seed)
    shutil.copyfile(share / "v0", share / "v1")
    first = change_pages(share / "v1", size, 0.01, f"{seed}:1")
    shutil.copyfile(share / "v1", share / "v2")
    second = change_pages(share / "v2", size, 0.01, f"{seed}:2")
    return len({*first, *second}) * PAGE, len(second) * PAGE


def update(agents, groups, new, report):
    """Brings v2 to everybody; returns what was measured."""
    nodes = [node for group in groups for node in group.nodes]
    expected = digest(new)
    mark, read = len(agents.log("source")), read_by(agents, "source")
    counters = {name: host.counters() for name, host in agents.hosts_of.items()}
    cpu, begin = agents.processes.cpu_seconds(), time.monotonic()
    job = agents.push("bench/image@3", nodes)
    seconds = time.monotonic() - begin
    time.sleep(SETTLE)
    cpu = agents.processes.cpu_seconds() - cpu
    read = read_by(agents, "source") - read
    hints = [line for line in agents.log("source")[mark:].splitlines() if HINT.search(line)]
    link = {name: tuple(now - then for now, then in zip(host.counters(), counters[name]))
            for name, host in agents.hosts_of.items()}
    tasks = {task["node"]: task for task in job["tasks"]}
    wrong = [node for node in nodes if digest(agents.copy(node)) != expected]
    source_sent = int(job.get("source_bytes_sent", 0))
    show(report, groups, tasks, link, source_sent)
    report.seconds("last node", max(float(task["seconds"]) for task in tasks.values()))
    report.seconds("push, as p2pctl sees it", seconds)
    report.seconds("CPU of all processes", cpu)
    # Looking for v2 in v1, or at v2 as a whole, would read at least as much as one of them.
    report.add("files read at the source", read, source_sent + new.stat().st_size // 2)
    report.count("lines about hints in the source's log", len(hints), 0)
    for line in hints[:5]:
        print(f"    {line}")
    report.count("copies that differ", len(wrong), 0)
    return {"seconds": seconds, "cpu_seconds": cpu, "source_sent": source_sent,
            "source_link": link["source"], "source_read": read, "hint_lines": hints,
            "nodes": {node: {**four_numbers(tasks[node]), "link": link[node],
                             "seconds": tasks[node]["seconds"]} for node in nodes}}


def show(report, groups, tasks, link, source_sent):
    for group in groups:
        report.add(f"{group.name} x {len(group.nodes)}: missing", group.missing)
        fetched = [int(tasks[node].get("bytes_received", 0)) for node in group.nodes]
        report.ratio(f"{group.name}: fetched, median", statistics.median(fetched) / group.missing)
        report.ratio(f"{group.name}: fetched, most", max(fetched) / group.missing, FETCH_MOST)
        report.ratio(f"{group.name}: received by its link, most",
                     max(link[node][1] for node in group.nodes) / group.missing)
        print(f"    {tasks[group.nodes[0]].get('basis', '-') or '-'}")
    largest = max(group.missing for group in groups)
    report.ratio("source sent, of the largest missing set", source_sent / largest, SOURCE_MOST)
    report.ratio("source sent by its link", link["source"][0] / largest)


def run(args):
    report = Report()
    groups = [Group(name, count, version) for name, count, version in
              (("v1", args.newer, 2), ("v0", args.older, 1), ("fresh", args.fresh, None)) if count]
    names = ["source", *(node for group in groups for node in group.nodes)]
    print(f"links {args.rate} both ways (tbf), {args.cc}, image of {size_text(args.size)}",
          flush=True)
    with hosts(*names, rate=args.rate, cc=args.cc, frames=args.frames) as (the_lab, made, folder):
        share = folder / "share"
        share.mkdir()
        missing = dict(zip((1, 2), make_versions(share, args.size, args.seed)))
        agents = Agents(the_lab, folder, made, args)
        try:
            agents.launch({"source": share})
            for version in (1, 2):
                agents.publish("source", share / f"v{version - 1}", "bench/image")
                for group in groups:
                    if group.version == version:
                        agents.push("bench/image", group.nodes)
            agents.publish("source", share / "v2", "bench/image")
            data = int(agents.json("file", "show", "bench/image@3")["data_bytes"])
            for group in groups:
                group.missing = missing.get(group.version, data)
            result = update(agents, groups, share / "v2", report)
        finally:
            agents.close()
    return {"rows": report.rows, **result}, report.all_reached()


def add_arguments(parser):
    parser.add_argument("--size", type=size_of, default="256MiB")
    parser.add_argument("--rate", default="100mbit", help="of every link, in tc's notation")
    parser.add_argument("--newer", type=int, default=16, help="nodes with v1")
    parser.add_argument("--older", type=int, default=4, help="nodes with v0")
    parser.add_argument("--fresh", type=int, default=4, help="nodes without a copy")


def need_of(args):
    return args.size * (2 * (args.newer + args.older) + args.fresh + 4)
