#!/usr/bin/python3
"""Standard streams that whoever starts perdure has closed, as cron and daemons do: the program gets none of Perdure's own files in their place."""

import os
import subprocess
import sys

from commands import expect, shelf, wait_until
import harness

SAYS_WHAT_IT_HAS = "import os, sys; open(sys.argv[1], 'w').write(' '.join(os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)))"


def closed(one, *words):
    """Runs perdure with all three standard streams closed; returns its exit status."""
    return subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", harness.perdure_binary(), *map(str, words)], timeout=60, check=False,
                          env={**os.environ, "PERDURE_STORE": str(one.root)}).returncode


def program_of_a_caller_without_streams():
    with shelf() as one:
        expect(closed(one, "run", "--name", "bare", "--", sys.executable, "-c", SAYS_WHAT_IT_HAS, one.count_file) == 0, "it fails")
        expect(one.count_file.read_text() == "/dev/null /dev/null /dev/null", f"the program has {one.count_file.read_text()}")


def group_in_the_background_of_such_a_caller():
    with shelf() as one:
        expect(closed(one, "run", "--name", "bare", "--detach", "--", "sleep", "1000") == 0, "it fails")
        wait_until(lambda: one.state("bare")["state"] == "live", "the group lives")
        expect(closed(one, "run", "--name", "bare", "--detach", "--", "sleep", "1000") == 125, "a second supervisor does not end with an error")
        one.perdure("checkpoint", "bare")


if __name__ == "__main__":
    sys.exit(harness.run_cases([program_of_a_caller_without_streams, group_in_the_background_of_such_a_caller]))
