#!/usr/bin/python3
"""docs/state.md and the test programs: each row names what shows it or says that nothing does, what it names exists, every
program is named, and the programs of what is refused demand that it is."""

import fnmatch
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure

TABLE = harness.ROOT / "docs/state.md"
SOURCES = {path.stem: path for path in (harness.ROOT / "tests/programs").glob("*.c")}
PROGRAMS = set(SOURCES)
# What is refused at times, or elsewhere than at a checkpoint.
REFUSED_AT_TIMES = ("refused at the restore", "refused for as long as")


def full_rows():
    """(what, becomes, witnesses) of each row: its cells."""
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [tuple(row) for row in cells if row[-1] != "test program" and not set(row[0]) <= set("- ")]


def rows():
    """(what, witnesses) of each row."""
    return [(what, witnesses) for what, _, witnesses in full_rows()]


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


def demands_refusal(program):
    return re.search(r"^// refused:", SOURCES[program].read_text(), re.MULTILINE) is not None


def programs_agree_on_refusals():
    wrong = []
    for _, becomes, witnesses in full_rows():
        refused = becomes.startswith("refused") and not becomes.startswith(REFUSED_AT_TIMES)
        if not refused and (not becomes.startswith("saved") or "refused" in becomes):
            continue
        named = sorted({program for name in patterns(witnesses) for program in fnmatch.filter(PROGRAMS, name)})
        wrong += [f"{program} ({becomes})" for program in named if demands_refusal(program) != refused]
    if wrong:
        raise Failure("table", f"another outcome than the table says: {', '.join(wrong)}")


def every_program_is_named():
    named = {program for _, witnesses in rows() for name in patterns(witnesses) for program in fnmatch.filter(PROGRAMS, name)}
    if PROGRAMS - named:
        raise Failure("table", f"in no row: {', '.join(sorted(PROGRAMS - named))}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([every_row_says_what_shows_it, what_it_names_exists, programs_agree_on_refusals, every_program_is_named]))
