"""Runs bench/load.c under Perdure, under the floor and alone, and other programs under Perdure and alone."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import harness

READY_SECONDS = 120
# What is kept of an epoch's history costs disk.
KEPT_BYTES = 4 << 30
PARTS = ("pause_us", "stop_us", "objects_us", "scan_us", "copy_us", "resume_us")


@dataclasses.dataclass
class Context:
    """How to measure."""
    quick: bool
    build: pathlib.Path
    criu: str | None
    results: object
    say: object  # a function that shows lines to the user

    @property
    def seconds(self):
        """Length of one measurement."""
        return 1.5 if self.quick else 10

    @property
    def rounds(self):
        """How often ours, the floor and the rest take turns."""
        return 1 if self.quick else 3

    def tool(self, name):
        path = self.build / "bench" / name
        if not os.access(path, os.X_OK):
            raise harness.Failure("setup", f"{path} is missing; build it first")
        return str(path)


@dataclasses.dataclass
class LoadOptions:
    """The options of bench/load.c."""
    resident_mb: int = 64
    dirty_pages: int = 100
    period_us: int = 10_000
    fork_every_ms: int = 0
    busy_threads: int = 1
    idle_threads: int = 0
    descriptors: int = 0
    processes: int = 1
    busy_processes: int = 1
    only_reads: bool = False

    def command(self, context, seconds, directory):
        words = [context.tool("load"), "--seconds", str(seconds), "--directory", str(directory)]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not False:
                words += ["--" + field.name.replace("_", "-"), *([] if value is True else [str(value)])]
        return words

    def kept_epochs(self):
        return max(50, min(100_000, KEPT_BYTES // (max(self.dirty_pages, 1) * 4096)))


def last_json(text):
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise harness.Failure("load", f"it printed no report: {text[-300:]!r}")
    return json.loads(lines[-1])


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise harness.Failure(what, f"not within {seconds} s")
        time.sleep(0.005)


@contextlib.contextmanager
def flags_directory():
    """Where a load says that it is ready, and is told to go."""
    directory = pathlib.Path(harness.make_directory("bench-flags"))
    try:
        yield directory
    finally:
        harness.shutil.rmtree(directory, ignore_errors=True)


class AttachedGroup(harness.Group):
    """`perdure attach` of a process in place of `perdure run`."""

    def __init__(self, pid, run_options):
        super().__init__("bench", [], run_options)
        self.pid = pid

    def start(self):
        self.runs += 1
        words = [harness.perdure_binary(), "attach", str(self.pid), "--name", self.name, "--store", str(self.store), *self.run_options]
        with open(self.output_path("stdout"), "wb") as out, open(self.output_path("stderr"), "wb") as err:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


def durable_checkpoint(group):
    result = group.checkpoint(300)
    if result.returncode != 0:
        raise harness.Failure("checkpoint", result.stderr.strip()[-300:] or group.errors()[-300:])


def under_perdure(context, options, seconds=None, during=None, keep=None, may_be_idle=False):
    """The load's report, and the epochs of the time that it measured. `during(group)` is called once the measuring has begun; `keep` is how many epochs
    are kept; `may_be_idle`: no epoch at all is no failure."""
    seconds = seconds or context.seconds
    with flags_directory() as flags, harness.Group("bench", options.command(context, seconds, flags),
                                                   ["--period", f"{options.period_us}us", "--keep", str(keep or options.kept_epochs())]) as group:
        group.start()
        group.wait_for(flags / "ready", READY_SECONDS, "load")
        durable_checkpoint(group)
        (flags / "go").touch()
        if during:
            during(group)
        if group.wait_end(seconds + READY_SECONDS, "load") != 0:
            raise harness.Failure("load", group.errors().strip()[-300:])
        report = last_json(group.output_path("stdout").read_text())
        epochs = [epoch for epoch in group.log() if report["begin_ns"] <= epoch["time_ns"] <= report["end_ns"]]
    if not epochs and not may_be_idle:
        raise harness.Failure("load", "no epoch was taken while it was measured")
    return report, epochs


@dataclasses.dataclass
class FloorSample:
    time_ns: int
    same_core: bool
    stop_us: float
    scan_us: float
    copy_us: float
    pause_us: float
    dirty_pages: int


def read_floor(path):
    samples = []
    for line in path.read_text().splitlines():
        words = line.split()
        samples.append(FloorSample(int(words[0]), words[1] == "1", *map(float, words[2:6]), int(words[6])))
    return samples


def _run_load(words, flags, seconds, during=None):
    """Runs the words to their end; the load that is in them goes as soon as it is ready, and `during()` is called then."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: (flags / "ready").exists() or process.poll() is not None, READY_SECONDS, "load")
        time.sleep(0.3)  # whoever tracks it has begun
        (flags / "go").touch()
        if during:
            during()
        out, err = process.communicate(timeout=seconds + READY_SECONDS)
    finally:
        harness.kill_descendants(process.pid)
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise harness.Failure(pathlib.Path(words[0]).name, err.strip()[-300:] or harness.describe_status(process.returncode))
    return last_json(out)


def under_floor(context, options, seconds=None, first=False):
    """The load's report, and the floor's samples of the time that it measured (with `first`: the one sample)."""
    seconds = seconds or context.seconds
    with flags_directory() as flags:
        words = [context.tool("floor"), "--period-us", str(options.period_us), "--samples", str(flags / "samples"), "--directory", str(flags),
                 *(["--first"] if first else []), "--", *options.command(context, seconds, flags)]
        report = _run_load(words, flags, seconds)
        samples = read_floor(flags / "samples")
    if not first:
        samples = [sample for sample in samples if report["begin_ns"] <= sample.time_ns <= report["end_ns"]]
    if not samples:
        raise harness.Failure("floor", "it took no sample while the load was measured")
    return report, samples


def alone(context, options, seconds=None, during=None):
    """The load's report. `during()` is called once the measuring has begun."""
    seconds = seconds or context.seconds
    with flags_directory() as flags:
        return _run_load(options.command(context, seconds, flags), flags, seconds, during)


def largest(gaps, count):
    """The witness does not know which of its gaps was a pause: as many as there were pauses, the longest."""
    return sorted(gaps, reverse=True)[:count]


def complain(text):
    print(text, file=sys.stderr, flush=True)
