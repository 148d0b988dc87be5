#!/usr/bin/python3
"""Every command against a small group: what it prints, its exit status, one line on stderr where it fails; and a man page for each that agrees with --help."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

MAN = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/man"
PAUSE_FIELDS = ("pause_us", "stop_us", "objects_us", "scan_us", "copy_us", "resume_us")
COMMANDS = ("run", "attach", "exec", "detach", "ps", "checkpoint", "log", "restore", "kill", "rm", "inspect", "verify", "doctor")
NOBODY = 65534
# Counts in memory; says where it is in a file, which is not rolled back, and goes on from memory.
COUNTER = """
import os, sys, time
count = 0
while True:
    count += 1
    # Overwritten in place: a draft that is renamed would be open in some checkpoint, and gone at its restore.
    with open(sys.argv[1], "r+" if os.path.exists(sys.argv[1]) else "w") as file:
        file.write(f"{count:012}")
    time.sleep(0.005)
"""


def expect(condition, what):
    if not condition:
        raise Failure("check", what)


class Shelf:
    """A store root and a scratch directory that go with it."""

    def __init__(self):
        self.directory = pathlib.Path(harness.make_directory("commands"))
        self.root = self.directory / "store"
        self.count_file = self.directory / "count"
        self.groups = set()

    def perdure(self, *words, status=0, **options):
        """Runs a command; Failure unless it ends with `status`. One that fails must say why in one line."""
        environment = {**os.environ, "PERDURE_STORE": str(self.root)}
        if harness.audited() and words[:1] in (("run",), ("attach",), ("restore",)):
            words = (words[0], "--audit", *words[1:])
        # Files, not pipes: a group in the background would keep a pipe open.
        with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
            done = subprocess.run([harness.perdure_binary(), *map(str, words)], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                                  timeout=60, check=False, **options)
            out.seek(0)
            err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        shown = " ".join(map(str, words))
        expect(done.returncode == status, f"`perdure {shown}`: {harness.describe_status(done.returncode)}, not {status}: {done.stderr.strip()[-300:]}")
        return done

    def fails(self, *words, status=1, says="", **options):
        done = self.perdure(*words, status=status, **options)
        lines = done.stderr.strip().splitlines()
        shown = " ".join(map(str, words))
        expect(len(lines) == 1 and lines[0].startswith("perdure: "), f"`perdure {shown}` does not fail with one line: {done.stderr!r}")
        expect(re.search(says, lines[0]), f"`perdure {shown}` does not say {says!r}: {lines[0]}")

    def start(self, name, *options):
        self.groups.add(name)
        self.perdure("run", "--detach", "--name", name, *options, "--", sys.executable, "-c", COUNTER, self.count_file)

    def state(self, name):
        """The entry of a group in `ps --json`."""
        return next((group for group in json.loads(self.perdure("ps", "--json").stdout) if group["name"] == name), None)

    def count(self):
        return int(self.count_file.read_text() or 0) if self.count_file.exists() else 0

    def forget_count(self):
        """In place: what a checkpoint has open must not be removed."""
        self.count_file.write_text("0" * 12)

    def close(self):
        for group in json.loads(self.perdure("ps", "--json").stdout) if self.root.exists() else ():
            if group["state"] == "live":
                self.perdure("kill", group["name"])
        outputs = [path.read_text(errors="replace") for path in self.root.glob("*/output")]
        shutil.rmtree(self.directory, ignore_errors=True)
        differences = [line for output in outputs for line in output.splitlines() if harness.AUDIT_DIFFERENCE in line]
        expect(not differences, "\n".join(differences[:1]))


@contextlib.contextmanager
def shelf():
    one = Shelf()
    try:
        yield one
    finally:
        one.close()


def wait_until(condition, what, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        expect(time.monotonic() < deadline, f"not within {timeout} s: {what}")
        time.sleep(0.01)


def usage_errors():
    with shelf() as one:
        one.fails(status=2)
        one.fails("nonsense", status=2, says="nonsense")
        for command in COMMANDS:
            one.fails(command, "--nonsense", status=2, says="--nonsense")
            one.perdure(command, "--help")
        for command in set(COMMANDS) - {"ps", "doctor"}:
            one.fails(command, status=2, says="required")
        for command in ("checkpoint", "kill", "detach", "log", "inspect", "verify", "rm"):
            one.fails(command, "a/b", says="cannot name a group")
            one.fails(command, "absent", says="absent")
        one.fails("run", "--name", "..", "--", "true", status=2, says="cannot name a group")
        one.fails("run", "--period", "fast", "--", "true", status=2, says="fast")
        one.fails("run", "--user", "no-such-user", "--name", "u", "--", "true", status=125, says="no-such-user")
        one.fails("restore", "absent", status=125, says="absent")
        one.fails("exec", "absent", "--", "true", status=125, says="absent")
        one.fails("log", "--store", "/etc/passwd", "x", says="/etc/passwd: Not a directory")
        one.fails("attach", "word", status=2, says="word")
        one.fails("attach", "--on-supervisor-exit", "kill", os.getpid(), status=2, says="no option '--on-supervisor-exit'")
        one.fails("attach", "4194304", status=125, says="no process")
        expect(json.loads(one.perdure("ps", "--json").stdout) == [], "ps lists groups where there are none")


def unprivileged_users_are_told():
    with shelf() as one:
        one.start("own")
        one.fails("run", "--name", "x", "--", "true", status=125, says="root", user=NOBODY, group=NOBODY, extra_groups=[])
        for command in (("ps",), ("log", "own"), ("inspect", "own"), ("verify", "own")):
            one.fails(*command, says="ermission denied", user=NOBODY, group=NOBODY, extra_groups=[])
        done = one.perdure("doctor", status=1, user=NOBODY, group=NOBODY, extra_groups=[])
        expect("run as root" in done.stdout, f"doctor does not say that root is needed: {done.stdout}")


def exit_status_passes_through():
    with shelf() as one:
        for round_number in range(5):
            one.perdure("run", "--name", f"exit{round_number}", "--", "sh", "-c", "exit 3", status=3)
            one.perdure("run", "--name", f"signal{round_number}", "--", "sh", "-c", "kill -TERM $$", status=-15)
        one.fails("run", "--name", "typo", "--", "/no/such/program", status=127, says="/no/such/program")
        one.fails("run", "--name", "text", "--", "/etc", status=126, says="Permission")


def life_of_a_group():
    with shelf() as one:
        one.start("life")
        state = one.state("life")
        expect(state["state"] == "live" and state["pids"] and state["durable_epoch"] > 0, f"ps of a live group: {state}")
        for field in (*PAUSE_FIELDS, "durable_age_ms", "period_us", "stored_bytes", "not_persisted", "disk_behind", "queued_epochs", "failed_epochs"):
            expect(field in state, f"ps has no {field}")
        one.fails("run", "--name", "life", "--", "true", status=125, says="running")
        one.fails("restore", "life", status=125, says="running")
        one.fails("rm", "life", says="running")
        one.fails("checkpoint", "life", "--label", "7", status=2, says="label")
        epoch = int(one.perdure("checkpoint", "life", "--label", "good").stdout)
        later = json.loads(one.perdure("checkpoint", "life", "--json").stdout)["epoch"]
        expect(later > epoch, f"epochs {epoch}, {later}")
        log = json.loads(one.perdure("log", "life", "--json").stdout)
        marked = next((entry for entry in log if entry["epoch"] == epoch), None)
        expect(marked and marked["label"] == "good", f"the log does not show the label: {marked}")
        for entry in log:
            parts = sum(entry[field] for field in ("stop_us", "objects_us", "copy_us", "resume_us"))
            expect(not entry["dirty_pages"] or 0 < parts <= entry["pause_us"], f"the pause and its parts: {entry}")
            expect((entry["durable_lag_us"] is None) == (entry is log[-1]), f"the lag of {entry}, the last being {log[-1]['epoch']}")
            expect(entry["durable_lag_us"] is None or entry["durable_lag_us"] >= entry["queued_us"], f"durable before it was written: {entry}")
        table = one.perdure("log", "life").stdout
        expect("good" in table, "the log as a table does not show the label")
        for field in PAUSE_FIELDS:
            expect(field == "scan_us" or f"{marked[field]:.0f}" in table, f"the log as a table does not show {field} {marked[field]}")
        expect("python" in one.perdure("inspect", "life", "--at", "good").stdout, "inspect does not show the program")
        objects = json.loads(one.perdure("inspect", "life", "--json").stdout)["objects"]
        expect(any("process" in entry for entry in objects.values()), "inspect --json shows no process")
        one.fails("inspect", "life", "--at", "999999", says="999999")
        one.fails("inspect", "life", "--at", "bad", says="bad")
        expect("whole" in one.perdure("verify", "life").stdout, "verify")
        inside = one.perdure("exec", "life", "--", "sh", "-c", "cat /proc/*/comm; exit 5", status=5).stdout
        expect("perdure-init" in inside, f"exec does not see the group's processes: {inside!r}")
        one.perdure("exec", "life", "--", "/no/such/program", status=127)
        one.perdure("kill", "life")
        expect(one.state("life")["state"] == "ended", f"ps of a killed group: {one.state('life')}")
        one.fails("kill", "life", says="not running")
        one.fails("run", "--name", "life", "--", "true", status=125, says="another command line")
        one.perdure("log", "life", "--json")
        one.perdure("rm", "life")
        expect(one.state("life") is None, "rm left the group")


def rm_spares_what_runs():
    with shelf() as one:
        one.start("open")
        # A directory that others may write to is refused as a store; whoever runs in it runs all the same.
        (one.root / "open").chmod(0o777)
        one.fails("rm", "open", says=rf"'open' is running \(pid {one.state('open')['supervisor_pid']}\).*perdure kill open")
        before = one.count()
        wait_until(lambda: one.count() > before, "the program runs on")
        one.perdure("kill", "open")
        one.perdure("rm", "open")
        expect(not (one.root / "open").exists(), "rm left the directory")


def restore_by_epoch_and_label():
    with shelf() as one:
        one.start("back", "--keep", "100000")
        wait_until(lambda: one.count() > 10, "the program counts")
        before = one.count()
        epoch = int(one.perdure("checkpoint", "back", "--label", "then").stdout)
        at_checkpoint = one.count()
        wait_until(lambda: one.count() > at_checkpoint + 300, "the program counts on")
        one.perdure("kill", "back")
        last = one.count()
        one.fails("restore", "back", "--at", "never", status=125, says="never")
        taken = next(entry["time_ns"] for entry in json.loads(one.perdure("log", "back", "--json").stdout) if entry["epoch"] == epoch)
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(taken // 10**9)) + f".{taken % 10**9 // 10**6:03}"
        expect(shown in one.perdure("log", "back").stdout, f"the log does not show {shown}")
        for at in (str(epoch), "then", shown):
            one.forget_count()
            one.perdure("restore", "--detach", "--keep", "100000", "back", "--at", at)
            wait_until(one.count, "the restored program counts")
            expect(before <= one.count() < at_checkpoint + 200, f"restored to {at}, the count is {one.count()}, not about {at_checkpoint}")
            one.perdure("kill", "back")
            last = max(last, one.count())
        one.perdure("restore", "--detach", "back")
        one.perdure("kill", "back")
        expect((one.root / "back/output").stat().st_mode & 0o077 == 0, "others can read the output of a group in the background")


def restore_by_time():
    with shelf() as one:
        one.start("timed", "--keep", "100000")
        for label in ("-30s", "-x", "14:03:05"):
            one.fails("checkpoint", "timed", f"--label={label}", status=2, says="label")
        wait_until(lambda: one.count() > 10, "the program counts")
        one.perdure("checkpoint", "timed")
        then, at_checkpoint = time.time(), one.count()
        wait_until(lambda: one.count() > at_checkpoint + 300, "the program counts on")
        one.perdure("kill", "timed")
        for option in (["--at", "-1h"], ["--at=-1h"], ["--at", "1999-12-31 23:59:59"]):
            one.fails("restore", "timed", *option, status=125, says=r"no epoch as old as .*; its oldest, \d+, was taken at \d+-")
            one.fails("inspect", "timed", *option, says="no epoch as old as")
        one.fails("restore", "timed", "--at", "25:00:00", status=125, says="'25:00:00' is no time: write for example")
        one.fails("restore", "timed", "--at", "2999-12-31 00:00:00", status=125, says="still to come")
        one.fails("inspect", "timed", "--at", "-30", says="'-30' is no time")
        age = f"-{(time.time() - then) * 1000:.0f}ms"
        inspected = one.perdure("inspect", "timed", "--at", age).stdout.splitlines()[0]
        one.forget_count()
        said = one.perdure("restore", "--detach", "--keep", "100000", "timed", "--at", age).stderr
        told = re.search(r"^perdure: (epoch \d+), taken at \d+-\d+-\d+ ", said)
        expect(told, f"restore does not say which epoch it takes: {said}")
        # Both ages are of a moment ago, the second a little later.
        expect(abs(int(told[1].split()[1]) - int(inspected.split()[1])) < 100, f"restored {told[1]}, inspected {inspected}")
        wait_until(one.count, "the restored program counts")
        expect(0 < one.count() < at_checkpoint + 200, f"the count is {one.count()}, not about {at_checkpoint}")


def resume_after_kill_of_the_supervisor():
    with shelf() as one:
        one.start("crash")
        wait_until(lambda: one.count() > 50, "the program counts")
        state = one.state("crash")
        harness.kill_now([state["supervisor_pid"], *state["pids"]])
        wait_until(lambda: one.state("crash")["state"] == "crashed", "ps says that it crashed")
        one.fails("checkpoint", "crash", says="not running")
        one.forget_count()
        one.start("crash")
        wait_until(one.count, "the resumed program counts")
        expect(one.count() > 30, f"it began anew: {one.count()}")


def attach_and_detach():
    with shelf() as one:
        with subprocess.Popen([sys.executable, "-c", COUNTER, one.count_file], stdin=subprocess.DEVNULL) as program:
            try:
                wait_until(one.count_file.exists, "the program counts")
                one.perdure("attach", "--detach", "--name", "taken", program.pid)
                expect(program.pid in one.state("taken")["pids"], f"ps of an attached group: {one.state('taken')}")
                one.fails("exec", "taken", "--", "true", status=125, says="attached")
                one.perdure("checkpoint", "taken")
                one.perdure("detach", "taken")
                wait_until(lambda: one.state("taken")["state"] != "live", "the supervisor lets go")
                count = one.count()
                wait_until(lambda: one.count() > count, "the program runs on")
            finally:
                program.kill()


def damaged_store_is_told():
    with shelf() as one:
        one.start("hurt")
        one.perdure("kill", "hurt")
        for path in (one.root / "hurt").glob("*"):
            if path.stat().st_size >= 8192:
                path.write_bytes(b"\xa5" * path.stat().st_size)
        one.fails("log", "hurt", says="hurt")
        one.fails("restore", "hurt", status=125, says="hurt")
        expect(one.state("hurt")["state"] == "unreadable", f"ps of a damaged group: {one.state('hurt')}")
        expect(one.state("hurt")["store_error"], "ps does not say why")


def doctor_finds_what_tests_need():
    with shelf() as one:
        checks = json.loads(one.perdure("doctor", "--json").stdout)
        expect({"name", "verdict", "found", "remedy"} <= set(checks[0]), f"doctor --json: {checks[0]}")


def man_pages_agree_with_help():
    with shelf() as one:
        offered = re.findall(r"^  ([a-z]+) {2,}", one.perdure("--help").stdout.split("ubcommands:", 1)[1], re.MULTILINE)
        expect(sorted(offered) == sorted(COMMANDS), f"commands {offered}")
        for command in COMMANDS:
            page = (MAN / f"perdure-{command}.1").read_text().replace("\\-", "-")
            described = set(re.findall(r"^\.B (--[a-z-]+)", page, re.MULTILINE))
            helped = set(re.findall(r"(--[a-z-]+)", "\n".join(re.findall(r"^  (?:-\w,)?(--\S+)", one.perdure(command, "--help").stdout, re.MULTILINE))))
            expect(described == helped, f"perdure-{command}.1 and --help differ in {sorted(described ^ helped)}")
            expect(f"perdure-{command}" in (MAN / "perdure.1").read_text().replace("\\-", "-"), f"perdure.1 does not list {command}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([usage_errors, unprivileged_users_are_told, exit_status_passes_through, life_of_a_group, rm_spares_what_runs,
                                restore_by_epoch_and_label, restore_by_time, resume_after_kill_of_the_supervisor, attach_and_detach, damaged_store_is_told, doctor_finds_what_tests_need,
                                man_pages_agree_with_help]))
