#!/usr/bin/python3
"""The test harness itself: whatever a test leaves behind is found and killed, and nothing else is."""

import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness


def orphans_in_their_own_session_are_killed():
    script = "setsid sh -c 'trap \"\" TERM HUP; sleep 100 & sleep 100 & wait' & echo $!"
    subprocess.run(["sh", "-c", script], stdout=subprocess.DEVNULL, check=True)
    time.sleep(0.1)
    assert len(harness.descendants(harness.os.getpid())) >= 2, "the orphans did not come to the harness"
    assert harness.kill_descendants(), "they survived"
    assert harness.descendants(harness.os.getpid()) == []


def processes_to_keep_are_kept():
    kept = subprocess.Popen(["sleep", "100"])
    other = subprocess.Popen(["sleep", "100"])
    assert harness.kill_descendants(keep=[kept.pid])
    assert harness.is_running(kept.pid) and not harness.is_running(other.pid)
    kept.kill()
    kept.wait()


if __name__ == "__main__":
    sys.exit(harness.run_cases([orphans_in_their_own_session_are_killed, processes_to_keep_are_kept]))
