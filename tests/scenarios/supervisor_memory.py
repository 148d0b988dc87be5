#!/usr/bin/python3
"""What the supervisor holds in memory: an index of less than 1 % of what its group holds, and a bounded rest."""

import pathlib
import re
import sys

from commands import expect, shelf, wait_until
import harness

RESIDENT_MB = 512
# The program itself, its libraries, the epochs in flight and the staging memory of the next one.
FIXED_MB = 96
WRITES_ALL_OVER = """
import mmap, os, random, sys, time
PAGES = int(sys.argv[2]) << 8
memory = mmap.mmap(-1, PAGES * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(PAGES):
    memory[page * 4096] = 1 + page % 255
count = 0
while True:
    for page in random.sample(range(PAGES), 100):
        memory[page * 4096 + 8] = random.randrange(256)
    count += 1
    with open(sys.argv[1], "r+" if os.path.exists(sys.argv[1]) else "w") as file:
        file.write(f"{count:012}")
    time.sleep(0.01)
"""


def anonymous_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024


def index_is_small():
    with shelf() as one:
        one.groups.add("large")
        one.perdure("run", "--detach", "--name", "large", "--", sys.executable, "-c", WRITES_ALL_OVER, one.count_file, RESIDENT_MB)
        wait_until(one.count, "the program has filled its memory", timeout=60)
        first = int(one.perdure("checkpoint", "large").stdout)
        wait_until(lambda: one.state("large")["live_bytes"] >= RESIDENT_MB << 20, "the store holds all of it")
        wait_until(lambda: one.state("large")["durable_epoch"] > first + 100, "a hundred epochs", timeout=60)
        held_mb = anonymous_mb(one.state("large")["supervisor_pid"])
        expect(held_mb < FIXED_MB + RESIDENT_MB / 100, f"the supervisor of a group of {RESIDENT_MB} MB holds {held_mb:.0f} MB")


if __name__ == "__main__":
    sys.exit(harness.run_cases([index_is_small]))
