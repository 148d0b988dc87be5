#!/usr/bin/python3
"""What is attached to is taken as a whole, whatever its threads do at that moment; what cannot be attached to is refused before anything is made."""

import contextlib
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from commands import expect, shelf, wait_until

# Each child is forked by a thread that ends at once, so that the kernel hands it to another; until there are enough.
HANDED_ON = """
import os, sys, threading, time

def fork():
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000"])

for number in range(40):
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    print(number, flush=True)
    time.sleep(0.02)
print("done", flush=True)
time.sleep(1000)
"""


def cgroup_mount():
    return pathlib.Path(next(line.split()[1] for line in open("/proc/mounts", encoding="utf-8") if line.split()[2] == "cgroup2"))


def cgroup_of(pid):
    """The path of a process's cgroup below the mount."""
    return next(line[3:] for line in pathlib.Path("/proc", str(pid), "cgroup").read_text().splitlines() if line.startswith("0::"))


@contextlib.contextmanager
def program(*words, **options):
    """A process of ours, ended with all below it when the context is left."""
    with subprocess.Popen([*map(str, words)], **{"stdin": subprocess.DEVNULL, **options}) as process:
        try:
            yield process
        finally:
            harness.kill_now([process.pid, *harness.descendants(process.pid)])
            process.wait()
            harness.reap_orphans()


def children_handed_from_thread_to_thread_are_taken():
    name = f"handed{os.getpid()}"
    with shelf() as one, program(sys.executable, "-c", HANDED_ON, stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        one.perdure("attach", "--detach", "--name", name, parent.pid)
        while parent.stdout.readline() != "done\n":
            pass
        outside = [pid for pid in harness.descendants(parent.pid) if not cgroup_of(pid).startswith(f"/perdure.{name}.")]
        expect(not outside, f"not in the group's cgroup: {outside}")
        one.perdure("detach", name)
        wait_until(lambda: not list(cgroup_mount().glob(f"perdure.{name}.*")), "the supervisor lets go of them")


def a_group_that_could_not_be_gathered_is_not_left():
    with shelf() as one, program("sleep", "1000") as process:
        for options in ((), ("--detach",)):
            words = [harness.perdure_binary(), "attach", "--store", one.root, "--name", "without", *options, process.pid]
            done = subprocess.run(["unshare", "--mount", "sh", "-c", 'umount -l -a -t cgroup2 && exec "$@"', "sh", *map(str, words)],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
            expect(done.returncode == 125 and "cgroup version 2 is not mounted" in done.stderr, f"{done.returncode}: {done.stderr}")
            expect(one.state("without") is None and not (one.root / "without").exists(), "a group was left")


def a_group_without_a_checkpoint_is_not_one_to_resume():
    name = f"none{os.getpid()}"
    # A packet socket cannot be persisted.
    holder = "import socket, time; held = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); time.sleep(1000)"
    with shelf() as one, program(sys.executable, "-c", holder) as process:
        wait_until(lambda: any("socket:" in os.readlink(path) for path in pathlib.Path("/proc", str(process.pid), "fd").iterdir()), "the socket")
        words = (harness.perdure_binary(), "attach", "--store", one.root, "--name", name, process.pid)
        with program(*words, stderr=subprocess.DEVNULL):
            wait_until(lambda: (one.state(name) or {}).get("not_persisted"), "it cannot be persisted")
        expect(one.state(name)["state"] == "ended", f"ps of a group that never had a checkpoint: {one.state('none')}")
        for left in cgroup_mount().glob(f"perdure.{name}.*"):
            (cgroup_mount() / "cgroup.procs").write_text(str(process.pid))
            left.rmdir()


def refused_without_a_trace(one, pid, says):
    """`attach` to `pid` fails in one line that `says` why, and leaves neither group nor cgroup."""
    name = f"refused{os.getpid()}"
    one.fails("attach", "--name", name, pid, status=125, says=says)
    expect(one.state(name) is None and not (one.root / name).exists(), f"a group was left after an attach to {pid}")
    expect(not list(cgroup_mount().glob(f"perdure.{name}.*")), f"a cgroup was left after an attach to {pid}")


def what_cannot_be_persisted_is_refused():
    with shelf() as one:
        refused_without_a_trace(one, 4194304, "there is no process 4194304")
        kernel_threads = [pid for pid, parent in harness.process_parents().items() if pid == 2 or parent == 2]
        for pid in kernel_threads[:1]:
            refused_without_a_trace(one, pid, f"process {pid} is a kernel thread")
        with program("true") as ended:
            wait_until(lambda: pathlib.Path("/proc", str(ended.pid), "stat").read_text().split()[2] == "Z", "a zombie")
            refused_without_a_trace(one, ended.pid, f"process {ended.pid} is a zombie")
        with program(sys.executable, "-c", "import threading, time; threading.Thread(target=time.sleep, args=[1000]).start()") as parent:
            tasks = pathlib.Path("/proc", str(parent.pid), "task")
            wait_until(lambda: len(list(tasks.iterdir())) == 2, "a thread")
            thread = max(int(path.name) for path in tasks.iterdir() if path.name != str(parent.pid))
            refused_without_a_trace(one, thread, f"is a thread of process {parent.pid}")


def ancestors_of_the_command_are_refused():
    with shelf() as one:
        for pid in (1, os.getpid()):
            refused_without_a_trace(one, pid, f"process {pid} is an ancestor of this command")
            one.fails("attach", "--detach", "--name", "background", pid, status=125, says=f"process {pid} is an ancestor")


def what_another_group_has_is_refused():
    name = f"first{os.getpid()}"
    with shelf() as one, program("sh", "-c", "sleep 1000; true") as parent:
        wait_until(lambda: harness.descendants(parent.pid), "the shell's child")
        child = harness.descendants(parent.pid)[0]
        one.perdure("attach", "--detach", "--name", name, child)
        refused_without_a_trace(one, child, f"process {child} belongs to group '{name}'.*perdure detach {name}")
        refused_without_a_trace(one, parent.pid, f"process {child} below process {parent.pid} belongs to group '{name}'")
        expect(one.state(name)["state"] == "live", f"ps of the group that has it: {one.state(name)}")
        one.perdure("detach", name)
        wait_until(lambda: one.state(name)["state"] == "ended", "the supervisor lets go of it")
        one.start("begun")
        for pid in one.state("begun")["pids"]:
            refused_without_a_trace(one, pid, f"process {pid} belongs to group 'begun'")
        one.perdure("kill", "begun")


def where_the_former_cgroup_is_gone_they_go_to_the_root():
    former, name = f"former{os.getpid()}", f"later{os.getpid()}"
    with shelf() as one, program("sleep", "1000") as process:
        one.perdure("attach", "--detach", "--name", former, process.pid)
        harness.kill_now([one.state(former)["supervisor_pid"]])
        wait_until(lambda: one.state(former)["state"] == "crashed", "its supervisor is gone")
        one.perdure("attach", "--detach", "--name", name, process.pid)
        for left in cgroup_mount().glob(f"perdure.{former}.*"):
            left.rmdir()
        one.perdure("detach", name)
        wait_until(lambda: cgroup_of(process.pid) == "/", "it is in the root cgroup")
        wait_until(lambda: not list(cgroup_mount().glob(f"perdure.{name}.*")), "the cgroup is removed")


if __name__ == "__main__":
    sys.exit(harness.run_cases([children_handed_from_thread_to_thread_are_taken, what_cannot_be_persisted_is_refused,
                                ancestors_of_the_command_are_refused, a_group_that_could_not_be_gathered_is_not_left,
                                a_group_without_a_checkpoint_is_not_one_to_resume, what_another_group_has_is_refused,
                                where_the_former_cgroup_is_gone_they_go_to_the_root]))
