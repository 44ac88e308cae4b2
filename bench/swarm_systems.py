"""The systems that bench/swarm compares. Each object serves one run in one fresh lab."""

import abc
import os
import pathlib
import shutil
import subprocess
import sys

from swarm_processes import Processes

BITTORRENT = pathlib.Path(__file__).resolve().parent / "bittorrent.py"


def need(program, package):
    if shutil.which(program) is None:
        raise FileNotFoundError(f"{program} is not installed: apt-get install {package}")


class System(abc.ABC):
    """A way to distribute a file."""

    name = ""

    def __init__(self, the_lab, folder, sources, receivers, args):
        self.args = args  # the command line
        self.lab = the_lab
        self.folder = folder
        self.sources = sources
        self.receivers = receivers
        self.processes = Processes(folder)

    @abc.abstractmethod
    def prepare(self, file):
        """Everything before the clock starts: daemons, connections, hashing at the sources."""

    @abc.abstractmethod
    def distribute(self):
        """Starts the distribution. May return a Popen that ends when the system says it is done."""

    def destination(self, receiver):
        """Final path of the copy of one receiver: nothing is there before it is whole."""
        return self.folder / "copies" / receiver.name / "file.bin"

    def floors(self):
        """What this system needs at best, in floors."""
        return 1

    def close(self):
        self.processes.stop()


class Ours(System):
    """p2pd: the tracker on an unshaped link of its own, an agent per host."""

    name = "p2pd"

    def __init__(self, the_lab, folder, sources, receivers, args):
        super().__init__(the_lab, folder, sources, receivers, args)
        self.tracker_host = the_lab.add_host("tracker", shaped=False)
        self.tracker = args.build / "tracker" / "p2p-tracker"
        self.agent = args.build / "p2pd" / "p2pd"
        self.ctl_program = args.build / "tools" / "p2pctl" / "p2pctl"
        for program in (self.tracker, self.agent, self.ctl_program):
            if not program.exists():
                raise FileNotFoundError(f"{program}: build first (tools/test), or pass --build")

    def ctl_command(self, *args):
        """Arguments of subprocess for one p2pctl."""
        env = {**os.environ, "P2PCTL_HOME": str(self.folder / "home"),
               "P2PCTL_API": "127.0.0.1:7401"}
        return {"args": self.tracker_host.command(self.ctl_program, *args), "env": env,
                "stdin": subprocess.DEVNULL, "text": True}

    def ctl(self, *args):
        done = subprocess.run(**self.ctl_command(*args), capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"p2pctl {' '.join(map(str, args))} exited with "
                               f"{done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def wait_ready(self, name):
        self.processes.wait_for(name, (self.folder / f"{name}.ready").exists)

    def start(self, hosts, shares, *options):
        """A tracker and an agent on each of these hosts; `shares` has folders that some serve."""
        listen = f"{self.tracker_host.address}:7400"
        self.ctl("init", "--tracker-data", self.folder / "tracker", "--name", "lab", "--api",
                 "127.0.0.1:7401")
        self.processes.start(self.tracker_host, "tracker", self.tracker, "--data",
                             self.folder / "tracker", "--listen", listen, "--api",
                             "127.0.0.1:7401", "--ready-file", self.folder / "tracker.ready")
        self.wait_ready("tracker")
        token = self.ctl("token", "create", "--uses", len(hosts))
        for host in hosts:
            data = self.folder / "data" / host.name
            host.run(self.agent, "join", "--tracker", listen, "--token", token, "--data", data,
                     "--name", host.name, "--label", f"rack=r{host.rack}")
            copies = self.destination(host).parent
            copies.mkdir(parents=True)
            share = ["--share", shares[host]] if host in shares else []
            self.processes.start(host, host.name, self.agent, "run", "--data", data, "--listen",
                                 f"{host.address}:7402", "--root", copies, *share, "--ready-file",
                                 self.folder / f"{host.name}.ready", *options)
        for host in hosts:
            self.wait_ready(host.name)

    def prepare(self, file):
        self.start([*self.sources, *self.receivers], {host: file.parent for host in self.sources})
        for source in self.sources:  # the same bytes and metadata: one content id, several seeds
            self.ctl("publish", f"{source.name}:{file}", "--name", "bench/file")

    def distribute(self):
        command = self.ctl_command("push", "bench/file", "--to",
                                   ",".join(host.name for host in self.receivers), "--path",
                                   "file.bin")
        with (self.folder / "p2pctl.log").open("wb") as log:
            return subprocess.Popen(**command, stdout=log, stderr=log)


class BitTorrent(System):
    """What the BitTorrent clients share: a torrent, an announce server on an unshaped link."""

    def __init__(self, the_lab, folder, sources, receivers, args):
        super().__init__(the_lab, folder, sources, receivers, args)
        self.tracker_host = the_lab.add_host("tracker", shaped=False)
        self.torrent = folder / "file.torrent"

    @abc.abstractmethod
    def start_seed(self, host, folder):
        """A client that has the whole file in `folder`."""

    @abc.abstractmethod
    def start_peer(self, host, incoming, copies):
        """A client without the torrent; a finished file moves from `incoming` to `copies`."""

    @abc.abstractmethod
    def wait_peers(self):
        """Until every peer can be told."""

    def helper(self, *args):
        return [sys.executable, "-B", BITTORRENT, *args]

    def prepare(self, file):
        self.processes.start(self.tracker_host, "tracker",
                             *self.helper("announce", self.tracker_host.address))
        self.wait_log("tracker", "listening")
        self.tracker_host.run(*self.helper("make", file, self.torrent,
                                           self.tracker_host.address))
        for host in self.sources:
            folder = self.folder / "seeds" / host.name
            folder.mkdir(parents=True)
            os.link(file, folder / file.name)
            self.start_seed(host, folder)
        for host in self.receivers:
            incoming, copies = self.folder / "incoming" / host.name, self.destination(host).parent
            incoming.mkdir(parents=True)
            copies.mkdir(parents=True)
            self.start_peer(host, incoming, copies)
        for host in self.sources:
            self.wait_log("tracker", f"{host.address} started")
        self.wait_peers()

    def wait_log(self, name, text):
        log = self.folder / f"{name}.log"
        self.processes.wait_for(name, lambda: text in log.read_text())


class Aria2(BitTorrent):
    """aria2c with remote control: peers run idle and are given the torrent."""

    name = "aria2"

    def __init__(self, *args):
        need("aria2c", "aria2")
        super().__init__(*args)

    def start(self, host, folder, *options):
        self.processes.start(
            host, host.name, "aria2c", "--no-conf", "--quiet", f"--dir={folder}",
            "--listen-port=6881", "--enable-dht=false", "--enable-dht6=false",
            "--file-allocation=none", "--seed-ratio=0.0", *options)

    def start_seed(self, host, folder):
        self.start(host, folder, "--bt-seed-unverified=true", self.torrent)

    def start_peer(self, host, incoming, copies):
        hook = incoming.parent / f"{host.name}.sh"
        hook.write_text(f'#!/bin/sh\nln "$3" "{copies}/"\n')
        hook.chmod(0o755)
        self.start(host, incoming, "--enable-rpc", "--rpc-listen-all",
                   f"--on-bt-download-complete={hook}")

    def rpc(self, method):
        return self.tracker_host.command(*self.helper(
            "rpc", method, self.torrent, *(host.address for host in self.receivers)))

    def wait_peers(self):
        subprocess.run(self.rpc("aria2.getVersion"), check=True)

    def distribute(self):
        return subprocess.Popen(self.rpc("aria2.addTorrent"), stdin=subprocess.DEVNULL)


class Libtorrent(BitTorrent):
    """libtorrent-rasterbar through its Python binding: a session per host."""

    name = "libtorrent"

    def start_seed(self, host, folder):
        self.processes.start(host, host.name, *self.helper("seed", self.torrent, host.address,
                                                           folder))

    def start_peer(self, host, incoming, copies):
        os.mkfifo(self.fifo(host))
        self.processes.start(host, host.name, *self.helper(
            "peer", self.torrent, host.address, incoming, copies, self.fifo(host)))

    def fifo(self, host):
        return self.folder / f"{host.name}.start"

    def wait_peers(self):
        for host in self.receivers:
            self.wait_log(host.name, "waiting")

    def distribute(self):
        for host in self.receivers:
            self.fifo(host).write_text("start\n")


class Rsync(System):
    """A daemon at every source; all receivers pull at once, in turn from the sources."""

    name = "rsync"

    def __init__(self, *args):
        need("rsync", "rsync")
        super().__init__(*args)

    def floors(self):
        return -(-len(self.receivers) // len(self.sources))

    def prepare(self, file):
        config = self.folder / "rsyncd.conf"
        config.write_text("uid = root\ngid = root\nuse chroot = no\n"
                          f"[share]\npath = {file.parent}\n")
        for host in self.sources:
            self.processes.start(host, host.name, "rsync", "--daemon", "--no-detach",
                                 f"--config={config}", f"--address={host.address}", "--port=8730",
                                 f"--log-file={self.folder}/{host.name}.rsyncd.log")
            log = self.folder / f"{host.name}.rsyncd.log"
            self.processes.wait_for(host.name,
                                    lambda log=log: log.exists() and "listening" in log.read_text())
        for host in self.receivers:
            self.destination(host).parent.mkdir(parents=True)

    def distribute(self):
        for number, host in enumerate(self.receivers):
            source = self.sources[number % len(self.sources)]
            self.processes.start(host, host.name, "rsync", "--port=8730",
                                 f"{source.address}::share/file.bin", self.destination(host))


SYSTEMS = {"ours": Ours, "aria2": Aria2, "libtorrent": Libtorrent, "rsync": Rsync}
