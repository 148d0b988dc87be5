#!/usr/bin/python3
"""A store on a disk that is full: what is durable stays so, what fails is told, and all goes on by itself once there is room."""

import contextlib
import subprocess
import sys
import time

from commands import expect, shelf, wait_until
import harness
from older_epochs import BUSY


@contextlib.contextmanager
def small_disk(kind, megabytes):
    """A shelf whose store root is a small file system. The mount is in this process's own namespace: it goes whatever happens."""
    with shelf() as one:
        one.root.mkdir(mode=0o700)
        image = one.directory / "image"
        if kind == "ext4":
            with open(image, "wb") as file:
                file.truncate(megabytes << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True, stdin=subprocess.DEVNULL)
            mounted = subprocess.run(["mount", "-o", "loop", image, one.root], capture_output=True, text=True)
        else:
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", one.root], capture_output=True, text=True)
        if mounted.returncode != 0:
            raise harness.Skipped(f"no {kind} can be mounted: {mounted.stderr.strip()}")
        try:
            yield one
        finally:
            subprocess.run(["umount", "-l", one.root], check=False)


def fill(one):
    """Takes all the room there is, to the last block."""
    with open(one.root / "filler", "ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def start(one, name):
    one.perdure("run", "--detach", "--name", name, "--keep", "5", "--", sys.executable, "-c", BUSY, one.count_file)
    wait_until(lambda: one.count() > 10, "the program counts")


def fill_until_felt(one, name):
    """Fills the disk until checkpoints fail, and stay so: the store gives back space of its own meanwhile."""
    def felt():
        fill(one)
        return one.state(name)["store_error"]
    wait_until(felt, "ps says that the disk is full", 60)


def first_run_leaves_nothing():
    with small_disk("tmpfs", 1) as one:
        fill(one)
        one.fails("run", "--name", "none", "--", "true", status=125, says="No space left")
        expect(not (one.root / "none").exists(), f"it left {list((one.root / 'none').glob('*'))}")
        one.fails("rm", "none", says="no group")


def rm_removes_what_was_half_made():
    with shelf() as one:
        one.root.mkdir(mode=0o700)
        for name, files in (("empty", ()), ("locked", ("lock",)), ("half", ("lock", "store.new"))):
            (one.root / name).mkdir(mode=0o700)
            for file in files:
                (one.root / name / file).touch(mode=0o600)
            one.perdure("rm", name)
            expect(not (one.root / name).exists(), f"rm left {name}")
        (one.root / "other").mkdir()
        (one.root / "other/thesis.txt").touch()
        one.fails("rm", "other", says="no group")
        expect((one.root / "other/thesis.txt").exists(), "rm removed what is no group")


def first_runs_at_once():
    with shelf() as one:
        for attempt in range(3):
            words = [harness.perdure_binary(), "run", "--store", one.root, "--name", f"race{attempt}", "--", "sleep", "2"]
            runs = [subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(4)]
            ends = [(run.communicate()[1], run.returncode) for run in runs]
            expect(any(status == 0 for _, status in ends), f"none of them ran: {ends}")
            for said, status in ends:
                expect(status == 0 or said.startswith(f"perdure: group 'race{attempt}' is running"), f"{status}: {said}")


def goes_on_when_there_is_room_again(kind):
    with small_disk(kind, 120) as one:
        start(one, "full")
        output = one.root / "full/output"
        fill_until_felt(one, "full")
        wait_until(lambda: "group 'full': checkpoints cannot be written: " in output.read_text(), "the output says so")
        before = one.count()
        wait_until(lambda: one.count() > before + 20, "the program runs on")
        (one.root / "filler").unlink()
        wait_until(lambda: not one.state("full")["store_error"], "checkpoints are written again")
        wait_until(lambda: "group 'full': checkpoints are written again" in output.read_text(), "the output says so")
        said = output.read_text()
        expect(said.count("cannot be written") == said.count("written again") < 10, f"too many words: {said}")
        one.perdure("checkpoint", "full")
        durable = one.count()
        fill_until_felt(one, "full")
        state = one.state("full")
        harness.kill_now([state["supervisor_pid"], *state["pids"]])
        wait_until(lambda: one.state("full")["state"] == "crashed", "ps says that it crashed")
        expect("whole" in one.perdure("verify", "full").stdout, "verify")
        (one.root / "filler").unlink()
        one.forget_count()
        restored = one.perdure("restore", "--detach", "full")
        expect(len(restored.stderr.splitlines()) == 1, f"a crash is told as damage: {restored.stderr}")
        wait_until(one.count, "the restored program counts")
        expect(one.count() >= durable, f"restored at {one.count()}, though {durable} was durable")
        one.perdure("kill", "full")


def goes_on_in_memory():
    goes_on_when_there_is_room_again("tmpfs")


def goes_on_on_ext4():
    goes_on_when_there_is_room_again("ext4")


def kill_is_recorded(kind):
    with small_disk(kind, 120) as one:
        start(one, "over")
        fill_until_felt(one, "over")
        fill(one)
        began = time.monotonic()
        one.perdure("kill", "over")
        expect(time.monotonic() - began < 20, f"kill took {time.monotonic() - began:.0f} s")
        expect(one.state("over")["state"] == "ended", f"ps of a killed group: {one.state('over')}")


def kill_is_recorded_in_memory():
    kill_is_recorded("tmpfs")


def kill_is_recorded_on_ext4():
    kill_is_recorded("ext4")


if __name__ == "__main__":
    harness.enter_private_namespaces()
    sys.exit(harness.run_cases([first_run_leaves_nothing, rm_removes_what_was_half_made, first_runs_at_once, goes_on_in_memory, goes_on_on_ext4,
                                kill_is_recorded_in_memory, kill_is_recorded_on_ext4]))
