#!/usr/bin/python3
"""A group that sleeps costs nothing: no epoch, no byte in its store, no processor time of its supervisor; and that it wakes is noticed."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from commands import expect, shelf, wait_until

QUIET_TIMEOUT_SECONDS = 20
QUIET_SECONDS = 0.5
WATCHED_SECONDS = 3
TICKS_MAX = 2
# Were it looked at each period, that would be so often that it shows in the processor time.
PERIOD = ["--period", "1ms"]


def processor_ticks(pid):
    """User and system time of a process, all threads together, in ticks of the clock."""
    stat = pathlib.Path("/proc", str(pid), "stat").read_text()
    return sum(map(int, stat[stat.rindex(")") + 2:].split()[11:13]))


def stored_bytes(directory):
    return sum(path.stat().st_size for path in directory.rglob("*"))


class Costs:
    """What a group has cost so far."""

    def __init__(self, one, name):
        state = one.state(name)
        self.ticks = processor_ticks(state["supervisor_pid"])
        self.epoch = state["epoch"]
        self.bytes = stored_bytes(one.root / name)


def expect_no_costs(one, name):
    deadline = time.monotonic() + QUIET_TIMEOUT_SECONDS
    before = Costs(one, name)
    while True:
        time.sleep(QUIET_SECONDS)
        now = Costs(one, name)
        if (now.epoch, now.bytes) == (before.epoch, before.bytes):
            break
        expect(time.monotonic() < deadline, f"after {QUIET_TIMEOUT_SECONDS} s there still are new epochs: {now.epoch}")
        before = now
    time.sleep(WATCHED_SECONDS)
    after = Costs(one, name)
    expect(after.epoch == now.epoch, f"an idle group came from epoch {now.epoch} to {after.epoch}")
    expect(after.bytes == now.bytes, f"the store of an idle group grew from {now.bytes} to {after.bytes} bytes")
    expect(after.ticks - now.ticks <= TICKS_MAX, f"the supervisor of an idle group took {after.ticks - now.ticks} ticks in {WATCHED_SECONDS} s")
    expect(one.state(name)["idle"], f"ps of an idle group: {one.state(name)}")


@contextlib.contextmanager
def attached(name):
    """A shelf, and a process of ours that is persisted: it sleeps until something is written to its standard input."""
    with shelf() as one, subprocess.Popen("cat", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as program:
        try:
            one.perdure("attach", "--detach", "--name", name, *PERIOD, program.pid)
            yield one, program
        finally:
            if (one.state(name) or {"state": "absent"})["state"] == "live":
                one.perdure("kill", name)
            program.kill()


def idle_run_costs_nothing():
    with shelf() as one:
        one.perdure("run", "--detach", "--name", "idle", *PERIOD, "--", "sleep", "1000")
        expect_no_costs(one, "idle")


def idle_attached_group_costs_nothing():
    name = f"idle{os.getpid()}"
    with attached(name) as (one, program):
        expect_no_costs(one, name)
        epoch = one.state(name)["epoch"]
        program.stdin.write(b"wake\n")
        program.stdin.flush()
        wait_until(lambda: one.state(name)["epoch"] > epoch, "a group that woke is captured")
        expect_no_costs(one, name)


if __name__ == "__main__":
    sys.exit(harness.run_cases([idle_run_costs_nothing, idle_attached_group_costs_nothing]))
