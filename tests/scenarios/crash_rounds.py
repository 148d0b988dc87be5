#!/usr/bin/python3
"""Kills the supervisor and the group at random instants, again and again: each resume must find the books of the ledger balanced, and never
a state older than the last checkpoint that was reported durable."""

import json
import os
import pathlib
import random
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

ROUNDS = int(os.environ.get("PERDURE_CRASH_ROUNDS") or (5000 if os.environ.get("PERDURE_SOAK") else 25 if harness.audited() else 200))
RESUME_TIMEOUT_SECONDS = 30


def read_report(path):
    """step, round of the last resume that was noticed, step found then, whether the books balanced then."""
    data = path.read_bytes() if path.exists() else b""
    return struct.unpack("<4Q", data[:32]) if len(data) >= 32 else (0, 0, 0, 0)


def tell_round(path, number):
    with open(path, "r+b") as file:
        file.seek(32)
        file.write(struct.pack("<Q", number))


def await_report(group, path, condition, phase):
    deadline = time.monotonic() + RESUME_TIMEOUT_SECONDS
    while not condition(read_report(path)):
        if group.process.poll() is not None:
            raise harness.Failure(phase, f"perdure run ended with {harness.describe_status(group.process.poll())}: {group.errors().strip()}")
        if time.monotonic() > deadline:
            raise harness.Failure(phase, f"nothing happened for {RESUME_TIMEOUT_SECONDS} s; {group.errors().strip()}")
        time.sleep(0.002)
    return read_report(path)


def status_of(group):
    """`perdure ps` of the group, once its supervisor answers."""
    while True:
        status = json.loads(group.perdure("ps", "--json").stdout)[0]
        if status["state"] == "live" or group.process.poll() is not None:
            return status
        time.sleep(0.01)


def crash(group, generator):
    """The supervisor goes first or the group's init: a program that is killed while both live has ended, and would rightly start anew."""
    pids = group.pids()
    if generator.random() < 0.5:
        harness.kill_now([generator.choice(pids[:2])])
        time.sleep(generator.random() * 0.002)
    group.kill()


def main():
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    ledger = pathlib.Path(harness.perdure_binary()).parent.parent.parent / "tests/crash/ledger"
    name = f"{ROUNDS} crash rounds"
    with harness.Group("crash_rounds", [ledger, "report"], ["--period", "3ms"]) as group:
        path = group.directory / "report"
        group.command = [str(ledger), str(path)]
        try:
            group.start()
            await_report(group, path, lambda report: report[0] > 10, "start")
            resumed = 0
            for number in range(1, ROUNDS + 1):
                previous = resumed
                known = read_report(path)[0]
                durable = generator.random() < 0.7
                checkpoint = group.checkpoint() if durable else None
                if durable and checkpoint.returncode != 0:
                    raise harness.Failure("checkpoint", checkpoint.stderr.strip())
                time.sleep(generator.random() * 0.03)
                crash(group, generator)
                tell_round(path, number)
                group.start()
                _, _, resumed, balanced = await_report(group, path, lambda report: report[1] == number, f"resume {number}")
                resumed_epoch = status_of(group).get("resumed_epoch")
                if not balanced:
                    raise harness.Failure(f"round {number}", "the books do not balance")
                if durable and resumed < known:
                    raise harness.Failure(f"round {number}", f"step {resumed} came back, but {known} was durable (as epoch {checkpoint.stdout.strip()}; resumed from {resumed_epoch}; at the resume before it was {previous}): {group.errors().strip()}")
                if number % 20 == 0:
                    print(f"  {number} of {ROUNDS} rounds", flush=True)
            print(f"ok {name}")
            return 0
        except harness.Failure as failure:
            print(f"FAIL {name}: {failure} (seed {seed})")
            return 1


if __name__ == "__main__":
    harness.become_reaper()
    sys.exit(main())
