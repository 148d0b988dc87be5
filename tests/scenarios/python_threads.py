#!/usr/bin/python3
"""CPython with threads, a queue, an in-memory database and a child process, killed several times: the result is that of an undisturbed run."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

PROGRAM = r"""
import hashlib, os, queue, sqlite3, subprocess, sys, threading, time

STEPS, THREADS = int(sys.argv[2]), 6
work, done = queue.Queue(50), queue.Queue()
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("create table result (number integer primary key, digest text)")
lock = threading.Lock()
filter = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def worker():
    while (number := work.get()) is not None:
        digest = hashlib.sha256(str(number).encode())
        for _ in range(300):
            digest = hashlib.sha256(digest.digest())
        with lock:
            database.execute("insert into result values (?, ?)", (number, digest.hexdigest()))
            database.commit()
            filter.stdin.write(b"%d\n" % number)
            filter.stdin.flush()
            echoed = int(filter.stdout.readline())
        done.put((number, echoed))
        time.sleep(0.0005)

threads = [threading.Thread(target=worker) for _ in range(THREADS)]
for thread in threads:
    thread.start()
echoes = 0

def collect():
    global echoes
    for count in range(1, STEPS + 1):
        number, echoed = done.get()
        assert number == echoed, (number, echoed)
        echoes += echoed
        if count % 100 == 0:
            # Overwritten in place: a draft that is renamed would be open in some checkpoint, and gone at its restore.
            with open(sys.argv[1] + "/progress", "r+" if os.path.exists(sys.argv[1] + "/progress") else "w") as file:
                file.write(f"{count:012}")

collector = threading.Thread(target=collect)
collector.start()
for number in range(STEPS):
    work.put(number)
for _ in threads:
    work.put(None)
for thread in threads + [collector]:
    thread.join()
filter.stdin.close()
assert filter.wait() == 0
total = hashlib.sha256()
for number, digest in database.execute("select * from result order by number"):
    total.update(f"{number} {digest}".encode())
with open(sys.argv[1] + "/result", "w") as file:
    file.write(f"{echoes} {total.hexdigest()}")
"""
STEPS = 6000


def undisturbed(life):
    alone = life.scratch / "alone"
    alone.mkdir()
    subprocess.run([sys.executable, "-c", PROGRAM, str(alone), str(STEPS)], check=True, timeout=120)
    return (alone / "result").read_text()


def progress(life):
    path = life.scratch / "progress"
    return int(path.read_text() or 0) if path.exists() else 0


def python_with_threads(life):
    expected = undisturbed(life)
    life.run([sys.executable, "-c", PROGRAM, life.scratch, STEPS])
    for quarter in (1, 2, 3):
        life.wait_for(lambda quarter=quarter: progress(life) >= STEPS * quarter // 4, "progress", timeout=120)
        life.crash()
    life.expect_end()
    found = (life.scratch / "result").read_text()
    if found != expected:
        raise Failure("the end", f"the result is {found}, not {expected}")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(python_with_threads)))
