#!/usr/bin/env python3
"""A group that goes on from an epoch that is not the last one: by choice, or since the last ones are damaged. What it is later restored from is whole."""

import os
import re
import sys

from commands import expect, shelf, wait_until
import harness

# Keeps blocks of memory that depend on one another, and says so when they do not any more.
BLOCKS = """
import mmap, os, sys, time
PAGE, BLOCKS = 4096, 300
memory = mmap.mmap(-1, 2 * PAGE * BLOCKS, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def say(path, text):
    with open(path, "r+" if os.path.exists(path) else "w") as file:
        file.write(text)
count = 0
while True:
    count += 1
    place = count % BLOCKS * 2 * PAGE
    expected = max(count - BLOCKS, 0)
    for half in (place, place + PAGE):
        found = int.from_bytes(memory[half:half + 8], "little")
        if found != expected:
            say(sys.argv[2], f"at {count}: {found} in place of {expected}")
        memory[half:half + 8] = count.to_bytes(8, "little")
    say(sys.argv[1], f"{count:012}")
    time.sleep(0.002)
"""
# Writes a page that nothing else is like when a file appears, and goes on with others.
MARKER = """
import mmap, os, sys, time
memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[0] = 1
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
    with open(sys.argv[1], "r+" if os.path.exists(sys.argv[1]) else "w") as file:
        file.write("1")
memory[:] = bytes.fromhex(open(sys.argv[2]).read())
while True:
    time.sleep(0.01)
"""


def start(one, name, program, *options):
    one.groups.add(name)
    one.perdure("run", "--detach", "--name", name, "--keep", "100000", *options, "--", sys.executable, "-c", program, one.count_file, one.directory / "other")


def goes_on_from_an_older_epoch():
    for audit in ((), ("--audit",)):
        with shelf() as one:
            start(one, "back", BLOCKS)
            wait_until(lambda: one.count() > 400, "the program has written to all its blocks")
            epoch = int(one.perdure("checkpoint", "back").stdout)
            then = one.count()
            wait_until(lambda: one.count() > then + 200, "the program counts on")
            one.perdure("kill", "back")
            one.forget_count()
            one.perdure("restore", "--detach", "--keep", "100000", *audit, "back", "--at", epoch)
            wait_until(one.count, "the restored program counts")
            began = one.count()
            wait_until(lambda: one.count() > began + 20, "the restored program counts on")
            one.perdure("checkpoint", "back")
            one.perdure("kill", "back")
            # This is the epoch in question: what was written between the older one and the last one must be gone from it.
            one.forget_count()
            one.perdure("restore", "--detach", "back", *audit)
            wait_until(lambda: one.count() > began + 400, "the program has met all its blocks")
            expect(not (one.directory / "other").exists(), f"its memory is a mixture: {one.directory / 'other'}")
            one.perdure("kill", "back")
            said = (one.root / "back/output").read_text()
            expect("audit:" not in said, f"the audit found a difference: {said[-500:]}")


def falls_back_from_damage():
    with shelf() as one:
        start(one, "hurt", MARKER)
        wait_until(lambda: one.count_file.exists(), "the program runs")
        whole = int(one.perdure("checkpoint", "hurt").stdout)
        marker = os.urandom(4096)
        draft = one.directory / "draft"
        draft.write_text(marker.hex())
        draft.rename(one.directory / "other")
        segments = lambda: [path for path in (one.root / "hurt").glob("*.segment") if marker in path.read_bytes()]
        wait_until(segments, "the page is in the store")
        state = one.state("hurt")
        marked = int(one.perdure("checkpoint", "hurt").stdout)
        # Opening looks at what the very last epoch brought; this page is to be found damaged only by who reads it.
        wait_until(lambda: one.state("hurt")["epoch"] > marked + 5, "epochs follow")
        last = int(one.perdure("checkpoint", "hurt").stdout)
        harness.kill_now([state["supervisor_pid"], *state["pids"]])
        wait_until(lambda: one.state("hurt")["state"] == "crashed", "ps says that it crashed")
        for path in segments():
            contents = bytearray(path.read_bytes())
            while (at := contents.find(marker)) >= 0:
                contents[at] ^= 1
            with open(path, "r+b") as file:
                file.write(contents)
        (one.directory / "other").unlink()
        one.forget_count()
        one.fails("restore", "hurt", "--at", last, status=125, says="damaged")
        expect(one.state("hurt")["state"] == "crashed", f"after a failed restore: {one.state('hurt')}")
        start(one, "hurt", MARKER)
        wait_until(one.count, "the program goes on from before the damage")
        said = (one.root / "hurt/output").read_text()
        found = re.search(r"perdure: epoch (\d+) is damaged: .*; group 'hurt' goes on from epoch (\d+)", said)
        expect(found, f"nobody says so: {said}")
        expect(int(found[1]) >= last and whole <= int(found[2]) < last, f"{found[0]}, the whole one is {whole}, the last one {last}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([goes_on_from_an_older_epoch, falls_back_from_damage]))
