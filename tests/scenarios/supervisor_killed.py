#!/usr/bin/python3
"""Kills the supervisor alone at random instants, while the program forks and execs and is driven at every checkpoint: by choice the group dies with it,
or runs on unharmed."""

import os
import pathlib
import random
import signal
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

ROUNDS = int(os.environ.get("PERDURE_CRASH_ROUNDS") or (400 if os.environ.get("PERDURE_SOAK") else 10 if harness.audited() else 50))
PROGRESS_TIMEOUT_SECONDS = 30


def count_of(report):
    data = report.read_bytes() if report.exists() else b""
    return struct.unpack("<Q", data)[0] if len(data) == 8 else 0


def await_progress(report, beyond, phase):
    deadline = time.monotonic() + PROGRESS_TIMEOUT_SECONDS
    fault = pathlib.Path(f"{report}.fault")
    while count_of(report) <= beyond:
        if fault.exists():
            raise harness.Failure(phase, fault.read_text().strip())
        if time.monotonic() > deadline:
            raise harness.Failure(phase, f"no progress beyond {beyond} for {PROGRESS_TIMEOUT_SECONDS} s")
        time.sleep(0.002)


def tracers(pids):
    lines = []
    for pid in pids:
        try:
            for task in pathlib.Path("/proc", str(pid), "task").iterdir():
                lines += [line for line in (task / "status").read_text().splitlines() if line.startswith("TracerPid:") and line.split()[1] != "0"]
        except OSError:
            continue
    return lines


def kill_supervisor(choice, number):
    """One group, whose supervisor is killed at some instant. The pids of the group then."""
    survivor = pathlib.Path(harness.perdure_binary()).parent.parent.parent / "tests/crash/survivor"
    group = harness.Group(f"{choice}_{number}", [survivor, "report"], ["--period", "1ms", "--on-supervisor-exit", choice])
    report = group.directory / "report"
    group.command = [str(survivor), str(report)]
    with group:
        group.start()
        await_progress(report, 2, "start")
        time.sleep(random.random() * 0.05)
        pids = group.pids()[1:]
        os.kill(group.process.pid, signal.SIGKILL)
        group.process.wait()
        yield report, pids
        if choice == "continue":
            harness.kill_now(pids[:1])  # its init: the rest goes with it


def group_runs_on_unharmed():
    for number in range(ROUNDS):
        for report, pids in kill_supervisor("continue", number):
            await_progress(report, count_of(report) + 20, f"round {number}, after the supervisor's death")
            left = tracers(pids)
            assert not left, f"round {number}: still traced: {left}"


def group_dies_with_its_supervisor():
    for number in range(ROUNDS // 5):
        for _, pids in kill_supervisor("kill", number):
            deadline = time.monotonic() + 20
            while any(harness.is_running(pid) for pid in pids):
                harness.reap_orphans()
                assert time.monotonic() < deadline, f"round {number}: processes {[pid for pid in pids if harness.is_running(pid)]} survive their supervisor"
                time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(harness.run_cases([group_runs_on_unharmed, group_dies_with_its_supervisor]))
