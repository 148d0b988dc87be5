#!/usr/bin/python3
"""What `perdure run` passes through: standard input and output, the exit status, every signal that somebody may send, and being stopped and continued."""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

# What tells of the supervisor itself, and SIGRTMAX, which it uses: see docs/run.md. SIGTSTP and SIGCONT have a case of their own.
NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGPIPE,
                 signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP, signal.SIGCONT, signal.SIGRTMAX}
QUEUED_VALUE = 4711
# Takes each signal as it comes and prints its number, and the value that came with it.
TAKER = """
import ctypes, signal
libc = ctypes.CDLL(None)
wanted = (ctypes.c_ulong * 16)(2 ** 64 - 1)
libc.sigprocmask(signal.SIG_BLOCK, wanted, None)
information = (ctypes.c_int * 32)()
print("ready", flush=True)
while True:
    number = libc.sigwaitinfo(wanted, information)
    print(number, information[6], flush=True)
"""


@contextlib.contextmanager
def running(*command):
    """A `perdure run` with pipes for its standard input and output."""
    directory = harness.make_directory("passes_through")
    with harness.Group("passes", command, directory=directory) as group:
        audit = ["--audit"] if harness.audited() else []
        words = [harness.perdure_binary(), "run", *audit, "--name", group.name, "--store", group.store, "--", *group.command]
        group.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        yield group.process


def end_of(*command, given=None):
    """Exit status and output of a program under perdure that is given this input."""
    with running(*command) as process:
        output, _ = process.communicate(given, timeout=60)
        return process.returncode, output


def expect_line(process, wanted):
    line = process.stdout.readline().strip()
    if line != wanted:
        raise Failure("output", f"{line!r}, not {wanted!r}")


def state_of(pid):
    stat = pathlib.Path("/proc", str(pid), "stat").read_text()
    return stat[stat.rindex(")") + 2]


def wait_for_states(pids, wanted):
    deadline = time.monotonic() + 20
    while not all((state_of(pid) == "T") == wanted for pid in pids):
        if time.monotonic() > deadline:
            raise Failure("states", f"{ {pid: state_of(pid) for pid in pids} }")
        time.sleep(0.01)


def standard_input_and_output():
    found = end_of("cat", given="a\nb\n")
    if found != (0, "a\nb\n"):
        raise Failure("cat", f"{found}")


def exit_status():
    found = end_of("sh", "-c", "read word; exit $word", given="7\n")
    if found != (7, ""):
        raise Failure("sh", f"{found}")


def death_by_signal():
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGRTMIN, signal.SIGKILL):
        found = end_of("sh", "-c", f"kill -{int(number)} $$")
        if found != (-number, ""):
            raise Failure(f"signal {number}", f"{found}")


def every_signal_that_somebody_may_send():
    with running(sys.executable, "-c", TAKER) as process:
        expect_line(process, "ready")
        for number in sorted(signal.valid_signals() - NOT_FORWARDED):
            os.kill(process.pid, number)
            line = process.stdout.readline().split()
            if line[:1] != [str(int(number))]:
                raise Failure(f"signal {int(number)}", f"the program said {line}")
        harness.libc.sigqueue(process.pid, int(signal.SIGRTMIN), ctypes.c_void_p(QUEUED_VALUE))
        expect_line(process, f"{int(signal.SIGRTMIN)} {QUEUED_VALUE}")


def a_signal_without_a_handler_ends_both():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        with running("sleep", "100") as process:
            wait_for_program(process)
            os.kill(process.pid, number)
            if process.wait(20) != -number:
                raise Failure(f"signal {number}", f"the run ended with {harness.describe_status(process.returncode)}")


def wait_for_program(process):
    deadline = time.monotonic() + 20
    while not program_pids(process):
        if time.monotonic() > deadline:
            raise Failure("start", "the program does not start")
        time.sleep(0.005)


def program_pids(process):
    """Without the supervisor, init and the shepherd."""
    names = {}
    for pid in harness.descendants(process.pid):
        with contextlib.suppress(OSError):
            names[pid] = pathlib.Path("/proc", str(pid), "comm").read_text()
    # While init is being started, it is named as the descriptor that it is executed from.
    return [pid for pid, name in names.items() if not name.startswith("perdure") and not name.strip().isdigit()]


def stopped_and_continued_as_a_job():
    with running("sh", "-c", "echo ready; sleep 100 & cat") as process:
        expect_line(process, "ready")
        deadline = time.monotonic() + 20
        while len(program_pids(process)) < 3:
            if time.monotonic() > deadline:
                raise Failure("start", f"only {program_pids(process)}")
            time.sleep(0.005)
        everything = [process.pid, *program_pids(process)]
        os.kill(process.pid, signal.SIGTSTP)
        wait_for_states(everything, True)
        os.kill(process.pid, signal.SIGCONT)
        wait_for_states(everything, False)
        process.stdin.write("goes on\n")
        process.stdin.flush()
        expect_line(process, "goes on")


if __name__ == "__main__":
    sys.exit(harness.run_cases([standard_input_and_output, exit_status, death_by_signal, every_signal_that_somebody_may_send,
                                a_signal_without_a_handler_ends_both, stopped_and_continued_as_a_job]))
