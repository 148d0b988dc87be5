#!/usr/bin/python3
"""A process that runs already is persisted with all that it has forked, whichever of its threads did, and comes back so."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from commands import expect, shelf, wait_until

ROLES = ("first", "child", "child_of_thread")
# Three processes count in memory; each also has a token there that no other start of the program would have. The files, which are not rolled
# back, are open throughout and overwritten in place.
FAMILY = """
import os, sys, threading, time

def count(role):
    token = os.urandom(16).hex()
    file = os.open(os.path.join(sys.argv[1], role), os.O_WRONLY | os.O_CREAT)
    number = 0
    while True:
        number += 1
        os.pwrite(file, f"{os.getpid():8} {os.getppid():8} {token} {number:12}".encode(), 0)
        time.sleep(0.005)

def fork(role):
    child = os.fork()
    if child == 0:
        count(role)
    os.waitpid(child, 0)

def fork_and_go_on(role):
    if os.fork() == 0:
        count(role)

fork_and_go_on("child")
threading.Thread(target=fork, args=["child_of_thread"]).start()
count("first")
"""


class Family:
    """The three processes, started without Perdure; ended, with the cgroup that they were gathered in, when the context is left."""

    def __init__(self, directory, group):
        self.directory = directory
        self.group = group

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", FAMILY, self.directory], stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: all(self.report(role) for role in ROLES), "all three count")
        except harness.Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kill()
        for directory in self.cgroups():
            with contextlib.suppress(OSError):
                directory.rmdir()

    def report(self, role):
        """[pid, parent's pid, token, count] as the process wrote them last; empty before the first time."""
        path = self.directory / role
        return path.read_text().split() if path.exists() else []

    def reports(self):
        return {role: self.report(role) for role in ROLES}

    def pids(self):
        return [self.process.pid, *harness.descendants(self.process.pid)] if self.process.poll() is None else []

    def blank(self):
        """Overwrites what they wrote, so that what is there later was written later."""
        for role in ROLES:
            with open(self.directory / role, "r+b") as file:
                file.write(b" " * os.path.getsize(file.name))

    def kill(self, supervisor=None):
        """SIGKILL to all at once; a supervisor first, which would otherwise see the group end."""
        pids = [*([supervisor] if supervisor else []), *self.pids()]
        harness.kill_now(pids)
        self.process.wait()
        harness.reap_orphans()
        wait_until(lambda: not any(harness.is_running(pid) for pid in pids), "they are gone")

    def cgroups_of_members(self):
        """What /proc says of the cgroup of each of the three."""
        return {role: pathlib.Path("/proc", self.report(role)[0], "cgroup").read_text() for role in ROLES}

    def cgroups(self):
        """The cgroups that supervisors of the group made."""
        mount = next(line.split()[1] for line in open("/proc/mounts", encoding="utf-8") if line.split()[2] == "cgroup2")
        return sorted(pathlib.Path(mount).glob(f"perdure.{self.group}.*"))


@contextlib.contextmanager
def attached_family():
    """A shelf, the family, and the name of the group that it was taken into."""
    name = f"family{os.getpid()}"
    with shelf() as one, Family(one.directory, name) as family:
        one.perdure("attach", "--detach", "--name", name, family.process.pid)
        try:
            yield one, family, name
        finally:
            if one.state(name)["state"] == "live":
                one.perdure("kill", name)


def every_descendant_is_taken():
    with attached_family() as (one, family, name):
        pids = {role: int(report[0]) for role, report in family.reports().items()}
        missing = [role for role in ROLES if pids[role] not in one.state(name)["pids"]]
        expect(not missing, f"not in the group: {missing}")
        one.perdure("detach", name)
        wait_until(lambda: not family.cgroups(), "the supervisor lets go of them")


def a_signal_to_the_command_detaches():
    name = f"family{os.getpid()}"
    with shelf() as one, Family(one.directory, name) as family:
        former = family.cgroups_of_members()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with subprocess.Popen([harness.perdure_binary(), "attach", "--name", name, "--store", one.root, str(family.process.pid)]) as command:
                wait_until(lambda: (one.state(name) or {}).get("durable_epoch"), "it is persisted")
                for ignored in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT, signal.SIGWINCH):
                    command.send_signal(ignored)
                one.perdure("checkpoint", name)
                command.send_signal(number)
                status = command.wait(20)
            expect(status == 0, f"{number.name} ends the command with {harness.describe_status(status)}, not 0")
            expect(family.cgroups_of_members() == former, f"after {number.name} they are in {family.cgroups_of_members()}, not in {former}")
            before = family.reports()
            wait_until(lambda: all(family.report(role)[3] != before[role][3] for role in ROLES), f"all three count on after {number.name}")
            one.perdure("rm", name)


def whole_family_is_restored():
    with attached_family() as (one, family, name):
        before = family.reports()
        one.perdure("checkpoint", name)
        family.kill(one.state(name)["supervisor_pid"])
        wait_until(lambda: one.state(name)["state"] == "crashed", "the supervisor that was killed is gone")
        family.blank()
        one.perdure("restore", "--detach", name)
        wait_until(lambda: all(family.report(role) for role in ROLES), "all three count on")
        for role, (pid, parent, token, count) in family.reports().items():
            expect((pid, token) == (before[role][0], before[role][2]), f"{role} is another than {before[role]}: {pid}, {token}")
            expect(role == "first" or parent == before["first"][0], f"{role} is a child of {parent}, not of {before['first'][0]}")
            expect(int(count) >= int(before[role][3]), f"{role} counts {count}, before the checkpoint {before[role][3]}")
            wait_until(lambda role=role, count=count: family.report(role)[3] != count, f"{role} counts on")
        expect(len(one.state(name)["pids"]) == len(ROLES), f"ps of the restored group: {one.state(name)}")


def family_outlives_its_supervisor():
    with attached_family() as (one, family, name):
        os.kill(one.state(name)["supervisor_pid"], signal.SIGKILL)
        wait_until(lambda: one.state(name)["state"] == "crashed", "the supervisor is gone")
        before = family.reports()
        wait_until(lambda: all(family.report(role)[3] != before[role][3] for role in ROLES), "all three count on")
        left = family.cgroups()
        members = [set((directory / "cgroup.procs").read_text().split()) for directory in left]
        expect(members == [{before[role][0] for role in ROLES}], f"they are not in the cgroup made for them: {members}")
        one.perdure("attach", "--detach", "--name", name, family.process.pid)
        one.perdure("detach", name)
        wait_until(lambda: family.cgroups() == left, "the next supervisor puts them back")
        family.kill()
        one.perdure("restore", "--detach", name)
        expect(not family.cgroups(), f"an empty cgroup was left: {family.cgroups()}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([every_descendant_is_taken, a_signal_to_the_command_detaches, whole_family_is_restored,
                                family_outlives_its_supervisor]))
