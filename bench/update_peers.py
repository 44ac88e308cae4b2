"""What bench/update compares p2pd with: rsync, zsync and casync between two hosts of a lab. Each
brings v2 to a receiver that has v1."""

import abc
import os
import pathlib
import shutil

from swarm_processes import Processes
from update_lab import LONG, Measured, digest, hosts

HELPER = pathlib.Path(__file__).resolve().parent / "range_server.py"


class Peer(abc.ABC):
    """One tool for one pair, in a fresh lab. `prepare` is work once per version at the source."""

    package = ""
    program = ""
    block = None  # bytes

    def __init__(self, source, receiver, folder, pair):
        self.source = source
        self.receiver = receiver
        self.folder = folder
        self.old, self.new = pair.old, pair.new
        self.share = folder / "share"
        self.share.mkdir()
        os.link(self.new, self.share / "v2")
        self.copies = folder / "copies"
        self.copies.mkdir()
        self.copy = self.copies / "file.bin"
        self.processes = Processes(folder)

    def prepare(self):
        """What is made before anybody asks."""

    @abc.abstractmethod
    def serve(self):
        """Starts the source's server."""

    @abc.abstractmethod
    def fetch(self):
        """The receiver's command."""

    def call(self, host, name, *command):
        self.processes.start(host, name, *command)
        if self.processes.wait(name, LONG) != 0:
            raise RuntimeError(f"{command[0]} failed or took too long")

    def serve_http(self, folder):
        self.processes.start(self.source, "server", "/usr/bin/python3", "-B", HELPER,
                             f"{self.source.address}:8080", folder)
        log = self.folder / "server.log"
        self.processes.wait_for("server", lambda: "listening" in log.read_text())


class Rsync(Peer):
    """A daemon at the source, whose protocol is neither encrypted nor authenticated."""

    package = program = "rsync"

    def serve(self):
        config = self.folder / "rsyncd.conf"
        config.write_text("uid = root\ngid = root\nuse chroot = no\n"
                          f"[share]\npath = {self.share}\n")
        log = self.folder / "rsyncd.log"
        self.processes.start(self.source, "server", "rsync", "--daemon", "--no-detach",
                             f"--config={config}", f"--address={self.source.address}",
                             "--port=8730", f"--log-file={log}")
        self.processes.wait_for("server", lambda: log.exists() and "listening" in log.read_text())

    def fetch(self):
        os.link(self.old, self.copy)  # rsync writes a new file beside it
        size = [f"--block-size={self.block}"] if self.block else []
        self.call(self.receiver, "client", "rsync", "--port=8730", "--ignore-times", *size,
                  f"{self.source.address}::share/v2", self.copy)


class Zsync(Peer):
    package, program = "zsync", "zsyncmake"

    def prepare(self):
        size = ["-b", self.block] if self.block else []
        self.call(self.source, "make", "zsyncmake", *size, "-u", "v2", "-f", "v2", "-o",
                  self.share / "v2.zsync", self.share / "v2")

    def serve(self):
        self.serve_http(self.share)

    def fetch(self):
        self.call(self.receiver, "client", "zsync", "-q", "-i", self.old, "-o", self.copy,
                  f"http://{self.source.address}:8080/v2.zsync")


class Casync(Peer):
    package = program = "casync"

    def prepare(self):
        self.call(self.source, "make", "casync", "make", f"--store={self.share}/v2.castr",
                  f"--chunk-size={self.block}", self.share / "v2.caibx", self.share / "v2")

    def serve(self):
        self.serve_http(self.share)

    def fetch(self):
        url = f"http://{self.source.address}:8080/v2"
        self.call(self.receiver, "client", "casync", "extract", f"--store={url}.castr",
                  f"--seed={self.old}", "--seed-output=no", f"{url}.caibx", self.copy)


def of(tool, block=None):
    return type(tool.__name__, (tool,), {"block": block})


# zsync and rsync choose a block size when none is given.
PEERS = {"rsync": of(Rsync), "rsync-1k": of(Rsync, 1024), "rsync-4k": of(Rsync, 4096),
         "rsync-16k": of(Rsync, 16384), "rsync-128k": of(Rsync, 131072), "zsync": of(Zsync),
         "zsync-1k": of(Zsync, 1024), "casync-64k": of(Casync, 65536),
         "casync-16k": of(Casync, 16384)}


def measure(name, pair, args):
    """A row of results; None when the tool is not installed, which is said."""
    tool = PEERS[name]
    if shutil.which(tool.program) is None:
        print(f"{name}: {tool.program} is not installed: apt-get install {tool.package}",
              flush=True)
        return None
    with hosts("source", "receiver", cc=args.cc, frames=args.frames) as (_, made, folder):
        peer = tool(made["source"], made["receiver"], folder, pair)
        try:
            with Measured(peer.receiver, peer.processes) as making:
                peer.prepare()
            peer.serve()
            with Measured(peer.receiver, peer.processes) as measured:
                peer.fetch()
            right = digest(peer.copy) == pair.digest
        finally:
            peer.processes.stop()
    return {"way": name, **measured.result, "prepare_seconds": making.result["seconds"],
            "prepare_cpu_seconds": making.result["cpu_seconds"], "right": right}
