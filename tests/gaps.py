"""Known gaps: what tests/known_gaps.txt says does not work yet."""

import pathlib

_FILE = pathlib.Path(__file__).resolve().parent / "known_gaps.txt"


def read():
    """(name, mode) -> reason; the mode "*" stands for every mode."""
    gaps = {}
    for line in _FILE.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, modes, reason = line.split(None, 2)
        for mode in modes.split(","):
            gaps[name, mode] = reason
    return gaps


def reason(gaps, name, mode):
    """Why this run may fail; None where it may not."""
    return gaps.get((name, mode)) or gaps.get((name, "*"))
