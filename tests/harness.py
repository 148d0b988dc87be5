"""Runs perdure for tests: starting, checkpointing, killing without warning, simulated reboots, and leaving nothing behind.

Used by run_programs.py, by the scripts in scenarios/ and by the demo. A user of it calls become_reaper() first; from then on every process that
its children leave behind becomes its own child, so that kill_descendants() finds all of them, and nothing that it did not start.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWIPC = 0x08000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
MNT_DETACH = 2

ROOT = pathlib.Path(__file__).resolve().parent.parent
libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A test went wrong; the text says how, in one line if possible."""

    def __init__(self, phase, text):
        super().__init__(f"{phase}: {text}")
        self.phase = phase


class Skipped(Exception):
    """The machine lacks what the test needs."""


# What an audit says when it finds a difference.
AUDIT_DIFFERENCE = "perdure: audit: "
VIOLATION = re.compile(AUDIT_DIFFERENCE + "|differs from what the group was|a newer one is damaged|cases differ in their results|"
                       "started anew instead of being resumed|ended with signal SIG(SEGV|BUS|ILL|FPE|ABRT)")


def shows_violation(text):
    """Whether what a test said tells of a broken promise: no busy machine excuses that, and seeing it once is enough."""
    return VIOLATION.search(text) is not None


def audited():
    """Whether every group of this run is to be audited, whatever the test would do otherwise."""
    return os.environ.get("PERDURE_AUDIT") == "1"


def _call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def perdure_binary():
    """The perdure command: $PERDURE, or the one that was built."""
    named = os.environ.get("PERDURE")
    candidates = [pathlib.Path(named)] if named else [ROOT / "build/src/cli/perdure", ROOT / "build/perdure"]
    for path in candidates:
        if os.access(path, os.X_OK):
            return str(path)
    raise Failure("setup", "no perdure command; build it first: " + ", ".join(str(path) for path in candidates))


# Processes

def become_reaper():
    _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent():
    """SIGTERM to this process when the one that started it ends."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def process_parents():
    """{pid: parent's pid} of every process there is."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_bytes()
            except OSError:
                continue
            parents[int(entry)] = int(stat[stat.rindex(b")") + 2:].split()[1])
    return parents


def descendants(pid):
    """Every process below `pid`, parents before children; those that only wait to be reaped included."""
    children = {}
    for child, parent in process_parents().items():
        children.setdefault(parent, []).append(child)
    found = []
    level = [pid]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def kill_now(pids):
    """SIGKILL to each, in order."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def reap_orphans(known=()):
    """Collects the status of every ended child but those of `known` (pids that have a Popen of their own)."""
    for child, parent in process_parents().items():
        if parent == os.getpid() and child not in known:
            try:
                os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                pass


def kill_descendants(pid=None, timeout=20, keep=()):
    """Kills everything below `pid` (default: this process) but `keep`, and waits until it is gone; True if it is.

    `keep` are pids whose descendants stay too.
    """
    pid = pid or os.getpid()
    deadline = time.monotonic() + timeout
    while True:
        spared = set(keep)
        for kept in keep:
            spared.update(descendants(kept))
        left = [child for child in descendants(pid) if child not in spared]
        if not left:
            return True
        if time.monotonic() > deadline:
            return False
        kill_now(left)
        if pid == os.getpid():
            for child in left:
                try:
                    os.waitpid(child, os.WNOHANG)
                except ChildProcessError:
                    pass
        time.sleep(0.005)


# Namespaces

def enter_private_namespaces():
    """IPC and mount namespaces of this process's own, with an empty /dev/shm, so that nothing named can be left behind."""
    _call("unshare", CLONE_NEWNS | CLONE_NEWIPC)
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    _call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777")


def unmount_below(directory):
    """What a program has mounted there, in this process's mount namespace."""
    points = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{directory}/")]):
        _call("umount2", point.encode(), MNT_DETACH)


def drop_page_cache():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1\n")


def simulate_reboot(former_pids):
    """What a machine looks like after a reboot, for the children started from now on.

    Named memory and SysV objects are gone, the monotonic clock starts again, the page cache is cold, and the pids that the group had
    on the host belong to others (children of this process). Returns those pids.
    """
    enter_private_namespaces()
    _call("unshare", CLONE_NEWTIME)
    uptime = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    boottime = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    pathlib.Path("/proc/self/timens_offsets").write_text(f"monotonic -{max(uptime - 3, 0)} 0\nboottime -{max(boottime - 3, 0)} 0\n")
    drop_page_cache()
    taken = []
    for pid in former_pids:
        try:
            pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
            taken.append(subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL).pid)
        except OSError:
            break
    return taken


@contextlib.contextmanager
def huge_pages(count):
    """At least `count` huge pages in the machine's pool, if it can spare them; as many as before afterwards."""
    pool = pathlib.Path("/proc/sys/vm/nr_hugepages")
    before = int(pool.read_text())
    if before < count:
        pool.write_text(f"{count}\n")
    try:
        yield
    finally:
        if before < count:
            pool.write_text(f"{before}\n")


# One group

def take_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def start_process(words, terminal, **options):
    """A Popen, and the other side of the new terminal that controls it and is its standard input; None without `terminal`."""
    if not terminal:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, **options), None
    master, slave = pty.openpty()
    try:
        return subprocess.Popen(words, stdin=slave, preexec_fn=take_terminal, **options), open(master, "r+b", buffering=0)
    finally:
        os.close(slave)


class Group:
    """One `perdure run`, its store and its output, in a directory of its own that is removed at the end (use as a context manager)."""

    def __init__(self, name, command, run_options=(), directory=None, environment=None, keep_directory=False, terminal=False):
        self.name = name
        self.command = [str(word) for word in command]
        self.run_options = list(run_options)
        self.environment = environment
        self.keep_directory = keep_directory
        self.terminal = terminal
        self.terminal_master = None
        self.directory = pathlib.Path(directory or make_directory(name))
        self.store = self.directory / "store"
        self.store.mkdir(mode=0o700, exist_ok=True)
        self.process = None
        self.runs = 0

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *_):
        try:
            self.kill()
            if kind is None:
                self.expect_no_audit_difference()
        finally:
            self.remove_directory()

    def close(self):
        """Without a look at what its audits found."""
        try:
            self.kill()
        finally:
            self.remove_directory()

    def remove_directory(self):
        if not self.keep_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def expect_no_audit_difference(self):
        """A run that was killed had no status to tell of one."""
        for run in range(1, self.runs + 1):
            for line in self.errors(run).splitlines():
                if AUDIT_DIFFERENCE in line:
                    raise Failure(f"run {run}", line)

    def perdure(self, *arguments, timeout=60):
        """Another perdure command on this store: a CompletedProcess."""
        words = [perdure_binary(), arguments[0], "--store", str(self.store), *map(str, arguments[1:])]
        try:
            return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(arguments[0], f"perdure {arguments[0]} took longer than {timeout} s") from None

    def start(self):
        """Runs it, or resumes it: the command is the same."""
        self.runs += 1
        audit = ["--audit"] if audited() and "--audit" not in self.run_options else []
        words = [perdure_binary(), "run", "--name", self.name, "--store", str(self.store), *self.run_options, *audit, "--", *self.command]
        with open(self.output_path("stdout"), "wb") as out, open(self.output_path("stderr"), "wb") as err:
            self.process, self.terminal_master = start_process(words, self.terminal, stdout=out, stderr=err, env=self.environment)
        return self.process

    def output_path(self, stream, run=None):
        return self.directory / f"{stream}.{run or self.runs}"

    def errors(self, run=None):
        """What the supervisor and the program wrote to stderr."""
        path = self.output_path("stderr", run)
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, path, timeout, phase):
        """Waits until `path` exists; Failure if the run ends before. Returns the exit status of a run that ended with 77 instead."""
        deadline = time.monotonic() + timeout
        while not os.path.exists(path):
            status = self.process.poll()
            if status is not None and not os.path.exists(path):
                if status == 77:
                    raise Skipped(self.errors().strip().removeprefix("skipped: "))
                raise Failure(phase, f"perdure run ended with {describe_status(status)} too early")
            if time.monotonic() > deadline:
                raise Failure(phase, f"nothing happened for {timeout} s")
            time.sleep(0.003)

    def wait_end(self, timeout, phase):
        """The exit status of the run."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(phase, f"still running after {timeout} s") from None

    def checkpoint(self, timeout=60):
        """perdure checkpoint, once the supervisor, which may still be starting, answers."""
        deadline = time.monotonic() + timeout
        while True:
            result = self.perdure("checkpoint", self.name, timeout=timeout)
            early = "is not running" in result.stderr or "there is no group" in result.stderr
            starting = result.returncode != 0 and early and self.process.poll() is None
            if not starting or time.monotonic() > deadline:
                return result
            time.sleep(0.02)

    def pids(self):
        """The supervisor and everything below it."""
        return [self.process.pid, *descendants(self.process.pid)] if self.process and self.process.poll() is None else []

    def kill(self):
        """SIGKILL to the supervisor, then to every process of the group, as near to a crash as signals come. Returns the former pids."""
        pids = self.pids()
        # The supervisor first: one that saw its group die would rightly record that it ended.
        kill_now(pids)
        if self.process:
            self.process.wait()
        deadline = time.monotonic() + 20
        while any(is_running(pid) for pid in pids):
            reap_orphans()
            if time.monotonic() > deadline:
                raise Failure("kill", f"processes {[pid for pid in pids if is_running(pid)]} survive SIGKILL")
            time.sleep(0.002)
        return pids

    def log(self):
        """The list that `perdure log --json` prints."""
        result = self.perdure("log", self.name, "--json")
        if result.returncode != 0:
            raise Failure("log", result.stderr.strip())
        return json.loads(result.stdout)


def is_running(pid):
    """False once the process is gone, or dead and not reaped by somebody else."""
    try:
        stat = pathlib.Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return False
    return stat[stat.rindex(b")") + 2:].split()[0] not in (b"Z", b"X")


def describe_status(status):
    if status >= 0:
        return f"status {status}"
    known = {one.value: one.name for one in signal.Signals}
    return f"signal {known.get(-status, -status)}"


def make_directory(name):
    """A directory on disk (not in memory, so that a simulated reboot keeps it) that anyone may search."""
    directory = tempfile.mkdtemp(prefix=f"perdure-{name}-", dir=os.environ.get("PERDURE_TEST_DIRECTORY", "/var/tmp"))
    os.chmod(directory, 0o755)
    return directory


def make_scratch(directory):
    """A directory in it that programs of any uid may write to."""
    scratch = pathlib.Path(directory, "scratch")
    scratch.mkdir()
    os.chmod(scratch, 0o777)
    return scratch


def default_signals():
    """What starts tests in the background may have them ignore the keyboard's signals, and so every program that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup(1)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def run_cases(cases):
    """Runs the cases of a scenario, functions without arguments, each named as its function; prints "ok NAME" or "FAIL NAME: why" for each, as ./test
    expects. Returns the exit status."""
    failed = 0
    default_signals()
    become_reaper()
    for case in cases:
        name = case.__name__.replace("_", " ")
        started = time.monotonic()
        try:
            case()
            print(f"ok   {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Skipped as skipped:
            print(f"skip {name}: {skipped}", flush=True)
        except (Failure, AssertionError, OSError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL {name}: {error or type(error).__name__}", flush=True)
        finally:
            kill_descendants()
    return 1 if failed else 0
