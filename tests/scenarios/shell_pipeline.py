#!/usr/bin/python3
"""bash with a pipeline of six programs, killed several times in its middle: the output is that of an undisturbed run, to the byte."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

LINES = 100_000
SCRIPT = r"""
directory=$1
seq 1 $2 | while read -r number; do
  ((number % 2000 == 0)) && echo "$number" > "$directory/progress"
  echo "$((number * number % 9973)) $number"
done | tee >(cksum > "$directory/cksum") | awk '{ print $1 % 97, $2; fflush() }' | sort -n -k1,1 -k2,2 | uniq > "$directory/sorted"
while [ ! -s "$directory/cksum" ]; do sleep 0.05; done
cat "$directory/cksum" "$directory/sorted" | sha256sum > "$directory/result"
"""


def progress(directory):
    path = directory / "progress"
    text = path.read_text().strip() if path.exists() else ""
    return int(text or 0)


def bash_pipeline(life):
    alone = life.scratch / "alone"
    alone.mkdir()
    subprocess.run(["bash", "-c", SCRIPT, "pipeline", str(alone), str(LINES)], check=True, timeout=120)
    life.run(["bash", "-c", SCRIPT, "pipeline", life.scratch, LINES])
    for quarter in (1, 2, 3):
        life.wait_for(lambda quarter=quarter: progress(life.scratch) >= LINES * quarter // 4, "progress", timeout=120)
        life.crash()
    life.expect_end()
    for name in ("cksum", "sorted", "result"):
        if (life.scratch / name).read_bytes() != (alone / name).read_bytes():
            raise Failure("the end", f"the file {name} differs from that of an undisturbed run")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(bash_pipeline)))
