#!/usr/bin/python3
"""Commands and scripts on nodes, as an operator uses them: targets, output, accounts, bad input."""

import getpass
import json
import pathlib
import textwrap

from cluster import EXEC_ANY, ClusterTest, main, wait_until


class Exec(ClusterTest):
    """Three nodes whose owners allow everything."""

    nodes = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        token = cls.cluster.token("--uses", 3)
        for number, role in ((1, "web"), (2, "web"), (3, "db")):
            cls.cluster.add_node(f"n{number}", token, run_args=EXEC_ANY,
                                 join_args=("--label", f"role={role}")).launch()
        for node in cls.cluster.nodes.values():
            node.wait_ready()
        cls.cluster.ctl_ok("account", "set", "me", "--user", getpass.getuser())
        cls.work = cls.cluster.folder / "work"
        cls.work.mkdir()

    def exec(self, to, *command, **kw):
        """p2pctl exec as our own account."""
        return self.cluster.ctl("exec", "--to", to, "--as", "me", *command, **kw)

    def shell(self, to, text, *options, **kw):
        return self.exec(to, *options, "--", "sh", "-c", text, **kw)

    def runs(self, job=None):
        job = job or self.cluster.jobs()[0]["id"]
        return {run["node"]: run for run in self.cluster.job(job).get("runs", [])}

    def the_run(self, node="n1"):
        return self.runs()[node]

    def output(self, *args):
        return self.cluster.ctl_ok("job", "output", self.cluster.jobs()[0]["id"], *args).out

    # What it prints and exits with.

    def test_equal_output_is_one_group_with_folded_names(self):
        run = self.shell("*", "echo same")
        self.assertEqual(0, run.code, run)
        self.assertIn("n[1-3] (3)", run.out)
        self.assertEqual(1, run.out.count("same"))

    def test_equal_output_is_one_group_however_long(self):
        run = self.shell("*", "seq 1000000", "--keep", "256KiB")
        self.assertEqual(0, run.code, run)
        self.assertEqual(1, run.out.count("n[1-3] (3)"), run.out[:200])
        self.assertIn("not kept", run.text)
        self.assertIn("\n1000000\n", run.out)

    def test_other_output_is_another_group(self):
        run = self.shell("*", 'case $P2PD_NODE in n3) echo $KIND;; *) echo web;; esac', "--env",
                         "KIND=database")
        self.assertEqual(0, run.code, run)
        self.assertIn("n[1-2] (2)", run.out)
        self.assertIn("database", run.out)

    def test_the_same_output_with_another_exit_code_is_not_the_same(self):
        run = self.shell("*", "echo word; test $P2PD_NODE != n2")
        self.assertEqual(2, run.code, run)
        self.assertEqual(2, run.out.count("word"))
        self.assertIn("n2", run.err)

    def test_rc_max_exits_with_the_largest_code(self):
        run = self.shell("*", "test $P2PD_NODE = n2 && exit 7 || exit 3", "--rc", "max")
        self.assertEqual(7, run.code, run)

    def test_stdout_and_stderr_come_apart(self):
        run = self.shell("n1", "echo to-out; echo to-err >&2")
        self.assertEqual(0, run.code, run)
        self.assertIn("to-out", self.output("--node", "n1", "--stream", "out"))
        self.assertNotIn("to-err", self.output("--node", "n1", "--stream", "out"))
        shown = self.cluster.ctl_ok("job", "output", self.cluster.jobs()[0]["id"], "--stream", "err")
        self.assertIn("to-err", shown.text)
        self.assertNotIn("to-out", shown.text)

    def test_json_is_one_document_and_jsonl_one_on_each_line(self):
        whole = self.cluster.ctl("exec", "--to", "n1", "--as", "me", "-o", "json", "--", "echo",
                                 "hello")
        self.assertEqual(0, whole.code, whole)
        json.loads(whole.out)
        lines = self.cluster.ctl("exec", "--to", "n1", "--as", "me", "-o", "jsonl", "--", "echo",
                                 "hello")
        self.assertEqual(0, lines.code, lines)
        for line in lines.out.splitlines():
            json.loads(line)

    def test_diff_shows_what_one_node_has_otherwise(self):
        run = self.shell("*", "echo one; test $P2PD_NODE = n3 && echo third || echo two; echo end",
                         "--diff")
        self.assertEqual(0, run.code, run)
        self.assertIn("-two", run.out)
        self.assertIn("+third", run.out)

    def test_input_reaches_every_node(self):
        source = self.work / "input"
        source.write_bytes(bytes(range(256)) * 400)
        run = self.exec("*", "--stdin", source, "--", "sha256sum")
        self.assertEqual(0, run.code, run)
        self.assertIn("(3)", run.out)

    def test_output_is_binary_safe(self):
        job = self.shell("n1", r"printf 'a\000b\377c'", "--detach").out.strip()
        wait_until(lambda: self.cluster.job(job)["finished"], what=f"{job} is finished")
        folder = self.work / "binary"
        self.output("--dir", folder)
        found = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > 0]
        self.assertEqual([b"a\0b\xffc"], [p.read_bytes() for p in found])

    def test_detached_it_is_watched_later_and_its_output_is_there(self):
        go = self.work / "detached"
        run = self.shell("n1,n2", f"while ! test -e {go}; do sleep 0.05; done; echo later",
                         "--detach")
        self.assertEqual(0, run.code, run)
        job = run.out.strip()
        self.assertFalse(self.cluster.job(job)["finished"])
        watch = self.cluster.start_ctl("job", "watch", job)
        go.touch()
        watched = self.cluster.finish(watch)
        self.assertEqual(0, watched.code, watched)
        self.assertIn("later", self.cluster.ctl_ok("job", "output", job).out)

    # Targets.

    def selected(self, expression):
        run = self.cluster.ctl("exec", "--to", expression, "--dry-run", "-o", "json", "--", "true")
        if run.code != 0:
            return run.err
        return sorted(r["node"] for r in json.loads(run.out).get("runs", []))

    def test_one_grammar_for_labels_facts_addresses_and_groups(self):
        self.cluster.ctl_ok("group", "set", "front", "role=web")
        self.cluster.ctl_ok("group", "set", "all", "@front | n3")
        self.assertEqual(["n1", "n2"], self.selected("@front"))
        self.assertEqual(["n3"], self.selected("@all - @front"))
        self.assertEqual(["n1"], self.selected("role=web & n1"))
        self.assertEqual(["n1", "n3"], self.selected("n[1-2] ^ n[2-3]"))
        self.assertEqual(["n1", "n2", "n3"], self.selected("cpus>=1 & mem>=1MB"))
        self.assertEqual(["n1", "n2", "n3"], self.selected("kernel>=2.6"))
        self.assertEqual(2, len(self.selected("random 2 of *")))
        self.assertIn("selects nothing", self.selected("mem>=4000TB"))
        self.assertIn("selects nothing", self.selected("ip in 203.0.113.0/24"))

    def test_a_group_that_contains_itself_is_refused(self):
        self.cluster.ctl_ok("group", "set", "outer", "n1")
        self.cluster.ctl_ok("group", "set", "inner", "@outer")
        run = self.cluster.ctl("group", "set", "outer", "@inner | n2")
        self.assertEqual(1, run.code, run)
        self.assertIn("@outer", run.err)
        self.assertIn("@inner", run.err)

    def test_dry_run_makes_nothing(self):
        before = [job["id"] for job in self.cluster.jobs()]
        run = self.cluster.ctl("exec", "--to", "*", "--dry-run", "--", "touch", self.work / "dry")
        self.assertEqual(0, run.code, run)
        self.assertIn("n[1-3]", run.text)
        self.assertEqual(before, [job["id"] for job in self.cluster.jobs()])
        self.assertFalse((self.work / "dry").exists())

    def test_facts_and_figures_are_shown(self):
        node = self.cluster.ctl_json("node", "show", "n1")
        self.assertIn("kernel", node["facts"])
        self.assertGreater(int(node["facts"]["mem"]), 0)
        self.assertGreater(int(node["figures"]["memory_bytes"]), 0)
        self.assertIn("any", node["exec"])

    # Scripts.

    def put(self, name, text):
        file = self.work / f"{name}.sh"
        file.write_bytes(text.encode())
        return self.cluster.ctl("script", "put", file, "--name", name)

    def test_a_script_has_versions_and_any_interpreter(self):
        self.assertEqual(0, self.put("greet", "#!/bin/sh\necho one $1\n").code)
        self.assertEqual(0, self.put("greet", "#!/usr/bin/python3\nimport sys\n"
                                              "print('two', sys.argv[1])\n").code)
        old = self.cluster.ctl("script", "run", "greet@1", "--to", "n1", "--as", "me", "--", "x")
        new = self.cluster.ctl("script", "run", "greet", "--to", "n1", "--as", "me", "--", "y")
        self.assertIn("one x", old.out)
        self.assertIn("two y", new.out)
        self.assertIn("greet", self.cluster.ctl_ok("script", "list").out)
        self.assertIn("echo one", self.cluster.ctl_ok("script", "show", "greet@1", "--body").out)

    def test_a_large_script_runs_too(self):
        self.assertEqual(0, self.put("large", "#!/bin/sh\n" + "# a line that fills it\n" * 20000 +
                                     "echo end of it\n").code)
        run = self.cluster.ctl("script", "run", "large", "--to", "*", "--as", "me")
        self.assertEqual(0, run.code, run)
        self.assertIn("end of it", run.out)

    def test_attachments_lie_on_the_nodes_before_anything_runs(self):
        source = self.cluster.nodes["n1"].share / "app.img"
        source.write_bytes(bytes(range(256)) * 8000)
        self.cluster.publish("n1", source, "images/app")
        roots = self.cluster.folder / "nodes"
        run = self.shell("n[2-3]", f"cksum < {roots}/$P2PD_NODE/app.img", "--attach",
                         "images/app=app.img")
        self.assertEqual(0, run.code, run)
        self.assertIn("n[2-3] (2)", run.out)
        self.assertIn("2048000", run.out)
        (self.cluster.nodes["n3"].root / "taken").mkdir()
        run = self.shell("n[2-3]", f"touch {self.work}/started", "--attach", "images/app=taken")
        self.assertEqual(2, run.code, run)
        self.assertIn("nothing was started", run.err)
        self.assertFalse((self.work / "started").exists())

    def test_windows_line_ends_and_a_missing_first_line_are_refused_at_once(self):
        run = self.put("crlf", "#!/bin/sh\r\necho hello\r\n")
        self.assertEqual(1, run.code, run)
        self.assertIn("CRLF", run.err)
        run = self.put("bare", "echo hello\n")
        self.assertEqual(1, run.code, run)
        self.assertIn("#!", run.err)

    def test_a_missing_interpreter_is_rejected_by_its_name(self):
        self.put("lost", "#!/no/such/interpreter\n")
        run = self.cluster.ctl("script", "run", "lost", "--to", "n1", "--as", "me")
        self.assertEqual(2, run.code, run)
        self.assertIn("/no/such/interpreter", run.text)
        self.assertEqual("rejected", self.the_run()["state"])

    # Bad commands: each has a state and a reason, and none hangs.

    def test_a_command_that_does_not_exist(self):
        run = self.exec("n1", "--", "no-such-command-here")
        self.assertEqual(2, run.code, run)
        self.assertEqual("rejected", self.the_run()["state"])
        self.assertIn("no-such-command-here", self.the_run()["detail"])

    def test_a_command_that_is_not_executable(self):
        plain = self.work / "plain"
        plain.write_text("#!/bin/sh\n")
        plain.chmod(0o644)
        run = self.exec("n1", "--", plain)
        self.assertEqual(2, run.code, run)
        self.assertEqual("rejected", self.the_run()["state"])

    def test_a_daemon_is_gone_after_the_timeout(self):
        mark = self.work / "daemon.pid"
        run = self.shell("n1", f"setsid sh -c 'echo $$ > {mark}; exec sleep 1000' & "
                               f"while ! test -s {mark}; do sleep 0.02; done; sleep 1000",
                         "--timeout", "1s", "--grace", "1s")
        self.assertEqual(4, run.code, run)
        self.assertEqual("timed_out+killed", self.the_run()["state"])
        pid = int(mark.read_text())
        self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_what_a_command_leaves_running_is_said(self):
        mark = self.work / "left.pid"
        run = self.shell("n1", f"setsid sh -c 'echo $$ > {mark}; exec sleep 1000' >/dev/null 2>&1 & "
                               f"while ! test -s {mark}; do sleep 0.02; done")
        self.assertEqual(0, run.code, run)
        self.assertEqual(1, self.the_run().get("left_running"))
        self.shell("n1", f"kill {mark.read_text()}")

    def test_one_that_ignores_term_is_killed(self):
        run = self.shell("n1", "trap '' TERM; while :; do sleep 0.1; done", "--timeout", "500ms",
                         "--grace", "300ms")
        self.assertEqual(4, run.code, run)
        self.assertEqual("timed_out+killed", self.the_run()["state"])

    def test_endless_output_without_a_newline_is_cut_and_said(self):
        run = self.shell("n1", "head -c 30000000 /dev/zero", "--keep", "64KiB")
        self.assertEqual(0, run.code, run)
        told = self.the_run()
        self.assertEqual(30000000, int(told["out_bytes"]))
        self.assertTrue(told["out_truncated"])

    def test_one_that_needs_a_terminal_is_told_that_there_is_none(self):
        run = self.shell("n1", "tty")
        self.assertEqual(2, run.code, run)
        self.assertIn("not a tty", run.text)

    def test_one_that_closes_its_output_early_ends_as_it_ends(self):
        run = self.shell("n1", "echo before; exec >&- 2>&-; sleep 0.2; exit 5")
        self.assertEqual(2, run.code, run)
        self.assertIn("before", run.out)
        self.assertEqual(5, self.the_run()["code"])

    def test_an_account_that_the_node_does_not_have(self):
        self.cluster.ctl_ok("account", "set", "ghost", "--user", "no-such-user-here")
        run = self.cluster.ctl("exec", "--to", "n1", "--as", "ghost", "--", "true")
        self.assertEqual(2, run.code, run)
        self.assertEqual("rejected", self.the_run()["state"])
        self.assertIn("no-such-user-here", self.the_run()["detail"])

    def test_the_environment_is_clean(self):
        run = self.shell("n1", "env | sort")
        self.assertEqual(0, run.code, run)
        self.assertNotIn("P2PCTL_HOME", run.out)
        self.assertIn("PATH=", run.out)

    def test_a_signal_is_no_exit_code(self):
        run = self.shell("n1", "kill -9 $$")
        self.assertEqual(2, run.code, run)
        self.assertEqual(9, self.the_run()["signal"])

    def test_cancel_leaves_nothing_and_says_cancelled(self):
        mark = self.work / "cancel.pid"
        job = self.shell("n1", f"echo $$ > {mark}; exec sleep 1000", "--detach").out.strip()
        wait_until(lambda: mark.exists() and mark.read_text().strip(), what="it runs")
        self.cluster.ctl_ok("job", "cancel", job)
        self.assertEqual(5, self.cluster.ctl("job", "watch", job).code)
        self.assertEqual("cancelled", self.runs(job)["n1"]["state"])
        self.assertFalse(pathlib.Path(f"/proc/{mark.read_text().strip()}").exists())

    def test_retry_takes_those_that_failed(self):
        flag = self.work / "repaired"
        run = self.shell("*", f"test $P2PD_NODE != n2 || test -e {flag}")
        self.assertEqual(2, run.code, run)
        failed = self.cluster.jobs()[0]["id"]
        flag.touch()
        again = self.cluster.ctl("job", "retry", failed, "--only", "failed,lost")
        self.assertEqual(0, again.code, again)
        self.assertEqual(["n2"], list(self.runs()))


class Veto(ClusterTest):
    """What a node's owner has not allowed does not run, and the refusal names the switch."""

    nodes = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        token = cls.cluster.token("--uses", 3)
        cls.cluster.add_node("scripts", token).start()
        cls.cluster.add_node("strict", token, run_args=("--exec-accounts", "nobody")).start()
        cls.cluster.add_node("off", token, run_args=("--exec", "off")).start()
        cls.cluster.ctl_ok("account", "set", "me", "--user", getpass.getuser())

    def run_of(self, node):
        return self.cluster.newest_job()["runs"][0]

    def test_by_default_scripts_run_and_commands_do_not(self):
        run = self.cluster.ctl("exec", "--to", "scripts", "--as", "me", "--", "true")
        self.assertEqual(2, run.code, run)
        self.assertEqual("rejected", self.run_of("scripts")["state"])
        self.assertIn("--exec any", self.run_of("scripts")["detail"])
        file = self.cluster.folder / "hello.sh"
        file.write_text(textwrap.dedent("""\
            #!/bin/sh
            echo hello from a script
            """))
        self.cluster.ctl_ok("script", "put", file, "--name", "hello")
        run = self.cluster.ctl("script", "run", "hello", "--to", "scripts", "--as", "me")
        self.assertEqual(0, run.code, run)
        self.assertIn("hello from a script", run.out)

    def test_off_runs_nothing(self):
        run = self.cluster.ctl("exec", "--to", "off", "--as", "me", "--", "true")
        self.assertEqual(2, run.code, run)
        self.assertIn("--exec", self.run_of("off")["detail"])

    def test_no_run_has_an_account_that_the_owner_has_left_out(self):
        if getpass.getuser() != "root":
            self.skipTest("only root's nodes can run anything as root")
        file = self.cluster.folder / "root.sh"
        file.write_text("#!/bin/sh\nid -un\n")
        self.cluster.ctl_ok("script", "put", file, "--name", "root")
        run = self.cluster.ctl("script", "run", "root", "--to", "strict", "--as", "me")
        self.assertEqual(2, run.code, run)
        self.assertEqual("rejected", self.run_of("strict")["state"])
        self.assertIn("--exec-accounts", self.run_of("strict")["detail"])
        run = self.cluster.ctl("script", "run", "root", "--to", "strict")
        self.assertEqual(0, run.code, run)

    def test_off_still_ends_what_was_begun_before(self):
        file = self.cluster.folder / "long.sh"
        file.write_text("#!/bin/sh\necho up; exec sleep 1000\n")
        self.cluster.ctl_ok("script", "put", file, "--name", "long")
        node = self.cluster.nodes["scripts"]
        self.cluster.ctl_ok("script", "run", "long", "--to", "scripts", "--detach")
        job = self.cluster.newest_job()["id"]
        wait_until(lambda: self.run_of("scripts")["state"] == "running")
        node.stop()
        before, node.extra = node.extra, ("--exec", "off")
        try:
            node.start()
            self.cluster.ctl_ok("job", "cancel", job)
            wait_until(lambda: self.run_of("scripts")["state"] == "cancelled")
        finally:
            node.stop()
            node.extra = before
            node.start()

    def test_without_an_account_it_is_the_one_of_the_owner(self):
        file = self.cluster.folder / "who.sh"
        file.write_text("#!/bin/sh\nid -un\n")
        self.cluster.ctl_ok("script", "put", file, "--name", "who")
        run = self.cluster.ctl("script", "run", "who", "--to", "scripts")
        self.assertEqual(0, run.code, run)
        self.assertIn("nobody" if getpass.getuser() == "root" else getpass.getuser(), run.out)


if __name__ == "__main__":
    main()
