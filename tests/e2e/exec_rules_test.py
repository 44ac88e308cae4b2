#!/usr/bin/python3
"""The rules of the command channel: at most once, whatever is killed; waves, thresholds, nodes that
are away; limits of output; who may do what, and the record of it."""

import getpass
import json
import os
import signal

from cluster import EXEC_ANY, ClusterTest, main, wait_until


class Rules(ClusterTest):
    """Six nodes whose owners allow everything; every test leaves all of them running."""

    count = 6

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        token = cls.cluster.token("--uses", cls.count)
        for number in range(1, cls.count + 1):
            cls.cluster.add_node(f"n{number}", token, run_args=EXEC_ANY,
                                 join_args=("--label", f"rack=r{(number - 1) // 2}")).launch()
        for node in cls.cluster.nodes.values():
            node.wait_ready()
        cls.cluster.ctl_ok("account", "set", "me", "--user", getpass.getuser())

    def setUp(self):
        super().setUp()
        self.work = self.cluster.folder / self._testMethodName
        self.work.mkdir()

    def start(self, to, text, *options):
        """Detached; the job's id."""
        run = self.cluster.ctl_ok("exec", "--to", to, "--as", "me", "--detach", *options, "--", "sh",
                                  "-c", text)
        return run.out.strip()

    def runs(self, job):
        return {run["node"]: run for run in self.cluster.job(job).get("runs", [])}

    def states(self, job):
        return {node: run["state"] for node, run in self.runs(job).items()}

    def wait_state(self, job, node, *states):
        return wait_until(lambda: self.states(job).get(node) in states, 30,
                          f"{job} on {node} is {' or '.join(states)}")

    def finished(self, job):
        wait_until(lambda: self.cluster.job(job)["finished"], 60, f"{job} is finished")
        return self.cluster.job(job)

    def lines(self, name):
        file = self.work / name
        return file.read_text().splitlines() if file.exists() else []

    def away(self, *names):
        """Stops nodes until the test is over."""
        for name in names:
            self.cluster.nodes[name].stop()
            self.addCleanup(self.back, name)

        def all_away():
            nodes = self.cluster.ctl_json("node", "list")["nodes"]
            return not any(node.get("online") for node in nodes if node["name"] in names)

        wait_until(all_away, what=f"{names} are offline")

    def back(self, name):
        if self.cluster.nodes[name].process is None:
            self.cluster.nodes[name].start()

    # At most once.

    def test_a_killed_agent_loses_no_run_and_no_exit_code(self):
        job = self.start("n1", f"echo ran >> {self.work}/runs; while ! test -e {self.work}/go; do "
                               f"sleep 0.05; done; echo after; exit 3")
        self.wait_state(job, "n1", "running")
        wait_until(lambda: self.lines("runs"), what="the command runs")
        self.cluster.nodes["n1"].kill()
        (self.work / "go").touch()
        self.cluster.nodes["n1"].start()
        told = self.finished(job)
        self.assertEqual("exited", told["runs"][0]["state"], told)
        self.assertEqual(3, told["runs"][0]["code"])
        self.assertEqual(["ran"], self.lines("runs"))
        self.assertIn("after", self.cluster.ctl_ok("job", "output", job).out)

    def test_a_killed_tracker_loses_no_run_and_starts_none_again(self):
        job = self.start("*", f"echo $P2PD_NODE >> {self.work}/$P2PD_NODE; while ! test -e "
                              f"{self.work}/go; do sleep 0.05; done; echo done on $P2PD_NODE")
        for node in self.cluster.nodes:
            wait_until(lambda node=node: self.lines(node), what=f"{node} runs it")
        self.cluster.tracker.kill()
        (self.work / "go").touch()
        self.cluster.tracker.start()
        told = self.finished(job)
        self.assertEqual(0, told["exit_code"], told)
        for node in self.cluster.nodes:
            self.assertEqual([node], self.lines(node))
            self.assertIn(f"done on {node}",
                          self.cluster.ctl_ok("job", "output", job, "--node", node).out)

    def test_agent_and_tracker_killed_together(self):
        job = self.start("n[1-3]", f"echo x >> {self.work}/$P2PD_NODE; while ! test -e "
                                   f"{self.work}/go; do sleep 0.05; done; exit 4")
        for node in ("n1", "n2", "n3"):
            wait_until(lambda node=node: self.lines(node), what=f"{node} runs it")
        self.cluster.tracker.kill()
        self.cluster.nodes["n2"].kill()
        (self.work / "go").touch()
        self.cluster.tracker.start()
        self.cluster.nodes["n2"].start()
        told = self.finished(job)
        self.assertEqual({"exited"}, set(self.states(job).values()), told)
        for node in ("n1", "n2", "n3"):
            self.assertEqual(["x"], self.lines(node))
            self.assertEqual(4, self.runs(job)[node]["code"])

    def test_a_killed_shim_is_a_lost_run_and_it_is_said(self):
        job = self.start("n4", f"echo $PPID > {self.work}/shim; sleep 1000")
        wait_until(lambda: self.lines("shim"), what="the command runs")
        self.wait_state(job, "n4", "running")
        os.kill(int(self.lines("shim")[0]), signal.SIGKILL)
        told = self.finished(job)
        self.assertEqual("lost", told["runs"][0]["state"], told)
        self.assertEqual(2, told["exit_code"])

    # Nodes that are away.

    def test_offline_nodes_fail_at_once_unless_told_otherwise(self):
        self.away("n5")
        run = self.cluster.ctl("exec", "--to", "n[4-5]", "--as", "me", "--", "true")
        self.assertEqual(3, run.code, run)
        self.assertIn("n5", run.text)
        skipped = self.cluster.ctl("exec", "--to", "n[4-5]", "--as", "me", "--offline", "skip", "--",
                                   "true")
        self.assertEqual(0, skipped.code, skipped)
        self.assertEqual("skipped", self.states(self.cluster.jobs()[0]["id"])["n5"])

    def test_queued_for_nodes_that_come_back_in_time(self):
        self.away("n5", "n6")
        job = self.start("n[4-6]", f"echo x >> {self.work}/$P2PD_NODE", "--offline", "queue", "--ttl",
                         "10m")
        self.wait_state(job, "n4", "exited")
        self.assertEqual("queued", self.states(job)["n5"])
        self.back("n5")
        self.back("n6")
        self.assertEqual(0, self.finished(job)["exit_code"])
        for node in ("n4", "n5", "n6"):
            self.assertEqual(["x"], self.lines(node))

    def test_queued_too_long_expires(self):
        self.away("n6")
        job = self.start("n6", f"echo x >> {self.work}/n6", "--offline", "queue", "--ttl", "1s")
        told = self.finished(job)
        self.assertEqual("expired", told["runs"][0]["state"])
        self.assertEqual(3, told["exit_code"])
        self.back("n6")
        self.cluster.ctl_ok("exec", "--to", "n6", "--as", "me", "--", "true")
        self.assertEqual([], self.lines("n6"))

    # Waves and thresholds.

    def test_after_too_many_failures_no_further_one_begins(self):
        run = self.cluster.ctl("exec", "--to", "*", "--as", "me", "--wave", "2", "--max-fail", "1",
                               "--", "sh", "-c", f"echo x >> {self.work}/$P2PD_NODE; exit 1")
        self.assertEqual(5, run.code, run)
        states = self.states(self.cluster.jobs()[0]["id"])
        self.assertEqual(["exited"] * 2 + ["skipped"] * 4, [states[n] for n in sorted(states)])
        self.assertEqual(["n1", "n2"], sorted(p.name for p in self.work.iterdir()))

    def test_paused_by_failures_it_goes_on_when_somebody_says_so(self):
        job = self.start("n[1-4]", f"echo x >> {self.work}/$P2PD_NODE; test $P2PD_NODE != n1",
                         "--wave", "1", "--max-fail", "0", "--on-max-fail", "pause")
        wait_until(lambda: self.cluster.job(job).get("paused"), what=f"{job} is paused")
        self.assertEqual(["n1"], [p.name for p in self.work.iterdir()])
        self.cluster.ctl_ok("job", "resume", job)
        self.assertEqual(2, self.finished(job)["exit_code"])
        self.assertEqual(["n1", "n2", "n3", "n4"], sorted(p.name for p in self.work.iterdir()))

    def test_waves_survive_a_killed_tracker(self):
        job = self.start("*", f"echo x >> {self.work}/$P2PD_NODE; while ! test -e {self.work}/go-"
                              f"$P2PD_NODE; do sleep 0.05; done", "--wave", "1,2,100%")
        wait_until(lambda: self.lines("n1"), what="the first wave runs")
        self.cluster.tracker.kill()
        (self.work / "go-n1").touch()
        self.cluster.tracker.start()
        wait_until(lambda: self.lines("n2") and self.lines("n3"), 30, "the second wave runs")
        self.assertFalse(self.lines("n4"))
        for number in range(2, 7):
            (self.work / f"go-n{number}").touch()
        self.assertEqual(0, self.finished(job)["exit_code"])
        for node in self.cluster.nodes:
            self.assertEqual(["x"], self.lines(node))

    def test_rack_spread_takes_one_of_each_rack_first(self):
        job = self.start("*", f"echo $P2PD_NODE >> {self.work}/order", "--window", "1", "--order",
                         "rack-spread")
        self.finished(job)
        racks = [(int(node[1:]) - 1) // 2 for node in self.lines("order")]
        self.assertEqual([0, 1, 2], sorted(racks[:3]))

    def test_a_push_in_waves_stops_at_its_threshold(self):
        source = self.cluster.nodes["n1"].share / "wave.bin"
        source.write_bytes(os.urandom(1 << 20))
        self.cluster.publish("n1", source, "images/waves")
        for node in ("n2", "n3"):  # a folder in the way fails these
            (self.cluster.nodes[node].root / "wave.bin").mkdir(exist_ok=True)
        run = self.cluster.ctl("push", "images/waves", "--to", "n[2-6]", "--path", "wave.bin",
                               "--wave", "2,100%", "--max-fail", "1")
        self.assertEqual(5, run.code, run)
        job = self.cluster.newest_job()
        states = {task["node"]: task["state"] for task in job["tasks"]}
        self.assertEqual({"n2": "failed", "n3": "failed", "n4": "skipped", "n5": "skipped",
                          "n6": "skipped"}, states)
        self.assertFalse((self.cluster.nodes["n4"].root / "wave.bin").exists())

    # Output.

    def test_much_output_of_many_nodes_is_bounded_on_tracker_and_nodes(self):
        job = self.start("*", "head -c 20000000 /dev/urandom | od -An -v -tx1")
        told = self.finished(job)
        self.assertEqual(0, told["exit_code"], told)
        for run in told["runs"]:
            self.assertGreater(int(run["out_bytes"]), 50_000_000)
            self.assertTrue(run["out_truncated"])
        kept = sum(f.stat().st_size for f in self.cluster.tracker.data.rglob("output*"))
        self.assertLess(kept, self.count * 4 * (1 << 20))

    # Who may do what.

    def test_who_may_not_use_an_account_learns_nothing_of_scripts(self):
        home = self.cluster.folder / "ops"
        self.cluster.ctl_ok("account", "set", "root", "--user", "root", "--role", "wheel")
        self.cluster.ctl_ok("account", "set", "web", "--user", getpass.getuser(), "--role",
                            "deployers")
        self.cluster.ctl_ok("user", "add", "olga", "--role", "deployers", "--home", home)
        file = self.work / "deploy.sh"
        file.write_text("#!/bin/sh\nid -un\n")
        self.cluster.ctl_ok("script", "put", file, "--name", "deploy")

        def as_olga(*args):
            return self.cluster.ctl(*args, P2PCTL_HOME=str(home))

        allowed = as_olga("script", "run", "deploy", "--to", "n1", "--as", "web")
        self.assertEqual(0, allowed.code, allowed)
        there = as_olga("script", "run", "deploy", "--to", "n1", "--as", "root")
        missing = as_olga("script", "run", "no-such", "--to", "n1", "--as", "root")
        self.assertEqual(6, there.code, there)
        self.assertEqual((there.code, there.out, there.err),
                         (missing.code, missing.out, missing.err))
        unknown = as_olga("script", "run", "deploy", "--to", "n1", "--as", "no-such-account")
        self.assertEqual(there.err.replace("root", "X"), unknown.err.replace("no-such-account", "X"))
        self.assertEqual(6, as_olga("node", "remove", "n6").code)
        self.cluster.ctl_ok("user", "rm", "olga")
        self.assertEqual(6, as_olga("node", "list").code)

    def test_every_change_leaves_a_record_in_a_chain_that_verifies(self):
        self.cluster.ctl_ok("node", "label", "n1", "audited=yes")
        self.cluster.ctl_ok("exec", "--to", "n[1-2]", "--as", "me", "--", "true")
        job = self.cluster.jobs()[0]["id"]
        self.cluster.tracker.restart()
        self.cluster.ctl_ok("audit", "verify")
        entries = [json.loads(line)
                   for line in self.cluster.ctl_ok("audit", "list", "-o", "jsonl").out.splitlines()]
        self.assertEqual(list(range(1, len(entries) + 1)), [int(e["number"]) for e in entries])
        made = [e for e in entries if e.get("job") == job]
        self.assertEqual(["n[1-2]"], [e["targets"] for e in made])
        self.assertTrue(made[0]["order_sha256"])
        self.assertTrue(any("labels" in e["what"] for e in entries))


if __name__ == "__main__":
    main()
