#!/usr/bin/python3
"""What cannot be persisted is said in one line that names process, descriptor and kind; the program runs on, and is persisted again once it is gone."""

import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

# Holds a packet socket while the file "hold" exists, and counts in the file "beats" to show that it runs.
PROGRAM = r"""
import os, socket, sys, time
os.chdir(sys.argv[1])
held, beats = None, 0
while not os.path.exists("end"):
    if os.path.exists("hold") and held is None:
        held = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        os.dup2(held.fileno(), 77)
        held.close()
    if not os.path.exists("hold") and held is not None:
        os.close(77)
        held = None
    beats += 1
    # Overwritten in place: a draft that is renamed would be open in some checkpoint, and gone at its restore.
    with open("beats", "r+" if os.path.exists("beats") else "w") as file:
        file.write(f"{beats:012}")
    time.sleep(0.002)
"""


def beats(life):
    path = life.scratch / "beats"
    return int(path.read_text() or 0) if path.exists() else 0


def runs_on(life):
    start = beats(life)
    life.wait_for(lambda: beats(life) > start + 20, "the program runs on")


def newest_epoch(life):
    entries = life.group.log()
    entries = entries["epochs"] if isinstance(entries, dict) else entries
    return max((entry["epoch"] for entry in entries), default=0)


def lines_about_packets(life):
    return [line for line in life.group.errors().splitlines() if re.search("packet", line, re.IGNORECASE)]


def refused_at_first_then_persisted(life):
    (life.scratch / "hold").touch()
    life.run([sys.executable, "-c", PROGRAM, life.scratch])
    life.wait_for(lambda: lines_about_packets(life), "the message")
    line = lines_about_packets(life)[0]
    if not re.search(r"process \d+.*descriptor 77\b", line):
        raise Failure("the message", f"it does not name process and descriptor: {line}")
    runs_on(life)
    time.sleep(0.3)
    if len(lines_about_packets(life)) > 2:
        raise Failure("the message", f"it is repeated {len(lines_about_packets(life))} times")
    if life.group.checkpoint().returncode == 0:
        raise Failure("checkpoint", "it succeeds although there is something that cannot be persisted")
    (life.scratch / "hold").unlink()
    life.wait_for(lambda: life.group.checkpoint().returncode == 0, "a checkpoint once it is gone")
    life.crash()
    runs_on(life)
    (life.scratch / "end").touch()
    life.expect_end()


def refused_later_skips_checkpoints(life):
    life.run([sys.executable, "-c", PROGRAM, life.scratch])
    life.wait_for(lambda: beats(life) > 20, "the program starts")
    life.checkpoint()
    (life.scratch / "hold").touch()
    life.wait_for(lambda: lines_about_packets(life), "the message")
    before = newest_epoch(life)
    runs_on(life)
    time.sleep(0.3)
    if newest_epoch(life) != before:
        raise Failure("skipping", f"checkpoints {before + 1} to {newest_epoch(life)} were made of what cannot be persisted")
    last_beats = beats(life)
    life.crash()  # back to the last checkpoint without the socket
    life.wait_for(lambda: beats(life) != last_beats, "the program comes back")
    (life.scratch / "hold").unlink()
    life.wait_for(lambda: life.group.checkpoint().returncode == 0, "a checkpoint once it is gone")
    (life.scratch / "end").touch()
    life.expect_end()


def strict_ends_the_program(life):
    (life.scratch / "hold").touch()
    life.run([sys.executable, "-c", PROGRAM, life.scratch], ["--strict"])
    status = life.group.wait_end(30, "strict")
    if status == 0:
        raise Failure("strict", "the run ended with status 0")
    if not lines_about_packets(life):
        raise Failure("strict", f"no message: {life.group.errors().strip()[-300:]}")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.once(refused_at_first_then_persisted, refused_later_skips_checkpoints, strict_ends_the_program)))
