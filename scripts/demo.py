#!/usr/bin/python3
"""The demo: a stock redis-server under perdure, killed without warning ten times together with its supervisor, and each time the same again.

A real client (redis-cli) loads data and keeps a counter going. At a random instant the supervisor and every process of the group get SIGKILL; then the
same `perdure run` command is given again, and Redis must be the same process tree in the same state.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

import build
import harness
from harness import Failure

PERIOD_MS = 10
KEYS = 100_000
KEYS_PER_REQUEST = 500
COUNTER_INTERVAL_SECONDS = 0.0005
# How far behind the last acknowledged value the counter may be: the epoch under way, the one being written, and the time that writing takes; a
# virtual disk stalls for tens of milliseconds now and then.
BEHIND_LIMIT_MS = 10 * PERIOD_MS


class Redis:
    """The server's port, talked to by redis-cli; raw pings only where a process start would spoil the time measured."""

    def __init__(self, port):
        self.port = port

    def command(self, *words, **options):
        return ["redis-cli", "-p", str(self.port), *words]

    def cli(self, *words, input_text=None):
        result = subprocess.run(self.command(*words), input=input_text, capture_output=True, text=True, timeout=60)
        if result.returncode != 0:
            raise Failure("redis-cli", f"{' '.join(words)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def info(self):
        return dict(re.findall(r"^(\w+):(.*?)\r?$", self.cli("info", "server"), re.MULTILINE))

    def wait_for_reply(self, group, started, timeout=60):
        """Milliseconds from `started` to the first PONG."""
        while time.monotonic() - started < timeout:
            if group.process.poll() is not None:
                raise Failure("restore", f"perdure run ended with {harness.describe_status(group.process.returncode)}: {group.errors().strip()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(100).startswith(b"+PONG"):
                        return (time.monotonic() - started) * 1000
            except OSError:
                pass
            time.sleep(0.001)
        raise Failure("restore", f"no reply from Redis for {timeout} s")

    def load(self):
        """Mass insertion by redis-cli --pipe."""
        lines = []
        for key in range(KEYS):
            value = f"value-{key}-" + "x" * (key % 200)
            lines.append(f"*3\r\n$3\r\nSET\r\n${len(f'key:{key}')}\r\nkey:{key}\r\n${len(value)}\r\n{value}\r\n")
        said = self.cli("--pipe", input_text="".join(lines))
        if f"errors: 0, replies: {KEYS}" not in said:
            raise Failure("loading", said)

    def contents(self):
        """Every value, as redis-cli prints it."""
        requests = ("mget " + " ".join(f"key:{key}" for key in range(first, first + KEYS_PER_REQUEST)) for first in range(0, KEYS, KEYS_PER_REQUEST))
        return self.cli(input_text="\n".join(requests) + "\n")


class Counter:
    """redis-cli that increments a counter all the time; remembers when each value was acknowledged."""

    def __init__(self, redis):
        self.acknowledged = {}
        self.last = 0
        self.process = subprocess.Popen(redis.command("-r", "-1", "-i", str(COUNTER_INTERVAL_SECONDS), "incr", "counter"),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            text = line.strip()
            if text.isdigit():
                self.last = int(text)
                self.acknowledged[self.last] = time.monotonic()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()

    def behind(self, value):
        """By how many increments and by how many milliseconds `value` lags behind the last acknowledged one."""
        if value >= self.last:
            return self.last - value, 0.0
        known = self.acknowledged.get(value)
        if known is None:
            raise Failure("counter", f"it is {value}, which was never acknowledged; the last was {self.last}")
        return self.last - value, (self.acknowledged[self.last] - known) * 1000


def tree_inside(supervisor):
    """The group as seen inside: for each process its pid, its parent's pid, and the ids and names of its threads. Ids are those of the innermost namespace."""
    tree = {}
    inner = {}
    for pid in harness.descendants(supervisor):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            threads = []
            for task in os.listdir(f"/proc/{pid}/task"):
                text = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
                threads.append((int(re.search(r"^NSpid:.*?(\d+)$", text, re.MULTILINE)[1]), re.search(r"^Name:\t(.*)$", text, re.MULTILINE)[1]))
        except OSError:
            continue
        ids = re.search(r"^NSpid:(.*)$", status, re.MULTILINE)[1].split()
        inner[pid] = int(ids[-1])
        if len(ids) > 1:
            tree[inner[pid]] = (inner.get(int(re.search(r"^PPid:\t(\d+)", status, re.MULTILINE)[1]), 0), tuple(sorted(threads)))
    return tree


class Statistics:
    """What `perdure log` tells, gathered while the demo runs, since history is kept for a limited number of checkpoints."""

    def __init__(self, group):
        self.group = group
        self.epochs = {}

    def gather(self):
        for entry in self.group.log():
            self.epochs[entry["epoch"]] = entry

    def values(self, field):
        return sorted(entry[field] for entry in self.epochs.values())


def percentile(values, fraction):
    return values[min(len(values) - 1, int(len(values) * fraction))] if values else 0


@dataclasses.dataclass
class Round:
    first_reply_ms: float
    behind_increments: int
    behind_ms: float
    faults: list


def busy_until_random_instant(statistics):
    end = time.monotonic() + random.uniform(1.0, 2.5)
    while time.monotonic() < end - 0.4:
        statistics.gather()
        time.sleep(0.3)
    time.sleep(max(0.0, end - time.monotonic()))


def one_round(redis, group, statistics, expected):
    """Kills everything at a random instant, resumes, compares."""
    counter = Counter(redis)
    try:
        busy_until_random_instant(statistics)
        group.kill()
    finally:
        counter.stop()
    started = time.monotonic()
    group.start()
    first_reply_ms = redis.wait_for_reply(group, started)
    value = int(redis.cli("get", "counter") or 0)
    behind_increments, behind_ms = counter.behind(value)
    info = redis.info()
    faults = [f"{field} was {expected.info[field]}, is {info.get(field)}" for field in ("run_id", "process_id") if info.get(field) != expected.info[field]]
    if tree_inside(group.process.pid) != expected.tree:
        faults.append(f"the process tree was {expected.tree}, is {tree_inside(group.process.pid)}")
    if redis.contents() != expected.contents:
        faults.append("the data differs")
    if behind_ms > BEHIND_LIMIT_MS:
        faults.append(f"the counter is {behind_ms:.0f} ms behind")
    return Round(first_reply_ms, behind_increments, behind_ms, faults)


Expected = collections.namedtuple("Expected", "info tree contents")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def print_table(statistics, rounds):
    pauses, pages, stored = (statistics.values(field) for field in ("pause_us", "dirty_pages", "stored_bytes"))
    replies = sorted(one.first_reply_ms for one in rounds)
    behind = sorted(one.behind_ms for one in rounds)
    rows = [
        ("checkpoints taken", f"{len(statistics.epochs)}"),
        ("pause, median / p99 / max", f"{percentile(pauses, 0.5) / 1000:.2f} / {percentile(pauses, 0.99) / 1000:.2f} / {percentile(pauses, 1) / 1000:.2f} ms"),
        ("dirty pages per epoch, median / max", f"{percentile(pages, 0.5)} / {percentile(pages, 1)}"),
        ("bytes stored per epoch, median / max", f"{percentile(stored, 0.5) / 1024:.0f} / {percentile(stored, 1) / 1024:.0f} KiB"),
        ("time to first reply after restore, median / max", f"{percentile(replies, 0.5):.0f} / {percentile(replies, 1):.0f} ms"),
        ("counter behind last acknowledged, median / max", f"{percentile(behind, 0.5):.1f} / {percentile(behind, 1):.1f} ms"),
    ]
    print()
    for name, value in rows:
        print(f"  {name:50} {value}")
    print()


def run_demo(group, redis, repetitions):
    statistics = Statistics(group)
    print(f"starting  perdure run --name {group.name} --period {PERIOD_MS}ms -- {shlex.join(group.command)}", flush=True)
    group.start()
    redis.wait_for_reply(group, time.monotonic())
    redis.load()
    expected = Expected(redis.info(), tree_inside(group.process.pid), redis.contents())
    main_process = expected.info["process_id"]
    print(f"loaded {KEYS} keys; pid inside {main_process}, run_id {expected.info['run_id'][:12]}..., {sum(len(t) for _, t in expected.tree.values())} threads", flush=True)
    rounds = []
    for number in range(1, repetitions + 1):
        one = one_round(redis, group, statistics, expected)
        rounds.append(one)
        verdict = "same process tree, same data" if not one.faults else "; ".join(one.faults)
        print(f"[{number:2}/{repetitions}] killed and resumed: first reply after {one.first_reply_ms:.0f} ms, counter {one.behind_increments} "
              f"({one.behind_ms:.1f} ms) behind the last acknowledged; {verdict}", flush=True)
    statistics.gather()
    print_table(statistics, rounds)
    return [fault for one in rounds for fault in one.faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="how often everything is killed (10)")
    parser.add_argument("--no-build", action="store_true", help="use what is built already")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    harness.become_reaper()
    try:
        if not options.no_build:
            build.build(targets=["src/cli/all"], what="perdure")
        started = time.monotonic()
        redis = Redis(free_port())
        directory = pathlib.Path(harness.make_directory("demo"))
        command = ["redis-server", "--port", redis.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory]
        with harness.Group("demo", command, ["--period", f"{PERIOD_MS}ms"], directory) as group:
            try:
                faults = run_demo(group, redis, options.rounds)
            except (Failure, OSError, subprocess.SubprocessError) as error:
                faults = [str(error), *group.errors().splitlines()[-5:]]
    except build.BuildFailed as failed:
        faults = [f"the build of {failed}"]
    finally:
        harness.kill_descendants()
    if faults:
        print("\n".join(f"fault: {fault}" for fault in faults))
        print(f"VERDICT: FAILED, {len(faults)} faults")
        return 1
    print(f"VERDICT: Redis survived {options.rounds} kill -9 of itself and its supervisor as the same process tree in the same state "
          f"({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
