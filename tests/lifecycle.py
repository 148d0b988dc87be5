"""What the scenarios of tests/scenarios share: a real program under perdure that is killed while busy and comes back, at once or after a reboot."""

import functools
import json
import os
import random
import re
import signal
import socket
import sys
import time
import traceback

import harness
from harness import Failure, Skipped

PERIOD = "10ms"
AUDITED_PERIOD = "100ms"  # an audit reads everything twice
# How far behind the last acknowledged request a resumed server may be: the period, what was being written, and a busy machine.
BEHIND_LIMIT_SECONDS = 0.5


class Life:
    """One group from its first run to its last; the directory goes with it."""

    def __init__(self, reboot):
        self.reboot = reboot
        self.audited = reboot or harness.audited()
        self.name = "life"
        self.directory = harness.make_directory(self.name)
        self.scratch = harness.make_scratch(self.directory)
        self.group = None
        self.random = random.Random()

    def run(self, command, options=(), group=harness.Group, environment=None):
        """Starts the program under perdure."""
        self.group = group(self.name, command, ["--period", AUDITED_PERIOD if self.audited else PERIOD, *(["--audit"] if self.audited else []), *options], self.directory, environment)
        self.group.start()
        return self.group

    def wait_for(self, condition, what, timeout=60):
        """What `condition()` returns once that is true; Failure if the run ends first or it takes too long."""
        deadline = time.monotonic() + timeout
        while True:
            found = condition()
            if found:
                return found
            if self.group.process.poll() is not None:
                raise Failure(what, f"the run ended with {harness.describe_status(self.group.process.returncode)}: {self.group.errors().strip()[-1000:]}")
            if time.monotonic() > deadline:
                raise Failure(what, f"not within {timeout} s; {self.group.errors().strip()[-500:]}")
            time.sleep(0.005)

    def checkpoint(self):
        """Returns when what the program did so far is durable."""
        result = self.group.checkpoint()
        if result.returncode != 0:
            raise Failure("checkpoint", result.stderr.strip())

    def crash(self):
        """SIGKILL to the supervisor and the group at this instant, and the same command again (after a reboot, if this life has one)."""
        former_pids = self.group.kill()
        if self.reboot:
            harness.simulate_reboot(former_pids)
            self.reboot = False  # once is enough; later crashes find a machine like any other
        self.group.start()

    def last_words(self):
        """What the run said, if it has ended or is about to."""
        try:
            self.group.process.wait(2)
        except (AttributeError, harness.subprocess.TimeoutExpired):
            return "the run goes on"
        return f"the run ended: {self.group.errors().strip()[-1000:]}"

    def expect_end(self, timeout=120):
        """The program ends by itself, with status 0."""
        status = self.group.wait_end(timeout, "the end")
        if status != 0:
            raise Failure("the end", f"{harness.describe_status(status)}: {self.group.errors().strip()[-1000:]}")


def _perform(story, reboot):
    harness.become_reaper()
    harness.die_with_parent()
    harness.enter_private_namespaces()
    life = Life(reboot)
    try:
        story(life)
        if life.group:
            life.group.expect_no_audit_difference()
        return "ok", ""
    except Skipped as skipped:
        return "skipped", str(skipped)
    except (Failure, OSError, AssertionError) as failure:
        return "failed", f"{failure or repr(failure)}; {life.last_words()}"
    except Exception:  # pylint: disable=broad-except
        return "failed", traceback.format_exc()
    finally:
        if life.group:
            life.group.close()
        else:
            harness.shutil.rmtree(life.directory, ignore_errors=True)
        if not harness.kill_descendants():
            return "failed", "processes survive SIGKILL"


def _in_own_process(story, name, reboot):
    """A reboot changes the namespaces of the process that plays it: every life gets one of its own."""
    sys.stdout.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        with os.fdopen(writer, "w") as pipe:
            json.dump(_perform(story, reboot), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    status, why = json.loads(text) if text else ("failed", "the scenario died")
    if status == "skipped":
        raise Skipped(why)
    if status == "failed":
        raise Failure(name, why)


def both_ways(*stories):
    """For each story, a function of a Life, two cases for harness.run_cases: resumed at once, and after a simulated reboot
    with every checkpoint audited."""
    cases = []
    for story in stories:
        for reboot in (False, True):
            name = re.sub(r"\W+", "-", story.__name__.replace("_", "-"))
            case = functools.partial(_in_own_process, story, name, reboot)
            case.__name__ = story.__name__ + (", audited, after a reboot" if reboot else ", resumed at once")
            cases.append(case)
    return cases


def once(*stories):
    """The same for stories that need no reboot."""
    return [case for case in both_ways(*stories) if case.__name__.endswith("at once")]


def need(program):
    """The path of an installed program."""
    path = harness.shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skipped(f"{program} is not installed")
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def names_and_pids(supervisor):
    """{pid as the group sees it: the process's name} of everything below the supervisor that lives in the group's PID namespace."""
    found = {}
    for pid in harness.descendants(supervisor):
        try:
            status = harness.pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        ids = re.search(r"^NSpid:\s*(.*)$", status, re.MULTILINE)[1].split()
        if len(ids) > 1:
            found[int(ids[-1])] = re.search(r"^Name:\s*(.*)$", status, re.MULTILINE)[1]
    return found


class AcknowledgedCounter:
    """Remembers when each value of a counter was acknowledged, and how far behind a restored value lies."""

    def __init__(self):
        self.times = {0: time.monotonic()}
        self.last = 0

    def acknowledge(self, value):
        self.last = value
        self.times[value] = time.monotonic()

    def check(self, what, value):
        if value > self.last + 1:
            raise Failure(what, f"it is {value}, but only {self.last} was ever acknowledged")
        if value >= self.last:
            return
        behind = self.times[self.last] - self.times[value]
        if behind > BEHIND_LIMIT_SECONDS:
            raise Failure(what, f"it is {value}, {behind:.3f} s behind the last acknowledged {self.last}")
