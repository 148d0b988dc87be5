#!/usr/bin/python3
"""Crowds of short-lived processes at a high checkpoint rate: an epoch that meets one of them on its way out is taken all the same."""

import functools
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

EPOCHS = 50 if harness.audited() else 200
CROWDS = {
    "sleepers": "while :; do for i in 1 2 3 4 5 6; do sleep 0.00$i & done; wait; done",
    "killed sleepers": "while :; do for i in 1 2 3 4 5; do timeout -s KILL 0.00$i sleep 9 & done; wait; done 2>/dev/null",
    "orphans": "while :; do (sleep 0.001 & sleep 0.002 & sleep 0.003 &); (:); done",
    "pipelines": "while :; do echo a | cat | cat >/dev/null; done",
}


def state(group):
    return json.loads(group.perdure("ps", "--json").stdout)[0]


def checkpoint(group):
    result = group.checkpoint()
    if result.returncode != 0:
        raise Failure("checkpoint", result.stderr.strip())


def watch(crowd):
    """Lets it run until so many epochs were taken: hardly any failed, and it comes back."""
    with harness.Group("crowd", ["bash", "-c", CROWDS[crowd]], ["--period", "1ms"]) as group:
        group.start()
        checkpoint(group)
        first = last = state(group)
        deadline = time.monotonic() + 120
        while last["epoch"] < first["epoch"] + EPOCHS:
            if time.monotonic() > deadline:
                raise Failure("epochs", f"only {last['epoch'] - first['epoch']} in 120 s: {last}")
            time.sleep(0.1)
            last = state(group)
        failed = last["failed_epochs"] - first["failed_epochs"]
        # A thread that cannot be stopped in time, since its exit or its vfork child waits for a processor, costs an epoch; a process that is gone does not.
        if failed * 4 > last["epoch"] - first["epoch"]:
            raise Failure("epochs", f"{failed} failed while {last['epoch'] - first['epoch']} were taken; the last time: {last['not_persisted']}")
        group.kill()
        group.start()
        checkpoint(group)


def case(crowd):
    made = functools.partial(watch, crowd)
    made.__name__ = crowd
    return made


if __name__ == "__main__":
    sys.exit(harness.run_cases([case(crowd) for crowd in CROWDS]))
