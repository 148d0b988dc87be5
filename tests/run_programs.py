#!/usr/bin/python3
"""Runs the test programs of tests/programs under perdure: checkpoint, kill -9 of everything, the same command again, and the program checks itself.

Modes (each program runs in each mode asked for):
  --alone    without perdure; a program that fails here shows nothing
  --plain    checkpoint, kill, resume (the default)
  --audit    the same with every epoch compared with what the store would give back
  --lazy     as --audit, and resumed before all memory is there
  --reboot   resumed in what looks like a rebooted machine
  --mutate   the capture of each kind that a program covers is disabled, and the program must fail
  --mutate-once  the same with one program for each kind
Exit status 0 if all is as it should be, 1 otherwise.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from xml.sax.saxutils import quoteattr

import gaps
import harness
from harness import Failure, Skipped

KINDS = set("""
threads registers xsave signals-pending signal-handlers signal-mask timers memory-private memory-shared mappings credentials rlimits umask cwd
names scheduling prctl sessions zombies futex-robust rseq clocks blocked-syscalls
pipe unix-socket unix-queue tcp-listen udp epoll eventfd timerfd signalfd inotify pidfd memfd mqueue sysv-shm sysv-sem sysv-msg file-locks
file-offset file-flags deleted-file tty terminal directory fifo descriptors scm-rights
""".split())
# What a program may cover as well: a single field of the records (src/posix/*.proto). One that is not there mutates nothing, and the program passes.
FIELD = re.compile(r"[A-Z]\w*\.[a-z]\w*")
MODES = ("alone", "plain", "audit", "reboot", "lazy")
KNOWN_GAPS = gaps.read()
# What check.h writes when a check fails.
FAILED_CHECK = " is not so; "
# A program that looks at a clock, or has a timer or a timeout, may fail its checks on a machine that is too busy. So may any that waits until a deadline.
USES_TIME = re.compile(r'timed\.h|sleepers\.h|monotonic_ms|clock_gettime|clock_now_ns|timer|alarm\(|timeval|timespec|poll\(')
DEADLINE = "deadline is not so; "
# A mutated program may hang rather than fail; that is an answer too, and not worth waiting long for. None takes half as long when all is well.
MUTATED_TIMEOUT_SECONDS = 6


@dataclasses.dataclass
class Program:
    """A test program and what its header comment says."""
    name: str
    covers: list
    rounds: int
    timeout: int
    downtime: float
    refused: str
    not_in: list
    terminal: bool
    timed: bool

    @staticmethod
    def read(source):
        text = source.read_text()
        fields = dict(re.findall(r"^//\s*(covers|rounds|timeout|downtime|refused|terminal):\s*(.*?)\s*$", text, re.MULTILINE))
        not_in = re.findall(r"^//\s*not-in:\s*(\w+)", text, re.MULTILINE)
        covers = [kind for kind in re.split(r"[,\s]+", fields.get("covers", "")) if kind]
        unknown = [word for word in covers if word not in KINDS and not FIELD.fullmatch(word)] + [mode for mode in not_in if mode not in MODES]
        if unknown:
            raise SystemExit(f"{source}: unknown kind or mode: {', '.join(unknown)}")
        return Program(source.stem, covers, int(fields.get("rounds", 0)), int(fields.get("timeout", 30)), float(fields.get("downtime", 0)),
                       fields.get("refused", ""), not_in, "terminal" in fields, USES_TIME.search(text) is not None)

    def round_names(self):
        return [f".{number}" for number in range(1, self.rounds + 1)] or [""]


def programs_directory():
    return pathlib.Path(os.environ.get("PERDURE_PROGRAMS", harness.ROOT / "build/tests/programs"))


# One run, in a process of its own (--worker)

def release(scratch, name, downtime):
    """Lets the program go on; the file says for how many seconds it has been down at least."""
    unnamed = scratch / f"unnamed{name}"
    unnamed.write_text(f"{downtime}\n")
    unnamed.rename(scratch / f"go{name}")


def run_alone(program, scratch):
    words = [programs_directory() / program.name, scratch]
    process, _terminal = harness.start_process(words, program.terminal, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + program.timeout
    for name in program.round_names():
        while not (scratch / f"ready{name}").exists() and process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure("alone", f"not ready after {program.timeout} s")
            time.sleep(0.003)
        time.sleep(0.05)
        release(scratch, name, 0)
    try:
        _, errors = process.communicate(timeout=program.timeout)
    except subprocess.TimeoutExpired:
        raise Failure("alone", f"still running after {program.timeout} s") from None
    if process.returncode == 77:
        raise Skipped(errors.decode(errors="replace").strip().removeprefix("skipped: "))
    if process.returncode != 0:
        raise Failure("alone", f"ended with {harness.describe_status(process.returncode)}\n{errors.decode(errors='replace').strip()}")


def checkpoint_or_refusal(program, group, scratch, names):
    """True if there is a checkpoint; False if it was refused as the program's header demands, and the program then ran on and passed."""
    result = group.checkpoint()
    if result.returncode == 0:
        if program.refused:
            raise Failure("checkpoint", "it should have been refused")
        return True
    if not program.refused or not re.search(program.refused, result.stderr):
        raise Failure("checkpoint", f"status {result.returncode}: {result.stderr.strip()}")
    for name in names:
        release(scratch, name, 0)
    status = group.wait_end(program.timeout, "after the refusal")
    if status != 0:
        raise Failure("after the refusal", f"ended with {harness.describe_status(status)}")
    return False


def crash_and_resume(program, group, mode, ready):
    time.sleep(random.uniform(0, float(os.environ.get("PERDURE_CRASH_DELAY_MS", 0)) / 1000))
    former_pids = group.kill()
    # Seen again, this file would mean that the program was started anew instead of being resumed.
    ready.unlink()
    if mode == "reboot":
        harness.simulate_reboot(former_pids)
    time.sleep(program.downtime)
    group.start()


def run_persisted(program, mode, kind, scratch, group):
    timeout = min(MUTATED_TIMEOUT_SECONDS, program.timeout) if kind else program.timeout
    names = program.round_names()
    group.start()
    for index, name in enumerate(names):
        ready = scratch / f"ready{name}"
        group.wait_for(ready, program.timeout, f"before checkpoint{name}" if index == 0 else "resume")
        if not checkpoint_or_refusal(program, group, scratch, names[index:]):
            return
        crash_and_resume(program, group, mode, ready)
        release(scratch, name, program.downtime)
    status = group.wait_end(timeout, "resume")
    if any((scratch / f"ready{name}").exists() for name in names):
        raise Failure("start", "the program was started anew instead of being resumed")
    if status != 0:
        raise Failure("resume", f"ended with {harness.describe_status(status)}")
    group.expect_no_audit_difference()
    if FAILED_CHECK in group.errors():
        raise Failure("start", "a check failed, and yet perdure run ended with status 0")


def collect_errors(group):
    lines = []
    for run in range(1, group.runs + 1):
        lines += [f"[run {run}] {line}" for line in group.errors(run).splitlines()[-40:]]
    return "\n".join(lines)


def run_worker(program, mode, kind):
    """The result of one run as a dict; whatever happens, nothing that was started is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    harness.become_reaper()
    harness.die_with_parent()
    harness.enter_private_namespaces()
    directory = harness.make_directory(program.name)
    scratch = harness.make_scratch(directory)
    options = ["--period", "5ms"] + ({"audit": ["--audit"], "lazy": ["--audit", "--lazy"]}.get(mode, [])) + (["--mutate", kind] if kind else [])
    result = {"status": "passed", "phase": "", "text": ""}
    with contextlib.closing(harness.Group("test", [programs_directory() / program.name, scratch], options, directory, terminal=program.terminal)) as group:
        try:
            if mode == "alone":
                run_alone(program, scratch)
            else:
                run_persisted(program, mode, kind, scratch, group)
        except Skipped as skipped:
            result = {"status": "skipped", "phase": "", "text": str(skipped)}
        except Failure as failure:
            result = {"status": "failed", "phase": failure.phase, "text": f"{failure}\n{collect_errors(group)}".strip()}
        finally:
            gone = harness.kill_descendants()
            harness.unmount_below(directory)
    if not gone:
        result = {"status": "failed", "phase": "cleaning up", "text": f"processes survive SIGKILL: {harness.descendants(os.getpid())}"}
    return result


# All runs

@dataclasses.dataclass
class Run:
    program: Program
    mode: str
    kind: str = ""
    status: str = ""
    text: str = ""
    seconds: float = 0.0

    def label(self):
        return f"mutate {self.kind}" if self.kind else self.mode


def judge_mutation(run, result):
    """A program must fail when what it covers is disabled, and in a way that says something: after it was resumed, or in being resumed."""
    if result["status"] == "skipped":
        return "skipped", result["text"]
    if result["status"] == "passed":
        return "failed", f"passes although the capture of {run.kind} is disabled: it does not show what it claims"
    if result["phase"] != "resume":
        return "failed", result["text"]
    return "passed", ""


def attempt(program, mode, kind):
    """The result of one worker, as run_worker gives it."""
    words = [sys.executable, __file__, "--worker", program.name, mode, kind]
    worker = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = worker.communicate(timeout=program.timeout * (2 + 2 * len(program.round_names())) + 90)
        return json.loads(output) if worker.returncode == 0 else {"status": "failed", "phase": "setup", "text": errors.strip()}
    except subprocess.TimeoutExpired:
        harness.kill_descendants(worker.pid)
        worker.kill()
        worker.communicate()
        return {"status": "failed", "phase": "cleaning up", "text": "the worker hung"}


def perform(run):
    """Does one run and fills in the result."""
    started = time.monotonic()
    gap = gaps.reason(KNOWN_GAPS, run.program.name, run.mode)
    # What fails as it is shows nothing by failing when something is left out.
    if run.kind and gap and (unmutated := attempt(run.program, run.mode, ""))["status"] == "failed":
        run.status, run.text = "failed", unmutated["text"]
    else:
        result = attempt(run.program, run.mode, run.kind)
        run.status, run.text = judge_mutation(run, result) if run.kind else (result["status"], result["text"])
    run.seconds = time.monotonic() - started
    if run.status == "failed" and gap:
        run.status, run.text = "gap", f"{gap}\n{run.text}"
    return run


def may_be_unsteady(run):
    """Whether a failure may be a matter of how busy the machine is: if so, it is run again."""
    if run.kind:
        return True
    failed_checks = [line for line in run.text.splitlines() if FAILED_CHECK in line and DEADLINE not in line]
    return not harness.shows_violation(run.text) and (run.program.timed or not failed_checks)


def show(run, done, total, redone):
    """`redone`: whether it is to be run again, should it have failed."""
    first, _, rest = run.text.partition("\n")
    word = {"passed": "ok  ", "skipped": "skip", "failed": "redo" if redone else "FAIL", "gap": "gap ", "unsteady": "unst"}[run.status]
    print(f"[{done:3}/{total}] {word} {run.label():24} {run.program.name:36} {run.seconds:5.1f} s{'  ' + first if first else ''}", flush=True)
    for line in rest.splitlines() if run.status == "failed" else []:
        print(f"            {line}", flush=True)


def write_junit(path, runs, unproven):
    with open(path, "w") as file:
        failures = sum(run.status == "failed" for run in runs) + len(unproven)
        skipped = sum(run.status in ("skipped", "gap", "unsteady") for run in runs)
        print(f'<testsuite name="programs" tests="{len(runs)}" failures="{failures}" skipped="{skipped}">', file=file)
        for run in runs:
            print(f'  <testcase classname={quoteattr(run.label())} name={quoteattr(run.program.name)} time="{run.seconds:.3f}">', file=file)
            if run.status != "passed":
                tag = "failure" if run.status == "failed" else "skipped"
                printable = "".join(c if c.isprintable() or c == "\n" else "?" for c in run.text)
                known = {"gap": "known gap: ", "unsteady": "unsteady: "}.get(run.status, "")
                print(f"    <{tag} message={quoteattr(known + printable)}/>", file=file)
            print("  </testcase>", file=file)
        for kind in unproven:
            print(f'  <testcase classname="mutate" name={quoteattr(kind)}><failure message="no program proves it"/></testcase>', file=file)
        print("</testsuite>", file=file)


def proofs(programs, kind):
    """The programs that cover a kind, the best first: without a known gap, and covering few others."""
    def rank(program):
        return gaps.reason(KNOWN_GAPS, program.name, "plain") is not None, len(program.covers), program.name
    return sorted((program for program in programs if kind in program.covers), key=rank)


def perform_until_proven(kind, programs):
    """Asks one program after the other until one has an answer: some lack what they need on this machine."""
    for program in proofs(programs, kind):
        run = perform(Run(program, "plain", kind))
        if run.status in ("passed", "failed"):
            break
    return run


def plan(programs, modes, options):
    """What is to be done: functions that return a Run."""
    runs = [Run(program, mode) for _ in range(options.repeat) for mode in modes for program in programs if mode not in program.not_in]
    if options.mutate:
        runs += [Run(program, "plain", kind) for program in programs for kind in program.covers]
    if options.field:
        runs += [Run(program, "plain", options.field) for program in programs]
    work = [functools.partial(perform, run) for run in runs]
    if options.mutate_once:
        covered = sorted({kind for program in programs for kind in program.covers})
        work += [functools.partial(perform_until_proven, kind, programs) for kind in covered]
    return work


def find_unproven(runs, options):
    """The kinds that no program proved, when every program was asked."""
    if not (options.mutate or options.mutate_once) or options.programs:
        return []
    asked = {options.kind} if options.kind else KINDS
    return sorted(asked - {run.kind for run in runs if run.status in ("passed", "unsteady")})


def main():
    if sys.argv[1:2] == ["--worker"]:
        name, mode, kind = sys.argv[2:5]
        print(json.dumps(run_worker(Program.read(harness.ROOT / "tests/programs" / f"{name}.c"), mode, kind)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for mode in MODES:
        parser.add_argument(f"--{mode}", action="append_const", dest="modes", const=mode, help=f"run in mode {mode}")
    parser.add_argument("--mutate", action="store_true", help="disable the capture of what each program covers; it must fail")
    parser.add_argument("--mutate-once", action="store_true", help="the same with one program for each kind")
    parser.add_argument("--kind", help="with --mutate: only this kind")
    parser.add_argument("--field", metavar="MESSAGE.FIELD", help="leave out this field of the records (src/posix/*.proto); each program must fail")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run everything N times")
    parser.add_argument("--once", action="store_true", help="do not run again, alone, what failed")
    parser.add_argument("--jobs", type=int, default=2 * os.cpu_count(), metavar="N", help="programs run at the same time (two a processor)")
    parser.add_argument("--crash-delay-ms", type=float, metavar="MS", help="let up to so many milliseconds of epochs pass between checkpoint and kill")
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    parser.add_argument("--list", action="store_true", help="list the programs and what they cover")
    parser.add_argument("programs", nargs="*", help="names; all when none is given")
    options = parser.parse_args()

    sources = sorted((harness.ROOT / "tests/programs").glob("*.c"))
    programs = [Program.read(source) for source in sources if not options.programs or source.stem in options.programs]
    if len(programs) != len(set(options.programs)) and options.programs:
        raise SystemExit(f"no such program: {', '.join(set(options.programs) - {program.name for program in programs})}")
    if options.list:
        for program in programs:
            print(f"{program.name:36} {', '.join(program.covers)}")
        return 0
    if options.kind:
        for program in programs:
            program.covers = [kind for kind in program.covers if kind == options.kind]
    missing = [program.name for program in programs if not (programs_directory() / program.name).exists()]
    if missing:
        raise SystemExit(f"not built: {', '.join(missing)}")

    if options.crash_delay_ms:
        os.environ["PERDURE_CRASH_DELAY_MS"] = str(options.crash_delay_ms)
    harness.become_reaper()
    with harness.huge_pages(8):
        return run_all(programs, options)


def run_all(programs, options):
    work = plan(programs, options.modes or ([] if options.mutate or options.mutate_once or options.field else ["plain"]), options)
    runs = []

    def to_be_redone(run):
        return run.status == "failed" and not options.once and may_be_unsteady(run)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for finished in concurrent.futures.as_completed([pool.submit(one) for one in work]):
            runs.append(finished.result())
            show(runs[-1], len(runs), len(work), to_be_redone(runs[-1]))
    # A failure that does not come again is told as such: it is neither passed nor, on a machine with other work, proof of a fault.
    for run in [run for run in runs if to_be_redone(run)]:
        again = perform(Run(run.program, run.mode, run.kind))
        if again.status == "passed":
            run.status = "unsteady"
        show(run, len(work), len(work), False)
    unproven = find_unproven(runs, options)
    if options.junit:
        write_junit(options.junit, runs, unproven)
    count = {status: sum(run.status == status for run in runs) for status in ("passed", "failed", "skipped", "gap", "unsteady")}
    count["failed"] += len(unproven)
    for run in runs:
        if run.status == "failed":
            print(f"failed: {run.label()} {run.program.name}")
    if unproven:
        print(f"failed: no program proves: {', '.join(unproven)}")
    print(f"programs: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped, {count['gap']} known gaps, {count['unsteady']} unsteady")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
