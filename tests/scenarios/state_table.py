#!/usr/bin/env python3
"""docs/state.md and the test programs: each row names what shows it or says that nothing does, what it names exists, and every program is named."""

import fnmatch
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

TABLE = harness.ROOT / "docs/state.md"
PROGRAMS = {path.stem for path in (harness.ROOT / "tests/programs").glob("*.c")}


def rows():
    """(what, witnesses) of each row: the first and the last cell."""
    cells = [line.strip().strip("|").split("|") for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [(row[0].strip(), row[-1].strip()) for row in cells if row[-1].strip() != "test program" and not set(row[0]) <= set("- ")]


def patterns(witnesses):
    """The names and patterns of programs in a cell."""
    return [word for word in re.split(r"[ ,;:]+", witnesses) if re.fullmatch(r"[a-z0-9]+(_[a-z0-9*]+)*_?\*?", word) and ("_" in word or word in PROGRAMS)]


def every_row_says_what_shows_it():
    silent = [what for what, witnesses in rows() if not (patterns(witnesses) or witnesses.startswith("none") or "scenarios/" in witnesses)]
    if silent:
        raise Failure("table", f"rows without a program or the word none: {'; '.join(silent)}")


def what_it_names_exists():
    unknown = [name for _, witnesses in rows() for name in patterns(witnesses) if not fnmatch.filter(PROGRAMS, name)]
    scenarios = [name for _, witnesses in rows() for name in re.findall(r"scenarios/\S+\.py", witnesses)]
    unknown += [name for name in scenarios if not (harness.ROOT / "tests" / name).exists()]
    if unknown:
        raise Failure("table", f"there is no {', '.join(unknown)}")


def every_program_is_named():
    named = {program for _, witnesses in rows() for name in patterns(witnesses) for program in fnmatch.filter(PROGRAMS, name)}
    if PROGRAMS - named:
        raise Failure("table", f"in no row: {', '.join(sorted(PROGRAMS - named))}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([every_row_says_what_shows_it, what_it_names_exists, every_program_is_named]))
