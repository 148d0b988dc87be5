#!/usr/bin/python3
"""Kills two processes under full load at random instants, resumes them, and lets them verify that what came back is one consistent cut.

See atomicity.c for what is verified. --alone runs the program without perdure and without kills: the invariant must hold there as well.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

LONGEST_LIFE_SECONDS = 0.15
ANSWER_TIMEOUT_SECONDS = 60
COMMAND_WIDTH = 8


def program():
    return str(pathlib.Path(os.environ.get("PERDURE_ATOMICITY", harness.ROOT / "build/tests/atomicity/atomicity")))


def command(scratch, text):
    """Written in place, since a checkpoint may find the file open; twice, so that the program never takes half of it for the whole."""
    file = os.open(scratch / "command", os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(file, f"{text:<{COMMAND_WIDTH}}".encode() * 2, 0)
    os.close(file)


def wait_for_answer(scratch, process, number):
    """The number of counts so far, once the program has counted everything after it was given `number`."""
    command(scratch, number)
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while True:
        if (scratch / "failure").exists():
            time.sleep(0.05)
            raise Failure(f"round {number}", (scratch / "failure").read_text().strip())
        answer = (scratch / "answer").read_text().split() if (scratch / "answer").exists() else []
        if len(answer) == 2 and answer[0] == str(number):
            return int(answer[1])
        if process.poll() is not None:
            raise Failure(f"round {number}", f"the run ended with {harness.describe_status(process.returncode)}")
        if time.monotonic() > deadline:
            raise Failure(f"round {number}", f"no count within {ANSWER_TIMEOUT_SECONDS} s")
        time.sleep(0.002)


def kill(group, choose):
    """All at once, or only the supervisor first, so that the group's own end (its init) is tried as well."""
    pids = group.pids()
    if choose.random() < 0.25:
        harness.kill_now(pids[:1])
        time.sleep(choose.random() * 0.02)
    harness.kill_now(pids)
    group.process.wait()
    deadline = time.monotonic() + 20
    while any(harness.is_running(pid) for pid in pids):
        harness.reap_orphans()
        if time.monotonic() > deadline:
            raise Failure("kill", "processes survive SIGKILL")
        time.sleep(0.002)


def run_persisted(options):
    choose = random.Random(options.seed)
    directory = harness.make_directory("atomicity")
    scratch = harness.make_scratch(directory)
    run_options = ["--period", options.period] + (["--audit"] if options.audit else [])
    counts = 0
    with harness.Group("atomicity", [program(), scratch], run_options, directory) as group:
        try:
            group.start()
            wait_for_answer(scratch, group.process, 0)
            result = group.checkpoint()
            if result.returncode != 0:
                raise Failure("checkpoint", result.stderr.strip())
            for number in range(1, options.rounds + 1):
                time.sleep(choose.random() * LONGEST_LIFE_SECONDS)
                kill(group, choose)
                group.start()
                counts = wait_for_answer(scratch, group.process, number)
            command(scratch, "stop")
            status = group.wait_end(ANSWER_TIMEOUT_SECONDS, "the end")
            if status != 0:
                raise Failure("the end", f"the program ended with {harness.describe_status(status)}")
        except Failure as failure:
            raise Failure(failure.phase, f"{str(failure).removeprefix(failure.phase + ': ')}; seed {options.seed}\n{group.errors()[-1500:]}") from None
    return counts


def run_alone(options):
    directory = harness.make_directory("atomicity")
    scratch = harness.make_scratch(directory)
    with harness.Group("atomicity", [], directory=directory) as group:  # for its directory alone
        group.process = subprocess.Popen([program(), scratch], stdin=subprocess.DEVNULL)
        for number in range(options.rounds):
            counts = wait_for_answer(scratch, group.process, number)
        command(scratch, "stop")
        if group.process.wait(ANSWER_TIMEOUT_SECONDS) != 0:
            raise Failure("alone", f"ended with {harness.describe_status(group.process.returncode)}")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000 if os.environ.get("PERDURE_SOAK") else 5 if harness.audited() else 20, metavar="N",
                        help="kills (20; 1000 with PERDURE_SOAK set, 5 with PERDURE_AUDIT)")
    parser.add_argument("--period", default="1ms", help="between checkpoints (1ms)")
    parser.add_argument("--audit", action="store_true", default=harness.audited(), help="audit every checkpoint")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the instants")
    parser.add_argument("--alone", action="store_true", help="without perdure")
    options = parser.parse_args()
    harness.become_reaper()
    started = time.monotonic()
    try:
        counts = run_alone(options) if options.alone else run_persisted(options)
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        print(f"FAIL atomicity: {failure}")
        return 1
    finally:
        harness.kill_descendants()
    print(f"ok   atomicity ({options.rounds} rounds, {counts} counts, {time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
