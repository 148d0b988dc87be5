#!/usr/bin/env python3
"""Measures what Perdure costs, with Redis as the program: pauses, checkpoint rates, throughput with and without, time to restore. Prints tables.

Build first; run as root on a quiet machine. docs/benchmarks.md keeps what it printed once.
"""

import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
import harness
import lifecycle

PARTS = ("pause_us", "stop_us", "objects_us", "scan_us", "copy_us", "queued_us")
PERIODS_MS = (1, 10, 100)
# The first epochs load everything, and are no picture of the rest.
WARM_UP_EPOCHS = 20


def redis_command(port):
    return [lifecycle.need("redis-server"), "--port", port, "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]


def redis(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, timeout=300, check=True).stdout.strip()


def answers(port):
    """Whether Redis replies to a PING."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def wait_for_redis(port, group=None, timeout=120):
    deadline = time.monotonic() + timeout
    while not answers(port):
        if group and group.process.poll() is not None:
            raise harness.Failure("redis", f"perdure ended with {harness.describe_status(group.process.returncode)}: {group.errors().strip()[-500:]}")
        if time.monotonic() > deadline:
            raise harness.Failure("redis", f"no answer within {timeout} s")
        time.sleep(0.001)


def load(port, seconds, clients=20):
    """SET requests for so long: requests a second and latency percentiles in ms."""
    requests = max(int(seconds * 60_000), 1000)
    text = subprocess.run(["redis-benchmark", "-p", str(port), "-t", "set", "-c", str(clients), "-n", str(requests), "-r", "100000", "-d", "100", "--csv"],
                          capture_output=True, text=True, timeout=600, check=True).stdout
    names, values = (re.findall(r'"([^"]*)"', line) for line in text.strip().splitlines()[-2:])
    row = dict(zip(names, values))
    return {name: float(row[name]) for name in ("rps", "p50_latency_ms", "p99_latency_ms", "max_latency_ms")}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def table(title, header, rows):
    print(f"\n{title}\n")
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(str(cell).rjust(width) for cell, width in zip(row, widths)) + " |", flush=True)


class Service:
    """A Redis under perdure, or without it."""

    def __init__(self, period_ms=None):
        self.port = lifecycle.free_port()
        self.group = None
        self.process = None
        if period_ms:
            self.group = harness.Group("bench", redis_command(self.port), ["--period", f"{period_ms}ms", "--keep", "100000"])
            self.group.start()
        else:
            self.process = subprocess.Popen([str(word) for word in redis_command(self.port)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for_redis(self.port, self.group)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.group:
            self.group.__exit__()
        else:
            self.process.kill()
            self.process.wait()


def pauses(seconds):
    """Pause and its parts, under load and idle, and how many checkpoints a second there were."""
    rows = []
    rates = []
    for period_ms in PERIODS_MS:
        with Service(period_ms) as service:
            load(service.port, 1)
            service.group.checkpoint()
            first = service.group.log()[-1]["epoch"]
            started = time.monotonic()
            load(service.port, seconds)
            elapsed = time.monotonic() - started
            epochs = [entry for entry in service.group.log() if entry["epoch"] > first + min(WARM_UP_EPOCHS, 2)]
            rates.append((f"{period_ms} ms", f"{1000 // period_ms}", f"{len(epochs) / elapsed:.0f}", f"{statistics.median(entry['dirty_pages'] for entry in epochs):.0f}",
                          f"{sum(entry['stored_bytes'] for entry in epochs) / elapsed / 1e6:.1f}"))
            for name, values in [(part, [entry[part] for entry in epochs]) for part in PARTS]:
                rows.append((f"{period_ms} ms", name, *(f"{value:.0f}" for value in (statistics.median(values), percentile(values, 0.99), max(values)))))
    table("Pause and its parts, Redis under SET load (us)", ("period", "part", "median", "99 %", "max"), rows)
    table("Checkpoints under SET load", ("period", "asked /s", "taken /s", "dirty pages (median)", "written MB/s"), rates)


def throughput(seconds, rounds):
    """Side by side: each round measures without and with every period, so that a change of the machine's load meets all alike."""
    results = {}
    for _ in range(rounds):
        for period_ms in (None, *PERIODS_MS):
            with Service(period_ms) as service:
                load(service.port, 0.5)
                results.setdefault(period_ms, []).append(load(service.port, seconds))
    plain = statistics.median(round_["rps"] for round_ in results[None])
    rows = []
    for period_ms, found in results.items():
        middle = {name: statistics.median(round_[name] for round_ in found) for name in found[0]}
        rows.append(("without Perdure" if period_ms is None else f"{period_ms} ms", f"{middle['rps']:.0f}", f"{middle['rps'] / plain * 100:.0f} %",
                     *(f"{middle[name]:.2f}" for name in ("p50_latency_ms", "p99_latency_ms", "max_latency_ms"))))
    table(f"redis-benchmark -t set, 20 clients, median of {rounds} rounds", ("period", "SET/s", "of plain", "p50 ms", "p99 ms", "max ms"), rows)


def restores(sizes_mb, rounds):
    """From `perdure run` after kill -9 of everything until Redis answers."""
    rows = []
    for size_mb in sizes_mb:
        with Service(10) as service:
            keys = size_mb * 1000
            redis(service.port, "debug", "populate", keys, "key", 900)
            if service.group.checkpoint(300).returncode != 0:
                raise harness.Failure("checkpoint", service.group.errors()[-300:])
            times = []
            for _ in range(rounds):
                service.group.kill()
                started = time.monotonic()
                service.group.start()
                wait_for_redis(service.port, service.group)
                times.append(time.monotonic() - started)
                found = int(redis(service.port, "dbsize"))
                if found != keys:
                    raise harness.Failure("restore", f"{found} keys came back of {keys}")
                service.group.checkpoint(300)
            live = json.loads(service.group.perdure("ps", "--json").stdout)[0]["live_bytes"]
            rows.append((f"{size_mb} MB", f"{live / 1e6:.0f} MB", f"{statistics.median(times) * 1000:.0f}", f"{max(times) * 1000:.0f}"))
    table(f"Restore of a Redis, from the command until it answers (ms), {rounds} rounds", ("values", "checkpoint", "median", "max"), rows)


def machine():
    cpu = next(line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    print(f"{cpu}, {os.cpu_count()} CPUs, {memory_mb} MB, Linux {os.uname().release}, load average {os.getloadavg()[0]:.1f} at the start")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement under load (about)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes-mb", type=int, nargs="+", default=[10, 500])
    parser.add_argument("--only", choices=("pauses", "throughput", "restores"), action="append")
    options = parser.parse_args()
    parts = options.only or ["pauses", "throughput", "restores"]
    harness.become_reaper()
    machine()
    try:
        if "pauses" in parts:
            pauses(options.seconds)
        if "throughput" in parts:
            throughput(options.seconds, options.rounds)
        if "restores" in parts:
            restores(options.sizes_mb, options.rounds)
    finally:
        harness.kill_descendants()
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
