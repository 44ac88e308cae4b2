"""bench/command peers: one command on 50 hosts, with p2pctl, clush, pssh and ansible in one run.

The hosts of the others are sshd processes on ports of their own, ours are real agents, all on
loopback. Each system is set so that all hosts go at once; ansible keeps its connections open from
one run to the next, which is its default. Processor seconds are those of the control side: the
command and all that it starts, of ours the tracker's share as well.
"""

import contextlib
import getpass
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

from command_parts import (Report, e2e, processor_seconds, real_cluster, timed_command, timed_exec)
from swarm_processes import INTO_CGROUP, make_cgroup

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
LogLevel ERROR
"""
SSH = """\
Host *
  User {user}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  HostKeyAlias host
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
  HostName 127.0.0.1
"""


class SshHosts:
    """sshd processes, each on a port of its own. A context; nothing is left behind."""

    def __init__(self, names):
        self.names = names
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="p2pd-sshd-"))
        self.processes = []
        self.ports = {}

    def __enter__(self):
        try:
            for key in ("host_key", "user_key"):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                                str(self.folder / key)], check=True)
            host_key = (self.folder / "host_key.pub").read_text()
            (self.folder / "known_hosts").write_text(f"host {host_key}")
            pathlib.Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it to be there
            config = SSH.format(user=getpass.getuser(), folder=self.folder)
            for name, port in zip(self.names, free_ports(len(self.names))):
                file = self.folder / f"{name}.conf"
                file.write_text(SSHD.format(port=port, folder=self.folder))
                with (self.folder / f"{name}.log").open("ab") as log:
                    self.processes.append(subprocess.Popen(
                        ["/usr/sbin/sshd", "-D", "-e", "-f", str(file)],
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log))
                self.ports[name] = port
            entries = "".join(f"Host {name}\n  Port {port}\n" for name, port in self.ports.items())
            (self.folder / "ssh_config").write_text(entries + config)
            (self.folder / "hosts").write_text("".join(f"{name}\n" for name in self.names))
            for port in self.ports.values():
                e2e.wait_until(lambda at=port: answers(at), 20, "sshd answers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(count):
    """Ports that nobody uses in this namespace; it is ours alone."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as one:
        return one.recv(4) == b"SSH-"
    return False


class Meter:
    """Processor seconds of commands with all that they leave behind, by control group; where there
    is none, of what they waited for."""

    def __init__(self):
        self.group = make_cgroup()

    def prefix(self):
        return ["sh", "-c", INTO_CGROUP, str(self.group)] if self.group else []

    def so_far(self):
        if not self.group:
            return 0.0
        words = (self.group / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e6

    def run(self, command, env):
        """(seconds, processor seconds, Run)"""
        before = self.so_far()
        seconds, used, run = timed_command([*self.prefix(), *command], env)
        return seconds, self.so_far() - before if self.group else used, run

    def close(self):
        """Ends what is still in the group: connections that ansible keeps."""
        if not self.group:
            return
        for pid in (self.group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        e2e.wait_until(lambda: not (self.group / "cgroup.procs").read_text(), 10)
        self.group.rmdir()


def commands_of(hosts):
    """The command lines of the others: {system: [word]}."""
    config, count = hosts.folder / "ssh_config", len(hosts.names)
    ansible = ["ansible", "all", "-i", hosts.folder / "hosts", "-f", count, "--ssh-common-args",
               f"-F {config}"]
    return {
        "clush": ["clush", "-S", "-f", count, "--hostfile", hosts.folder / "hosts", "-o",
                  f"-F {config}", "-b", "true"],
        "pssh": ["parallel-ssh", "-h", hosts.folder / "hosts", "-p", count, "-t", 60, "-x",
                 f"-F {config}", "true"],
        "ansible": [*ansible, "-m", "command", "-a", "true"],
        "ansible-raw": [*ansible, "-m", "raw", "-a", "true"],
    }


def environment(hosts):
    changes = {"ANSIBLE_HOST_KEY_CHECKING": "True", "ANSIBLE_NOCOLOR": "1",
               "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
               "ANSIBLE_LOCAL_TEMP": str(hosts.folder / "ansible"),
               "ANSIBLE_SSH_CONTROL_PATH_DIR": str(hosts.folder / "cp")}
    return {**os.environ, **changes}


def run(args):
    names = [f"n{number:03}" for number in range(1, args.nodes + 1)]
    systems = args.systems.split(",")
    report, found = Report(), {system: [] for system in systems}
    with real_cluster(names) as cluster, SshHosts(names) as hosts:
        others, env = commands_of(hosts), environment(hosts)
        tracker = cluster.tracker.process.pid
        meter = Meter()
        try:
            for turn in range(args.runs + 1):  # the first one warms up
                for system in systems:
                    if system == "ours":
                        before = processor_seconds(tracker), meter.so_far()
                        seconds, used, _ = timed_exec(cluster, "*", "true", prefix=meter.prefix())
                        if meter.group:
                            used = meter.so_far() - before[1]
                        used += processor_seconds(tracker) - before[0]
                    else:
                        seconds, used, done = meter.run(others[system], env)
                        if done.code != 0:
                            raise RuntimeError(f"{system} exits with {done.code}:\n"
                                               f"{done.text[-2000:]}")
                    if turn > 0:
                        found[system].append((seconds, used))
                    time.sleep(0.3)  # what still ends does not disturb the next one
        finally:
            meter.close()
    print(f"{args.nodes} hosts, `true`, median of {args.runs}; processor time by "
          f"{'cgroup' if meter.group else 'getrusage'}")
    medians = {}
    print(f"{'':14} {'wall':>9} {'min':>9} {'max':>9} {'CPU':>9}")
    for system, values in found.items():
        walls = [seconds for seconds, _ in values]
        medians[system] = (statistics.median(walls),
                           statistics.median(used for _, used in values))
        print(f"{system:14} {medians[system][0]:7.3f} s {min(walls):7.3f} s {max(walls):7.3f} s "
              f"{medians[system][1]:7.3f} s", flush=True)
    if "ours" in medians:
        for system, (wall, used) in medians.items():
            if system != "ours":
                report.ratio(f"ours over {system}: wall", medians["ours"][0] / wall, 1)
                report.ratio(f"ours over {system}: processor", medians["ours"][1] / used, 1)
    return {"systems": {system: {"wall": wall, "cpu": used, "runs": found[system]}
                        for system, (wall, used) in medians.items()},
            "rows": report.rows}, report.all_reached()
