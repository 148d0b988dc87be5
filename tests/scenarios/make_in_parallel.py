#!/usr/bin/python3
"""`make -j3` compiling C, killed twice in the middle of its run: it ends as if nothing had happened, and the program it built works.

Files outside the group are not rolled back: hence -pipe, since a temporary file that the compiler removes between the last checkpoint and the crash is
not there any more afterwards; and hence the link, since make takes a half-written object of after the checkpoint for one that is done. A compiler that
goes on from before it opened its output makes a new file, which takes the place of what was linked before the crash.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

FILES = 24
MAKEFILE = """
objects := $(patsubst %,unit%.o,$(shell seq 1 {files}))
program: $(objects) main.o
\t/usr/bin/gcc -pipe -o $@ $^
%.o: %.c
\t/usr/bin/gcc -pipe -O2 -c -o $@.part $< && {{ ln -f $@.part $@ 2>/dev/null || test $@.part -ef $@; }}
"""


def write_sources(directory):
    (directory / "Makefile").write_text(MAKEFILE.format(files=FILES))
    declarations, calls = [], []
    for unit in range(1, FILES + 1):
        functions = "\n".join(
            f"static int step{step}(int x) {{ for (int i = 0; i < {step} + x % 7; i++) x = x * {2 * step + 1} + i; return x % 100003; }}"
            for step in range(1, 80))
        body = " ".join(f"x += step{step}(x);" for step in range(1, 80))
        (directory / f"unit{unit}.c").write_text(f"#include <stdio.h>\n#include <stdlib.h>\n#include <math.h>\n{functions}\nint unit{unit}(int x) {{ {body} return x % 1000003 + {unit}; }}\n")
        declarations.append(f"int unit{unit}(int);")
        calls.append(f"total += (unsigned)unit{unit}(total % 1000);")
    (directory / "main.c").write_text("#include <stdio.h>\n" + "\n".join(declarations) + "\nint main(void) { unsigned total = 1; " + " ".join(calls) +
                                      ' printf("%u\\n", total); return 0; }\n')


def result_of(program):
    return subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=20).stdout


def make_in_parallel(life):
    make = lifecycle.need("make")
    alone = life.scratch / "alone"
    alone.mkdir()
    write_sources(alone)
    subprocess.run([make, "-s", "-j3", "-C", str(alone)], check=True, timeout=200)
    write_sources(life.scratch)
    life.run([make, "-j3", "-C", life.scratch])
    for part in (3, 2):
        life.wait_for(lambda part=part: len(list(life.scratch.glob("unit*.o"))) >= FILES // part, "progress", timeout=120)
        life.crash()
    life.expect_end(200)
    if result_of(life.scratch / "program") != result_of(alone / "program"):
        raise Failure("the end", "the program computes something else than one built undisturbed")
    again = subprocess.run([make, "-q", "-C", str(life.scratch)], check=False)
    if again.returncode != 0:
        raise Failure("the end", "make finds something left to do")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(make_in_parallel)))
