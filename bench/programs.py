"""What real programs keep of their speed, and the ways to persistence that their users have instead."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

import harness
import lifecycle
import loads
from figures import Figure, median, quantile
from loads import LoadOptions

CLIENTS = 50
# The share of sets in Facebook's ETC mix, with which Aurora was measured.
MEMCACHED_SETS_PERCENT = 3
LATENCY_GOAL = 2
TAIL_GOAL = 5
# Of the tail: some gigabytes of disk.
TAIL_KEPT_EPOCHS = 1000
PYTHON_LOOP = """
import json, sys, time
end = time.monotonic() + float(sys.argv[1])
work = 0
table = {}
while time.monotonic() < end:
    for i in range(2000):
        table[i % 997] = [work, str(i)]
    work += 1
print(json.dumps({"rps": work / float(sys.argv[1])}))
"""


class Server:
    """A program that listens on a port, alone or under perdure. `options` are those of perdure run; None: alone."""

    def __init__(self, command, port, options=None, directory=None):
        self.port = port
        self.group = None
        if options is None:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
        else:
            self.group = harness.Group("bench", command, options)
            self.process = self.group.start()
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise

    def wait(self):
        """Until it takes connections."""
        deadline = time.monotonic() + loads.READY_SECONDS
        while not lifecycle.can_connect(self.port):
            if self.process.poll() is not None:
                raise harness.Failure("server", f"it ended with {harness.describe_status(self.process.returncode)}: {self.group.errors()[-300:] if self.group else ''}")
            if time.monotonic() > deadline:
                raise harness.Failure("server", "it takes no connections")
            time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.group:
            self.group.__exit__()
        else:
            self.process.kill()
            self.process.wait()


def run_options(period_ms):
    """Of perdure run; None for a program alone."""
    return None if period_ms is None else ["--period", f"{period_ms}ms"]


def redis_server(options=None, words=(), directory=None):
    port = lifecycle.free_port()
    persistence = words or ["--save", "", "--appendonly", "no"]
    return Server([lifecycle.need("redis-server"), "--port", port, "--enable-debug-command", "yes", *persistence], port, options, directory)


def redis(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, timeout=300, check=True).stdout.strip()


def redis_answers(port):
    """Whether Redis replies to a PING."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def client(context, protocol, port, seconds, sets_percent=100):
    """Requests of random keys by 50 connections: {"rps", "p50_latency_ms", ...}."""
    words = [context.tool("client"), protocol, str(port), str(CLIENTS), str(seconds), str(sets_percent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode != 0:
        raise harness.Failure(protocol, done.stderr.strip())
    return json.loads(done.stdout)


def warm_up_seconds(context):
    """How long sets fill the server before it is measured."""
    return 0.5 if context.quick else 5


def nothing_beside(pid):
    """What measure_...() has beside the program by default."""
    return contextlib.nullcontext()


def measure_redis(context, period_ms, words=(), beside=nothing_beside, seconds=None):
    with tempfile.TemporaryDirectory(dir=os.environ["PERDURE_TEST_DIRECTORY"]) as directory, redis_server(run_options(period_ms), words, directory) as server:
        client(context, "redis", server.port, warm_up_seconds(context))
        with beside(server.process.pid):
            return client(context, "redis", server.port, seconds or context.seconds)


def measure_memcached(context, period_ms, beside=nothing_beside):
    port = lifecycle.free_port()
    command = [lifecycle.need("memcached"), "-u", "root", "-l", "127.0.0.1", "-p", port, "-t", "4", "-m", "256"]
    with Server(command, port, run_options(period_ms)) as server:
        client(context, "memcached", port, warm_up_seconds(context))
        with beside(server.process.pid):
            return client(context, "memcached", port, context.seconds, MEMCACHED_SETS_PERCENT)


def measure_python(context, period_ms, beside=nothing_beside):
    command = [sys.executable, "-c", PYTHON_LOOP, str(context.seconds)]
    if period_ms is None:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            with beside(program.pid):
                return json.loads(program.communicate(timeout=300)[0])
    with harness.Group("bench", command, run_options(period_ms)) as group:
        group.start()
        if group.wait_end(300, "python") != 0:
            raise harness.Failure("python", group.errors()[-300:])
        return loads.last_json(group.output_path("stdout").read_text())


def measure_reader(context, period_ms):
    options = LoadOptions(dirty_pages=1000, only_reads=True)
    report = loads.alone(context, options) if period_ms is None else loads.under_perdure(context, options, may_be_idle=True)[0]
    return {"rps": report["work"] / (report["end_ns"] - report["begin_ns"]) * 1e9}


def measure_beside_idle_server(context, period_ms):
    """What programs that take every processor get done while a Redis without clients runs."""
    with redis_server(run_options(period_ms)):
        report = loads.alone(context, LoadOptions(busy_threads=os.cpu_count(), dirty_pages=1000, only_reads=True))
    return {"rps": report["work"] / (report["end_ns"] - report["begin_ns"]) * 1e9}


@contextlib.contextmanager
def bare_primitives(context, pid, steps, period_ms, pauses):
    """The floor beside a program that runs: only some of its steps, each period. `pauses` takes how long they took."""
    with loads.flags_directory() as flags:
        words = [context.tool("floor"), "--period-us", period_ms * 1000, "--samples", flags / "samples", "--pid", pid, "--steps", steps]
        floor = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            begun = floor.stdout.readline()
            yield
        finally:
            floor.terminate()
            errors = floor.communicate(timeout=60)[1]
        if not begun or floor.returncode != 0:
            raise harness.Failure("floor", errors.strip()[-300:] or harness.describe_status(floor.returncode))
        pauses += [sample.pause_us for sample in loads.read_floor(flags / "samples")]
    if not pauses:
        raise harness.Failure("floor", "it took no sample")


ABLATION_STEPS = ("stops", "protection faults", "copies")


def ablation(context, name, measurement):
    """What each part of a checkpoint costs a program: bare primitives on it, one after the other, and Perdure itself in the end."""
    period_ms = 10
    pauses = {step: [] for step in ABLATION_STEPS}
    measurements = {"alone": lambda: measurement(context, None)}
    for steps, step in enumerate(ABLATION_STEPS, 1):
        measurements[f"+ {step}"] = lambda steps=steps, step=step: measurement(context, None, beside=lambda pid: bare_primitives(context, pid, steps, period_ms, pauses[step]))
    measurements["+ the rest: perdure"] = lambda: measurement(context, period_ms)
    found = in_turns(context, name, measurements)
    context.say(name, context.results.save_pauses(f"{name}-pauses", pauses))
    rates = {which: median([one["rps"] for one in results]) for which, results in found.items()}
    notes = {f"+ {step}": f"pauses of {median(pauses[step]):.0f} us" for step in ABLATION_STEPS}
    return [Figure(f"{name}, {which}", rate, rates["alone"], "/s", "alone", note=notes.get(which, "")) for which, rate in rates.items()]


class PauseWatch(threading.Thread):
    """Reads the history of a group while it runs, of which only the newest epochs are kept. Seldom: reading it takes a processor."""

    def __init__(self, group, every_seconds):
        super().__init__(daemon=True)
        self.group, self.every_seconds = group, every_seconds
        self.over = threading.Event()
        self.pauses_us = {}

    def note(self):
        self.pauses_us |= {epoch["epoch"]: epoch["pause_us"] for epoch in self.group.log()}

    def run(self):
        while not self.over.wait(self.every_seconds):
            self.note()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        self.note()


def redis_tail(context):
    """Ten minutes of Redis under load: the tail of the pause against its median, that of the client's latency against Redis alone."""
    name, period_ms, seconds = "tail-redis-10ms", 10, 10 if context.quick else 600
    seconds_alone = min(seconds, 60)
    alone = measure_redis(context, None, seconds=seconds_alone)
    with redis_server([*run_options(period_ms), "--keep", str(TAIL_KEPT_EPOCHS)]) as server:
        client(context, "redis", server.port, warm_up_seconds(context))
        first = server.group.log()[-1]["epoch"]
        with PauseWatch(server.group, TAIL_KEPT_EPOCHS * period_ms / 1000 * 0.8) as watch:
            under = client(context, "redis", server.port, seconds)
    pauses = [pause_us for epoch, pause_us in watch.pauses_us.items() if epoch > first]
    context.say(name, context.results.save_pauses(name, {"perdure": pauses}))
    context.results.save(f"{name}-client", {"alone": alone, "perdure": under})
    return [Figure(f"{name}, p99.9 of the pause", quantile(pauses, 0.999), median(pauses), reference_name="its median", goal=TAIL_GOAL, note=f"{len(pauses)} pauses in {seconds} s"),
            Figure(f"{name}, client p99", under["p99_latency_ms"], alone["p99_latency_ms"], "ms", "alone", LATENCY_GOAL, note=f"{seconds_alone} s alone")]


def in_turns(context, name, measurements):
    """{which: results} of functions of the same names, measured in turns; every number is saved."""
    found = {which: [] for which in measurements}
    for _ in range(context.rounds):
        for which, measurement in measurements.items():
            found[which].append(measurement())
    context.results.save(name, found)
    return found


def kept(context, name, measurement, period_ms, goal, latency_goal=None):
    """Throughput under Perdure against the program alone, and the tail of the latency where the program has clients."""
    found = in_turns(context, name, {"alone": lambda: measurement(context, None), "perdure": lambda: measurement(context, period_ms)})
    middle = {which: {key: median([one[key] for one in results]) for key in results[0]} for which, results in found.items()}
    figures = [Figure(name, middle["perdure"]["rps"], middle["alone"]["rps"], "/s", "alone", goal, True)]
    if "p99_latency_ms" in middle["alone"]:
        figures.append(Figure(f"{name}, client p99", middle["perdure"]["p99_latency_ms"], middle["alone"]["p99_latency_ms"], "ms", "alone", latency_goal))
    return figures


def redis_peers(context):
    """Redis under Perdure, against Redis with persistence of its own."""
    aof = ["--save", "", "--appendonly", "yes", "--appendfsync"]
    found = in_turns(context, "peer-redis-aof", {
        "perdure, 10 ms": lambda: measure_redis(context, 10),
        "perdure, 100 ms": lambda: measure_redis(context, 100),
        "appendfsync always": lambda: measure_redis(context, None, [*aof, "always"]),
        "appendfsync everysec": lambda: measure_redis(context, None, [*aof, "everysec"]),
    })
    rates = {which: median([one["rps"] for one in results]) for which, results in found.items()}
    return [Figure(f"peer-redis-aof, {ours}", rates[ours], rates[peer], "/s", peer)
            for ours in ("perdure, 10 ms", "perdure, 100 ms") for peer in ("appendfsync always", "appendfsync everysec")]


def bgsave_peer(context):
    """The pause of a Redis of 500 MB under load, against that of the fork() of BGSAVE."""
    keys = 500_000
    ours, forks = [], []
    for _ in range(context.rounds):
        with redis_server(run_options(100)) as server:
            redis(server.port, "debug", "populate", keys, "key", 900)
            loads.durable_checkpoint(server.group)
            first = server.group.log()[-1]["epoch"]
            client(context, "redis", server.port, context.seconds)
            ours += [epoch["pause_us"] for epoch in server.group.log() if epoch["epoch"] > first]
        with tempfile.TemporaryDirectory(dir=os.environ["PERDURE_TEST_DIRECTORY"]) as directory, redis_server(directory=directory) as server:
            redis(server.port, "debug", "populate", keys, "key", 900)
            for _ in range(2 if context.quick else 10):
                redis(server.port, "bgsave")
                forks.append(float(re.search(r"latest_fork_usec:(\d+)", redis(server.port, "info", "stats"))[1]))
                loads.wait_until(lambda: "rdb_bgsave_in_progress:0" in redis(server.port, "info", "persistence"), 120, "bgsave")
    context.say("peer-bgsave-500-mb", context.results.save_pauses("peer-bgsave-500-mb", {"perdure": ours, "fork of BGSAVE": forks}))
    return [Figure("peer-bgsave-500-mb", median(ours), median(forks), reference_name="fork of BGSAVE", note="100 ms period, SET load")]


def criu_pause_us(context, options):
    """The longest gap that the witness of a load saw while CRIU dumped it."""
    with loads.flags_directory() as flags:
        images = flags / "images"
        images.mkdir()
        load = subprocess.Popen(options.command(context, 3, flags), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        try:
            loads.wait_until((flags / "ready").exists, loads.READY_SECONDS, "load")
            (flags / "go").touch()
            time.sleep(0.5)
            dump = subprocess.run([context.criu, "dump", "--tree", str(load.pid), "--images-dir", str(images), "--leave-running", "--shell-job"], capture_output=True, text=True, timeout=120)
            if dump.returncode != 0:
                raise harness.Skipped(f"criu dump failed: {(dump.stderr or dump.stdout).strip()[-200:]}")
            return max(loads.last_json(load.communicate(timeout=60)[0])["gaps_us"])
        finally:
            load.kill()
            load.wait()


def criu_peer(context):
    """One pause of a 10 MB program as its witness saw it: Perdure's median, CRIU's whole dump."""
    if not context.criu:
        raise harness.Skipped("no --criu PATH was given")
    options = LoadOptions(resident_mb=10)
    report, epochs = loads.under_perdure(context, options)
    ours = loads.largest(report["gaps_us"], len(epochs))
    peer = [criu_pause_us(context, options) for _ in range(3)]
    context.results.save_pauses("peer-criu", {"witness under perdure": ours, "witness of a criu dump": peer})
    return [Figure("peer-criu", median(ours), median(peer), reference_name="CRIU dump", note="as the program's witness saw it")]


BENCHMARKS = {
    "overhead-python-10ms": lambda context: kept(context, "overhead-python-10ms", measure_python, 10, 0.85),
    "overhead-redis-10ms": lambda context: kept(context, "overhead-redis-10ms", measure_redis, 10, 0.85, LATENCY_GOAL),
    "overhead-memcached-10ms": lambda context: kept(context, "overhead-memcached-10ms", measure_memcached, 10, 0.5),
    "overhead-memcached-100ms": lambda context: kept(context, "overhead-memcached-100ms", measure_memcached, 100, 0.95),
    "overhead-reader-10ms": lambda context: kept(context, "overhead-reader-10ms", measure_reader, 10, 0.99),
    "overhead-idle-10ms": lambda context: kept(context, "overhead-idle-10ms", measure_beside_idle_server, 10, 0.99),
    "ablation-redis": lambda context: ablation(context, "ablation-redis", measure_redis),
    "ablation-memcached": lambda context: ablation(context, "ablation-memcached", measure_memcached),
    "ablation-python": lambda context: ablation(context, "ablation-python", measure_python),
    "tail-redis-10ms": redis_tail,
    "peer-redis-aof": redis_peers,
    "peer-bgsave-500-mb": bgsave_peer,
    "peer-criu": criu_peer,
}
