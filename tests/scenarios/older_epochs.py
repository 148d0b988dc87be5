#!/usr/bin/python3
"""A group that goes on from an epoch that is not the last one: by choice, or since the last ones are damaged. What it is later restored from is whole."""

import json
import os
import re
import shutil
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


# Changes much memory.
BUSY = """
import mmap, os, sys, time
PAGE, PAGES = 4096, 256
memory = mmap.mmap(-1, PAGE * PAGES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
count = 0
while True:
    count += 1
    for page in range(PAGES):
        memory[page * PAGE:page * PAGE + 8] = count.to_bytes(8, "little")
    with open(sys.argv[1], "r+" if os.path.exists(sys.argv[1]) else "w") as file:
        file.write(f"{count:012}")
    time.sleep(0.01)
"""


# Has memory at a place that it is told, which its first life fills and ends with; its second life touches the first page alone.
TWO_LIVES = """
import ctypes, os, subprocess, sys, time
PAGE, PAGES, PLACE = 4096, 256, 0x10_0000_0000
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
assert libc.mmap(ctypes.c_void_p(PLACE), ctypes.c_size_t(PAGE * PAGES), 3, 0x100022, -1, ctypes.c_long(0)) == PLACE
memory = (ctypes.c_char * (PAGE * PAGES)).from_address(PLACE)
first_life = not os.path.exists(sys.argv[2])
memory[0] = b"x"
if first_life:
    memory[:] = b"1" * len(memory)
    children = [subprocess.Popen(["sleep", "1000"]) for _ in range(3)]
count = 0
while True:
    count += 1
    if not first_life and memory[PAGE:].strip(b"\\0"):
        os._exit(9)
    with open(sys.argv[1], "r+" if os.path.exists(sys.argv[1]) else "w") as file:
        file.write(f"{count:012}")
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


def begins_anew_with_nothing():
    """A group that has ended and is run again: what its former life held is not part of the new one's checkpoints."""
    with shelf() as one:
        start(one, "anew", TWO_LIVES)
        wait_until(lambda: one.count() > 20, "the program runs")
        one.perdure("checkpoint", "anew")
        one.perdure("kill", "anew")
        (one.directory / "other").write_text("the second life")
        one.forget_count()
        start(one, "anew", TWO_LIVES, "--audit")
        wait_until(lambda: one.count() > 20, "the program runs again")
        one.perdure("checkpoint", "anew")
        objects = json.loads(one.perdure("inspect", "anew", "--json").stdout)["objects"].values()
        expect(sum("process" in entry for entry in objects) == 1, f"processes: {[entry['process'] for entry in objects if 'process' in entry]}")
        state = one.state("anew")
        harness.kill_now([state["supervisor_pid"], *state["pids"]])
        wait_until(lambda: one.state("anew")["state"] == "crashed", "ps says that it crashed")
        one.forget_count()
        start(one, "anew", TWO_LIVES)
        wait_until(lambda: one.count() > 40, "the second life goes on, with memory of its own")


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
        found = re.search(r"perdure: epoch (\d+) is damaged: .*; group 'hurt' was resumed from epoch (\d+)", said)
        expect(found, f"nobody says so: {said}")
        expect(int(found[1]) >= last and whole <= int(found[2]) < last, f"{found[0]}, the whole one is {whole}, the last one {last}")


def segments(one, name):
    """The segments of a group's store, by their sequence."""
    found = {}
    for path in (one.root / name).glob("*.segment"):
        head = path.read_bytes()[:40]
        if head.startswith(b"PrdrSegm"):
            found[int.from_bytes(head[32:40], "little")] = path
    return found


def end_with_segments(one, name, count):
    """Runs a group that fills so many segments, and ends it."""
    start(one, name, BUSY)
    wait_until(lambda: len(segments(one, name)) >= count, "some segments are full", 60)
    one.perdure("checkpoint", name)
    one.perdure("kill", name)


def restores_though(one, name, what):
    """Verify finds the damage, and restore says it and goes on."""
    expect(re.search(what, one.perdure("verify", name, status=1).stdout), f"verify does not say {what!r}")
    one.forget_count()
    said = one.perdure("restore", "--detach", name).stderr
    expect(re.search(f"^perdure: group '{name}': .*{what}", said, re.MULTILINE), f"restore does not say {what!r}: {said}")
    wait_until(one.count, "the restored program goes on")
    output = (one.root / name / "output").read_text()
    expect(re.search(f"group '{name}' was resumed from epoch \\d+", output), f"nobody says from where: {output}")
    one.perdure("kill", name)


def missing_segments_are_told():
    with shelf() as one:
        end_with_segments(one, "newest", 4)
        for name in ("middle", "emptied"):
            shutil.copytree(one.root / "newest", one.root / name)
        expect("whole" in one.perdure("verify", "newest").stdout, "verify of a whole store")
        *_, sequence, last = sorted(segments(one, "newest"))
        newest_epoch = json.loads(one.perdure("log", "newest", "--json").stdout)[-1]["epoch"]
        segments(one, "newest")[last].unlink()
        restores_though(one, "newest", f"lost, though durable: epochs? .*{newest_epoch}: ")
        segments(one, "emptied")[last].write_bytes(b"")
        restores_though(one, "emptied", f"lost, though durable: epochs? .*{newest_epoch}: ")
        segments(one, "middle")[sequence].unlink()
        restores_though(one, "middle", f"segment {sequence} of the log is missing \\(with epochs? ")


def damage_at_the_end_is_told():
    with shelf() as one:
        end_with_segments(one, "torn", 1)
        newest_epoch = json.loads(one.perdure("log", "torn", "--json").stdout)[-1]["epoch"]
        path = segments(one, "torn")[max(segments(one, "torn"))]
        contents = bytearray(path.read_bytes().rstrip(b"\0"))
        contents[-1] ^= 1
        with open(path, "r+b") as file:
            file.write(contents)
        restores_though(one, "torn", f"lost, though durable: epoch {newest_epoch}: .*incomplete")


def properties_are_not_needed():
    with shelf() as one:
        end_with_segments(one, "words", 1)
        for name in ("state", "command"):
            (one.root / f"words/property.{name}").write_text("PrdrProp and nothing that holds")
        done = one.perdure("verify", "words", status=1).stdout
        expect("property.state: damaged" in done and "property.command: damaged" in done, f"verify does not tell: {done}")
        expect("property.state: damaged" in one.state("words")["store_error"], f"ps does not tell: {one.state('words')}")
        one.forget_count()
        said = one.perdure("restore", "--detach", "words").stderr
        expect(len(re.findall("property.*: damaged: ", said)) == 1, f"not one line: {said}")
        wait_until(one.count, "the restored program goes on")
        one.perdure("kill", "words")
        said = one.perdure("run", "--name", "words", "--", "true").stderr
        expect(re.search("property.command: damaged: the command line given now takes its place", said), f"run does not tell: {said}")
        one.fails("run", "--name", "words", "--", "false", status=125, says="another command line")


if __name__ == "__main__":
    sys.exit(harness.run_cases([goes_on_from_an_older_epoch, begins_anew_with_nothing, falls_back_from_damage, missing_segments_are_told, damage_at_the_end_is_told,
                                properties_are_not_needed]))
