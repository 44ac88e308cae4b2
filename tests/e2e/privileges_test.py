#!/usr/bin/python3
"""An agent that is started as root: one process faces the network without rights, its helper has
those over files, its launcher starts what is run here, and none outlives the others."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import unittest

from cluster import AGENT, SLOWNESS, ClusterTest, MiB, leftovers, main, make_file, wait_until

FILE_RIGHTS = {0, 1, 2, 3}  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


def default_account():
    try:
        return pwd.getpwnam("p2pd")
    except KeyError:
        return pwd.getpwnam("daemon")


def status(pid):
    """/proc/PID/status as a dictionary of lists of words."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def rights(pid, kind):
    bits = int(status(pid)[kind][0], 16)
    return {bit for bit in range(64) if bits >> bit & 1}


def children(pid):
    return [int(child)
            for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_gone(pid):
    try:
        return status(pid)["State"][0] == "Z"
    except FileNotFoundError:
        return True


def called(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def owners(folder):
    """Of all in a data folder but the runs, which are the launcher's."""
    runs = folder / "runs"
    return {path.lstat().st_uid for path in [folder, *folder.rglob("*")]
            if path != runs and runs not in path.parents}


@unittest.skipUnless(os.geteuid() == 0, "only root has rights to give up")
class Processes(ClusterTest):
    nodes = ("n1", "n2")

    def setUp(self):
        super().setUp()
        self.n1, self.n2 = (self.cluster.nodes[name] for name in self.nodes)
        self.account = default_account()

    def child(self, node, name):
        found = {called(pid): pid for pid in children(node.process.pid)}
        self.assertEqual({"p2pd-helper", "p2pd-launcher"}, set(found), f"children of {node.name}")
        return found[name]

    def helper(self, node):
        return self.child(node, "p2pd-helper")

    def launcher(self, node):
        return self.child(node, "p2pd-launcher")

    def run_agent(self, data, *args, **how):
        """p2pd run to its end, which must come by itself."""
        done = subprocess.run([str(AGENT), "run", "--data", str(data), "--listen", "127.0.0.1:0",
                               *args], text=True, stdin=subprocess.DEVNULL, capture_output=True,
                              check=False, timeout=20 * SLOWNESS, **how)
        return done.returncode, done.stderr

    # What each process may do.

    def test_of_a_node_leave_no_right_to_the_one_that_faces_the_network(self):
        facts = status(self.n1.process.pid)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(set(), rights(self.n1.process.pid, kind), kind)
        self.assertEqual([str(self.account.pw_uid)] * 4, facts["Uid"])
        self.assertEqual([str(self.account.pw_gid)] * 4, facts["Gid"])
        self.assertEqual([], facts["Groups"])
        self.assertEqual(["1"], facts["NoNewPrivs"])
        # Its memory, in which the node's key is, belongs to root and not to the account.
        self.assertEqual(0, os.stat(f"/proc/{self.n1.process.pid}/mem").st_uid)

    def test_of_a_node_leave_the_helper_rights_over_files_only(self):
        helper = self.helper(self.n1)
        for kind in ("CapPrm", "CapEff", "CapBnd"):
            self.assertLessEqual(rights(helper, kind), FILE_RIGHTS, kind)
        for kind in ("CapInh", "CapAmb"):
            self.assertEqual(set(), rights(helper, kind), kind)
        self.assertEqual(["1"], status(helper)["NoNewPrivs"])

    def test_of_a_node_share_one_channel_and_no_file(self):
        helper = self.helper(self.n1)
        links = [os.readlink(link) for link in pathlib.Path(f"/proc/{helper}/fd").iterdir()
                 if int(link.name) > 2]
        self.assertEqual(1, sum(link.startswith("socket:") for link in links), links)
        self.assertEqual({str(self.n1.root), str(self.n1.share)},
                         {link for link in links if not link.startswith("socket:")})
        self.assertEqual("/", os.readlink(f"/proc/{helper}/cwd"))

    def test_of_a_node_leave_the_launcher_all_of_root_and_one_channel(self):
        launcher = self.launcher(self.n1)
        for kind in ("CapPrm", "CapEff", "CapBnd"):
            self.assertEqual(rights(os.getpid(), kind), rights(launcher, kind), kind)
        self.assertEqual(["0"] * 4, status(launcher)["Uid"])
        self.assertEqual(status(os.getpid())["NoNewPrivs"], status(launcher)["NoNewPrivs"])
        links = [os.readlink(link) for link in pathlib.Path(f"/proc/{launcher}/fd").iterdir()
                 if int(link.name) > 2]
        self.assertEqual(1, sum(link.startswith("socket:") for link in links), links)
        self.assertEqual({str(self.n1.data / "runs")},
                         {link for link in links if not link.startswith("socket:")})
        # What it writes there can be read by the agent, and changed by nobody.
        facts = (self.n1.data / "runs").stat()
        self.assertEqual((0, self.account.pw_gid, 0o2750),
                         (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777))

    def test_of_a_node_have_no_launcher_where_nothing_may_be_run(self):
        config = self.cluster.folder / "off.yaml"
        config.write_text("exec: off\n")
        for name, args in (("n10", ("--config", config)), ("n11", ("--exec", "off"))):
            node = self.cluster.add_node(name, self.cluster.token(), run_args=args)
            node.start()
            self.assertEqual(["p2pd-helper"], [called(pid) for pid in children(node.process.pid)])
            self.assertFalse((node.data / "runs").exists())
            node.stop()

    # What they do together.

    def test_land_files_with_their_owner_and_mode(self):
        file = make_file(self.n1.share / "owned.bin", MiB)
        nobody = pwd.getpwnam("nobody")
        os.chown(file, nobody.pw_uid, nobody.pw_gid)
        file.chmod(0o640)
        self.cluster.publish("n1", file, "images/owned")
        self.cluster.ctl_ok("push", "images/owned", "--to", "n2", "--path", "a/owned.bin")
        copy = self.n2.root / "a" / "owned.bin"
        self.assert_copies(file, copy)
        facts = copy.stat()
        self.assertEqual((nobody.pw_uid, nobody.pw_gid, 0o640),
                         (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777))

    def test_read_and_write_folders_that_belong_to_somebody_else(self):
        nobody = pwd.getpwnam("nobody")
        file = make_file(self.n1.share / "closed" / "image.bin", MiB)
        closed = self.n2.root / "closed"
        closed.mkdir()
        for folder in (file.parent, closed):
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            folder.chmod(0o700)
        file.chmod(0o600)
        self.cluster.publish("n1", file, "images/closed")
        self.cluster.ctl_ok("push", "images/closed", "--to", "n2", "--path", "closed/image.bin")
        self.assert_copies(file, closed / "image.bin")
        self.assertEqual([], leftovers(self.n2.root))

    # The data folder.

    def test_hand_the_data_folder_over_once(self):
        self.assertEqual({self.account.pw_uid}, owners(self.n2.data))
        self.assertEqual(0o700, self.n2.data.stat().st_mode & 0o777)
        self.n2.stop()
        later = self.n2.data / "made-later"
        later.write_text("by root")
        self.n2.start()
        self.assertEqual(0, later.stat().st_uid)
        later.unlink()

    def test_refuse_a_data_folder_that_others_could_write(self):
        node = self.cluster.add_node("n3", self.cluster.token())
        for mode in (0o770, 0o702):
            node.data.chmod(mode)
            code, said = self.run_agent(node.data)
            self.assertEqual(1, code)
            self.assertIn(f"run: chmod 700 {node.data}", said)
        node.data.chmod(0o700)
        self.assertEqual({0}, owners(node.data))
        # A second name of a file that must never become the account's.
        secret = self.cluster.folder / "secret"
        secret.write_text("root's")
        os.link(secret, node.data / "credentials" / "linked")
        code, said = self.run_agent(node.data)
        self.assertEqual(1, code)
        self.assertIn("credentials/linked has a second name elsewhere", said)
        self.assertEqual(0, secret.stat().st_uid)
        self.assertEqual(0, node.data.stat().st_uid)
        (node.data / "credentials" / "linked").unlink()
        # A link is given itself, never what it leads to.
        (node.data / "link").symlink_to(secret)
        node.start()
        self.assertEqual(0, secret.stat().st_uid)
        self.assertEqual({self.account.pw_uid}, owners(node.data))
        node.stop()
        os.chown(node.data, 12345, 12345)
        code, said = self.run_agent(node.data)
        self.assertEqual(1, code)
        self.assertIn("belongs to user number 12345", said)
        self.assertIn(f"chown -R {self.account.pw_name}: {node.data}", said)
        self.assertEqual(12345, node.data.stat().st_uid)

    def test_never_hand_over_a_folder_that_is_not_an_agents(self):
        folder = self.cluster.folder / "etc"
        folder.mkdir(mode=0o755)
        (folder / "passwd").write_text("root's")
        code, said = self.run_agent(folder)
        self.assertEqual(1, code)
        self.assertIn(f"{folder} holds no identity: run p2pd join --data {folder} first", said)
        self.assertEqual({0}, owners(folder))

    def test_name_the_data_folder_that_the_account_knows_as_another_one(self):
        hidden = self.cluster.folder / "hidden"
        hidden.mkdir(mode=0o700)
        data = hidden / "n8"
        self.assertEqual(0, self.cluster.join(data, self.cluster.token(), "--name", "n8").code)
        (data / "node.json").write_text("{")
        code, said = self.run_agent(data)
        self.assertEqual(1, code)
        self.assertIn(f"data folder {data}: ./node.json", said)

    # Their end.

    def test_end_together_when_the_agent_is_killed(self):
        helper = self.helper(self.n2)
        self.n2.kill()
        wait_until(lambda: is_gone(helper), 10, "the helper has ended")
        self.n2.start()

    def test_end_together_when_the_helper_is_killed_and_the_push_goes_on_after_a_restart(self):
        file = make_file(self.n1.share / "cut.bin", 16 * MiB)
        self.cluster.publish("n1", file, "images/cut")
        push, job = self.cluster.running_push("images/cut", "--to", "n2", "--path", "cut.bin",
                                              "--limit", "4MB/s")
        self.cluster.wait_bytes(job, 0.3)
        helper = self.helper(self.n2)
        os.kill(helper, signal.SIGKILL)
        self.assertEqual(1, self.n2.process.wait(20 * SLOWNESS))
        self.n2.process = None
        log = self.n2.log.read_text()
        self.assertIn("the helper process has ended", log)
        self.assertIn("killed by signal 9", log)
        self.n2.start()
        run = self.cluster.finish(push, 60)
        self.assertEqual(0, run.code, run.err)
        self.assert_copies(file, self.n2.root / "cut.bin")
        self.assertEqual([], leftovers(self.n2.root))

    def test_end_together_when_the_launcher_is_killed(self):
        helper, launcher = self.helper(self.n2), self.launcher(self.n2)
        os.kill(launcher, signal.SIGKILL)
        self.assertEqual(1, self.n2.process.wait(20 * SLOWNESS))
        self.n2.process = None
        self.assertTrue(is_gone(helper))
        log = self.n2.log.read_text()
        self.assertIn("the process that starts runs is gone", log)
        self.assertIn("its launcher failed", log)
        self.n2.start()

    def test_end_quietly_when_a_signal_reaches_both(self):
        self.n2.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.n2.ready_file.unlink()
            before = self.n2.log.stat().st_size
            with self.n2.log.open("ab") as log:
                process = subprocess.Popen(
                    [*map(str, self.n2.command()), "--ready-file", str(self.n2.ready_file)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            self.n2.process = process
            self.n2.wait_ready()
            helper, launcher = self.helper(self.n2), self.launcher(self.n2)
            os.killpg(process.pid, number)
            self.assertEqual(0, process.wait(20 * SLOWNESS))
            self.n2.process = None
            self.assertTrue(is_gone(helper))
            self.assertTrue(is_gone(launcher))
            self.assertNotIn("ERROR", self.n2.log.read_text()[before:])
        self.n2.start()

    # Which account.

    def test_run_as_the_account_that_was_asked_for(self):
        nobody = pwd.getpwnam("nobody")
        config = self.cluster.folder / "n4.yaml"
        config.write_text("user: nobody\n")
        for name, args in (("n4", ("--config", config)), ("n5", ("--user", "nobody"))):
            node = self.cluster.add_node(name, self.cluster.token(), run_args=args)
            node.start()
            self.assertEqual([str(nobody.pw_uid)] * 4, status(node.process.pid)["Uid"])
            self.assertEqual({nobody.pw_uid}, owners(node.data))
            node.stop()
        code, said = self.run_agent(self.n1.data, "--user", "no-such-account")
        self.assertEqual(1, code)
        self.assertIn("useradd --system --no-create-home no-such-account", said)

    def test_are_one_as_root_when_that_is_asked_for(self):
        node = self.cluster.add_node("n6", self.cluster.token(), run_args=("--user", "root"))
        node.start()
        self.assertEqual(["p2pd-launcher"], [called(pid) for pid in children(node.process.pid)])
        self.assertEqual(["0"] * 4, status(node.process.pid)["Uid"])
        self.assertIn("runs as root in one process, which is not recommended",
                      node.log.read_text())
        self.assertEqual({0}, owners(node.data))
        node.stop()

    def test_are_one_for_an_ordinary_user(self):
        # Within his reach: the programs of this build may not be.
        nobody = pwd.getpwnam("nobody")
        how = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        place = self.cluster.folder / "ordinary"
        self.cluster.folder.chmod(0o711)
        place.mkdir()
        program = place / "p2pd"
        shutil.copy(AGENT, program)
        program.chmod(0o755)
        node = self.cluster.add_node("n7", self.cluster.token())
        for folder in (place, node.root, node.data, *node.data.rglob("*")):
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        for folder in (node.data.parent, node.root.parent):
            folder.chmod(0o711)
        run = [str(program), "run", "--data", str(node.data), "--listen", "127.0.0.1:0"]
        refused = subprocess.run([*run, "--user", "root"], text=True, capture_output=True,
                                 check=False, timeout=20 * SLOWNESS, **how)
        self.assertEqual(1, refused.returncode)
        self.assertIn("only root can become another account", refused.stderr)

        node.ready_file = place / "ready"
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [*run, "--root", str(node.root), "--user", "nobody", "--ready-file",
                 str(node.ready_file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how)
        node.wait_ready()
        self.assertEqual(["p2pd-launcher"], [called(pid) for pid in children(node.process.pid)])
        file = make_file(self.n1.share / "ordinary.bin", MiB)
        self.cluster.publish("n1", file, "images/ordinary")
        self.cluster.ctl_ok("push", "images/ordinary", "--to", "n7", "--path", "image.bin")
        self.assertEqual(nobody.pw_uid, (node.root / "image.bin").stat().st_uid)
        node.stop()

    # At the start.

    def test_say_at_the_start_which_folder_is_missing(self):
        missing = self.cluster.folder / "no-such-folder"
        code, said = self.run_agent(self.n1.data, "--root", str(missing))
        self.assertEqual(1, code)
        self.assertIn(f"p2pd: root {missing}: does not exist; make the folder first", said)
        code, said = self.run_agent(missing)
        self.assertEqual(1, code)
        self.assertIn(f"{missing} holds no identity: run p2pd join --data {missing} first", said)

    def test_begin_with_p2pd_run_only(self):
        done = subprocess.run([str(AGENT), "helper", "--channel", "0"], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=20 * SLOWNESS)
        self.assertEqual(1, done.returncode)
        self.assertIn("is started by p2pd run", done.stderr)
        done = subprocess.run([str(AGENT), "launcher", "--channel", "0", "--runs", "/tmp", "--exec",
                               "any"], text=True, stdin=subprocess.DEVNULL, capture_output=True,
                              check=False, timeout=20 * SLOWNESS)
        self.assertEqual(1, done.returncode)
        self.assertIn("is started by p2pd run", done.stderr)
        usage = subprocess.run([str(AGENT), "--help"], text=True, capture_output=True, check=True)
        self.assertNotIn("helper", usage.stdout)
        self.assertNotIn("launcher", usage.stdout)


if __name__ == "__main__":
    main()
