#!/usr/bin/python3
"""A checkpoint writes what was written to since the last, and little else, also across a restore."""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

PAGE = 4096
HEAP_PAGES = 16384
# Much memory, of which a little is written to all the time.
WRITER = f"""
import random, sys, time
heap = bytearray(random.randbytes({HEAP_PAGES * PAGE}))
print("ready", flush=True)
while True:
    heap[random.randrange(1 << 16)] ^= 1
    time.sleep(0.005)
"""


def wait_ready(group):
    deadline = time.monotonic() + 60
    while b"ready" not in group.output_path("stdout").read_bytes():
        if group.process.poll() is not None or time.monotonic() > deadline:
            raise harness.Failure("start", group.errors().strip())
        time.sleep(0.01)


def settle(group, checkpoints=3):
    for _ in range(checkpoints):
        taken = group.checkpoint()
        if taken.returncode != 0:
            raise harness.Failure("checkpoint", taken.stderr.strip())


def dirty_pages_after(group, epoch):
    return [entry["dirty_pages"] for entry in group.log() if entry["epoch"] > epoch]


def first_checkpoint_after_a_restore_is_incremental():
    with harness.Group("incremental", [sys.executable, "-c", WRITER], ["--keep", "10000"]) as group:
        group.start()
        wait_ready(group)
        settle(group)
        group.kill()
        group.start()
        settle(group)
        status = json.loads(group.perdure("ps", "--json").stdout)[0]
        assert status["resumed_epoch"] > 0, "it was not resumed"
        dirty = dirty_pages_after(group, status["resumed_epoch"])
        assert dirty, "no checkpoint after the restore"
        assert max(dirty) < HEAP_PAGES // 8, f"checkpoints after the restore have {dirty[:5]} dirty pages; the heap has {HEAP_PAGES}"
        # And what they are relative to is right.
        group.run_options.append("--audit")
        group.kill()
        group.start()
        settle(group)
        assert "audit" not in group.errors(), group.errors()


if __name__ == "__main__":
    sys.exit(harness.run_cases([first_checkpoint_after_a_restore_is_incremental]))
