#!/usr/bin/python3
"""A program that crashes: by choice its group goes on from a checkpoint, with the state that it had, but not for ever; and what somebody wanted is no crash."""

import contextlib
import os
import pathlib
import re
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from commands import expect, shelf, wait_until

RESUMES_MAX = 5
# Counts in memory and notes every number. How it crashes is decided by the mode it is given:
#   once    at 200, if nobody has before
#   doomed  as once, but only a while after it has made up its mind, and wrote down that it has
#   always  at 200
#   never
PROGRAM = """
import ctypes, os, resource, sys, time
mode, notes, marker = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(notes, b"start\\n")
doomed = False
for count in range(1, 401):
    os.write(notes, b"%d\\n" % count)
    time.sleep(0.005)
    if count == 200 and mode != "never":
        doomed = mode == "always" or not os.path.exists(marker)
        open(marker, "w").close()
        if mode == "doomed":
            time.sleep(0.05)
        if doomed:
            ctypes.string_at(0)
print("counted to", count, flush=True)
sys.exit(7)
"""
# A parent and a child that count, each in a file of its own.
FAMILY = """
import os, sys, time
path = sys.argv[1 if os.fork() else 2]
count = 0
while True:
    count += 1
    with open(path, "r+" if os.path.exists(path) else "w") as file:
        file.write(f"{count:012}")
    time.sleep(0.005)
"""
# Crashes at its first line of input, once, and answers the next.
ANSWERS = """
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print("ready", flush=True)
line = input()
if not os.path.exists(sys.argv[1]):
    open(sys.argv[1], "w").close()
    ctypes.string_at(0)
print("heard", line, flush=True)
sys.exit(7)
"""
RESUMED = re.compile(r"^perdure: group '(\w+)' crashed \((SIG\w+), [^)]*\): it goes on from epoch (\d+) \(resume (\d) of 5 in a row\)$", re.MULTILINE)


@contextlib.contextmanager
def crash_shelf():
    with shelf() as one:
        one.notes, one.marker = one.directory / "notes", one.directory / "marker"
        yield one


def run(one, mode, *options, status, command="run"):
    """A run to its end. The process that it was, the signals and numbers of its resumes, and what the program noted."""
    program = ["--", sys.executable, "-c", PROGRAM, mode, one.notes, one.marker] if command == "run" else []
    name = ["--name", mode] if command == "run" else [mode]
    done = one.perdure(command, *name, "--keep", "100000", *options, *program, status=status)
    return done, [(found[1], int(found[3])) for found in RESUMED.findall(done.stderr)], one.notes.read_text().split()


def steps_back(notes):
    """How far the count went back, each time that it did."""
    numbers = [int(note) for note in notes if note != "start"]
    return [before - after for before, after in zip(numbers, numbers[1:]) if after <= before]


def goes_on_with_its_state():
    with crash_shelf() as one:
        done, resumes, notes = run(one, "once", "--on-crash", "resume", status=7)
        # A checkpoint right between the decision to crash and the crash would lead to another.
        expect(resumes in ([("SIGSEGV", 1)], [("SIGSEGV", 1), ("SIGSEGV", 2)]), f"resumes: {done.stderr}")
        expect(done.stdout == "counted to 400\n", f"its output: {done.stdout!r}")
        expect(notes.count("start") == 1, "it began anew")
        # Not from the beginning; how far back is a matter of the period, and of a busy machine.
        expect(all(step < 150 for step in steps_back(notes)), f"it went back by {steps_back(notes)}")
        expect({str(number) for number in range(1, 401)} < set(notes), "numbers are missing")
        expect(one.state("once")["state"] == "ended", f"ps: {one.state('once')}")


def ends_by_default():
    with crash_shelf() as one:
        for options in ([], ["--on-crash", "end"]):
            one.marker.unlink(missing_ok=True)
            done, resumes, notes = run(one, "once", *options, status=-signal.SIGSEGV)
            expect(not resumes and notes[-1] == "200", f"resumes: {done.stderr}")
            expect(one.state("once")["state"] == "ended", f"ps: {one.state('once')}")
        # A restored group has the choice too. Without the marker it crashes once more.
        one.marker.unlink()
        done, resumes, notes = run(one, "once", "--on-crash", "resume", "--at", one_epoch(one), command="restore", status=7)
        expect(resumes, f"no resume after restore: {done.stderr}")


def one_epoch(one):
    """An epoch of the last run from before its crash."""
    return one.perdure("log", "once").stdout.splitlines()[-30].split()[0]


def a_doomed_checkpoint_is_left_behind():
    """That the newest checkpoint leads to a crash is no reason to crash until the end."""
    with crash_shelf() as one:
        done, resumes, notes = run(one, "doomed", "--on-crash", "resume", status=7)
        expect(len(resumes) >= 2, f"the newest checkpoint was not doomed: {done.stderr}")
        expect(notes.count("start") == 1 and done.stdout == "counted to 400\n", f"it did not go on: {done.stdout!r}")


def a_crash_loop_ends():
    with crash_shelf() as one:
        done, resumes, notes = run(one, "always", "--on-crash", "resume", status=-signal.SIGSEGV)
        expect(resumes == [("SIGSEGV", number) for number in range(1, RESUMES_MAX + 1)], f"resumes: {done.stderr}")
        lines = done.stderr.splitlines()
        expect(len(lines) == RESUMES_MAX + 1, f"more than a line for each crash: {done.stderr}")
        expect(re.fullmatch(r"perdure: group 'always' crashed \(SIGSEGV, .*\) again after 5 resumes in a row: it is not resumed any more", lines[-1]), f"the last line: {lines[-1]}")
        steps = steps_back(notes)
        expect(steps and steps[0] < 100 < steps[-1], f"the steps back: {steps}")
        expect(one.state("always")["state"] == "ended", f"ps: {one.state('always')}")
        notes_before = one.notes.read_text().count("start")
        one.marker.unlink()
        run(one, "always", status=-signal.SIGSEGV)
        expect(one.notes.read_text().count("start") == notes_before + 1, "a group that has ended was resumed")


def what_is_wanted_is_no_crash():
    with shelf() as one:
        one.start("wanted", "--on-crash", "resume")
        one.perdure("kill", "wanted")
        expect(one.state("wanted")["state"] == "ended", f"ps after perdure kill: {one.state('wanted')}")
        # The last is no signal to end a program by, but was sent through perdure.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT):
            one.start("wanted", "--on-crash", "resume")
            os.kill(one.state("wanted")["supervisor_pid"], number)
            wait_until(lambda: one.state("wanted")["state"] == "ended", f"the end by {number!r}")
        said = (one.root / "wanted/output").read_text()
        expect("crashed" not in said, f"a crash is told of: {said}")
        one.fails("run", "--on-crash", "perhaps", "--", "true", status=2, says="--on-crash")
        one.fails("attach", "--on-crash", "resume", os.getpid(), status=2, says="no option '--on-crash'")


def processes_die_and_come_back_together():
    """SIGKILL from outside, as by the kernel when memory runs out, to the program alone: its child is not left with nobody."""
    with shelf() as one:
        child_file = one.directory / "child"
        one.groups.add("family")
        one.perdure("run", "--detach", "--name", "family", "--on-crash", "resume", "--", sys.executable, "-c", FAMILY, one.count_file, child_file)
        wait_until(lambda: child_file.exists() and one.count() > 20, "both count")
        one.perdure("checkpoint", "family")
        before, count = one.state("family"), one.count()
        root = next(pid for pid in before["pids"] if any(line.split()[-1] == str(before["root_pid"]) for line in status_lines(pid)))
        os.kill(root, signal.SIGKILL)
        wait_until(lambda: one.state("family").get("resumed_epoch", 0) > 0, "it is resumed")
        after = one.state("family")
        expect(after["supervisor_pid"] == before["supervisor_pid"], "another supervisor")
        expect(len(after["pids"]) == len(before["pids"]) and not set(after["pids"]) & set(before["pids"]), f"processes {before['pids']}, then {after['pids']}")
        child_count = int(child_file.read_text())
        wait_until(lambda: one.count() > count + 20 and int(child_file.read_text() or 0) > child_count, "both count on")
        said = (one.root / "family/output").read_text()
        expect([found[1] for found in RESUMED.findall(said)] == ["SIGKILL"], f"what was said: {said}")
        one.perdure("kill", "family")
        expect(one.state("family")["state"] == "ended", f"ps after perdure kill: {one.state('family')}")


def status_lines(pid):
    try:
        return [line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")]
    except OSError:
        return []


def never_from_another_run():
    """What crashes before its first checkpoint ends, though the group has checkpoints of a former run."""
    with shelf() as one:
        flag = one.directory / "flag"
        command = ["--", "sh", "-c", f"[ -e {flag} ] && kill -SEGV $$; sleep 0.3; exit 3"]
        one.perdure("run", "--name", "other", *command, status=3)
        flag.touch()
        for _ in range(3):
            said = one.perdure("run", "--name", "other", "--on-crash", "resume", *command, status=-signal.SIGSEGV).stderr
            expect(re.search("nothing to resume|not resumed any more", said), f"what was said: {said}")


def the_terminal_stays():
    with harness.Group("crashing", [], ["--on-crash", "resume"], terminal=True) as group:
        group.command = [sys.executable, "-c", ANSWERS, str(group.directory / "marker")]
        group.start()
        wait_until(lambda: "ready" in group.output_path("stdout").read_text(), "it is ready")
        group.checkpoint()
        group.terminal_master.write(b"one\n")
        wait_until(lambda: RESUMED.search(group.errors()), "it is resumed")
        group.terminal_master.write(b"two\n")
        status = group.wait_end(20, "the end")
        expect(status == 7, f"{harness.describe_status(status)}: {group.errors()}")
        said = group.output_path("stdout").read_text()
        expect(re.search("heard (one|two)", said), f"what it heard: {said!r}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([goes_on_with_its_state, ends_by_default, a_doomed_checkpoint_is_left_behind, a_crash_loop_ends, what_is_wanted_is_no_crash,
                                processes_die_and_come_back_together, never_from_another_run, the_terminal_stays]))
