#!/usr/bin/python3
"""What the program wrote to files outside of the store is on disk before the epoch that speaks of it, or, with --files none, left to the kernel."""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

ROUNDS = 8
# No epoch but those asked for.
PERIOD = "3600s"
# One file written to by calls, and one by a mapping.
WRITER = """
import mmap, pathlib, sys, time
directory = pathlib.Path(sys.argv[1])
kept = open(directory / "kept", "ab", buffering=0)
mapped = open(directory / "mapped", "w+b")
mapped.truncate(4096)
memory = mmap.mmap(mapped.fileno(), 4096)
done = 0
while True:
    wanted = int((directory / "wanted").read_text() or 0)
    if wanted > done:
        kept.write(b"x" * 100)
        memory[wanted] = 1
        done = wanted
        (directory / "done").write_text(str(done))
    time.sleep(0.005)
"""


class SyncLog:
    """What the supervisor wrote and synced, in its order (tests/crash/sync_log.c)."""

    def __init__(self, path):
        self.path = path
        self.read_bytes = 0

    def news(self):
        """(what, size, path) of each line since the last time."""
        with open(self.path, "rb") as file:
            file.seek(self.read_bytes)
            text = file.read()
        self.read_bytes += len(text)
        lines = [line.split(" ", 2) for line in text.decode().splitlines()]
        return [(what, int(size), pathlib.Path(path)) for what, size, path in lines]


def write_in_place(path, text):
    with open(path, "r+") as file:
        file.write(text)


def next_step(scratch, number):
    write_in_place(scratch / "wanted", str(number))
    deadline = time.monotonic() + 60
    while (scratch / "done").read_text() != str(number):
        if time.monotonic() > deadline:
            raise Failure("the program", f"it did not come to step {number}")
        time.sleep(0.003)


def check_order(events, store, file, size):
    """The file was synced with all that it holds before the first byte of the epoch went into the store."""
    first_write = next((index for index, event in enumerate(events) if event[0] == "write" and store in event[2].parents and event[2].suffix == ".segment"), None)
    if first_write is None:
        raise Failure("the log", f"no epoch was written: {events}")
    before = [event for event in events[:first_write] if event[0] == "synced" and event[2] == file and event[1] >= size]
    if not before:
        raise Failure("the log", f"{file.name} was not synced before the epoch was written: {events}")
    if not any(event[0] == "synced" and event[2] == events[first_write][2] for event in events[first_write:]):
        raise Failure("the log", f"the store was not flushed after the epoch was written: {events}")


def run_rounds(policy, judge):
    """Calls judge(events, store, scratch) for each of several checkpoints, before each of which the program writes."""
    directory = harness.make_directory("outside_files")
    scratch = harness.make_scratch(directory)
    for name in ("wanted", "done"):
        (scratch / name).write_text("0")
    log = SyncLog(pathlib.Path(directory, "log"))
    log.path.touch()
    library = pathlib.Path(harness.perdure_binary()).parent.parent.parent / "tests/crash/sync_log.so"
    environment = {**os.environ, "LD_PRELOAD": str(library), "SYNC_LOG": str(log.path)}
    command = [sys.executable, "-c", WRITER, scratch]
    with harness.Group("files", command, ["--period", PERIOD, "--files", policy], directory, environment) as group:
        group.start()
        # The first epoch, taken at the start, is on disk when a later one is.
        take_checkpoint(group)
        for number in range(1, ROUNDS + 1):
            next_step(scratch, number)
            log.news()
            take_checkpoint(group)
            judge(log.news(), group.store, scratch)


def take_checkpoint(group):
    result = group.checkpoint()
    if result.returncode != 0:
        raise Failure("checkpoint", result.stderr.strip())


def files_are_synced_before_the_epoch():
    def judge(events, store, scratch):
        for name in ("kept", "mapped"):
            check_order(events, store, scratch / name, (scratch / name).stat().st_size)
    run_rounds("sync", judge)


def files_none_syncs_nothing():
    def judge(events, store, scratch):
        if any(event[0] == "synced" and scratch in event[2].parents for event in events):
            raise Failure("the log", f"a file of the program was synced: {events}")
        if not any(event[0] == "synced" and store in event[2].parents for event in events):
            raise Failure("the log", f"the store was not flushed: {events}")
    run_rounds("none", judge)


if __name__ == "__main__":
    sys.exit(harness.run_cases([files_are_synced_before_the_epoch, files_none_syncs_nothing]))
