"""What durable checkpoints cost the disk, and what comes back from them."""

import json
import os
import pathlib
import random
import socket
import subprocess
import time

import harness
import loads
import programs
from figures import Figure, median
from loads import LoadOptions

RESTORE_GOAL = 1.5
LAZY_GOAL_MS = 15
RESTORED_KEYS = 500_000
LAG_GOAL = 1.5
AMPLIFICATION_GOAL = 1.1
AMPLIFICATION_WITH_RECLAIM_GOAL = 2
KEPT_WITH_RECLAIM = 10
PAGE_BYTES = 4096


def disk(context, *words):
    """The microseconds that bench/disk prints."""
    text = subprocess.run([context.tool("disk"), *map(str, words)], capture_output=True, text=True, timeout=300, check=True).stdout
    return [float(line) for line in text.split()]


def status_of(group):
    return json.loads(group.perdure("ps", "--json").stdout)[0]


def warm_up(group):
    """Brings the store into the page cache, where checkpoints, which are written past it, are not."""
    for path in group.store.rglob("*.segment"):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


def seconds_until_answer(server):
    """From the command until Redis answers."""
    started = time.monotonic()
    server.process = server.group.start()
    while not programs.redis_answers(server.port):
        if server.process.poll() is not None or time.monotonic() > started + loads.READY_SECONDS:
            raise harness.Failure("restore", server.group.errors()[-300:] or "no answer")
        time.sleep(0.0005)
    return time.monotonic() - started


def longest_reply_us(port, seconds):
    """Of a client that asks for random keys, one after the other, for so long."""
    longest = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        end = time.monotonic() + seconds
        while (begin := time.monotonic()) < end:
            connection.sendall(f"STRLEN key:{random.randrange(RESTORED_KEYS)}\r\n".encode())
            while not connection.recv(64).endswith(b"\r\n"):
                pass
            longest = max(longest, time.monotonic() - begin)
    return longest * 1e6


def restore(context):
    """From `perdure run` after kill -9 of everything until a Redis of 500 MB answers, against filling the memory of a process with as many bytes: with the
    store on the disk, in the page cache, and there with --lazy."""
    ways = {"from the disk": [], "from the page cache": [], "lazy": []}
    longest = {way: [] for way in ways}
    with programs.redis_server(["--period", "10ms"]) as server:
        programs.redis(server.port, "debug", "populate", RESTORED_KEYS, "key", 900)
        loads.durable_checkpoint(server.group)
        eager_options = server.group.run_options
        for _ in range(2 if context.quick else 10):
            for way, times in ways.items():
                server.group.kill()
                server.group.run_options = eager_options + (["--lazy"] if way == "lazy" else [])
                if way == "from the disk":
                    harness.drop_page_cache()
                else:
                    warm_up(server.group)
                times.append(seconds_until_answer(server) * 1e6)
                longest[way].append(longest_reply_us(server.port, 1))
                found = int(programs.redis(server.port, "dbsize"))
                if found != RESTORED_KEYS:
                    raise harness.Failure("restore", f"{found} keys came back of {RESTORED_KEYS}")
                loads.durable_checkpoint(server.group)
        live_bytes = status_of(server.group)["live_bytes"]
    copies = disk(context, "copy", live_bytes, len(ways["lazy"]))
    context.say("restore-redis-500-mb", context.results.save_pauses("restore-redis-500-mb", {**ways, "copying its pages": copies}))
    copy_ms = median(copies) / 1000
    note = f"{live_bytes / 1e6:.0f} MB"
    eager = [Figure(name, median(ways[way]) / 1000, copy_ms, "ms", "copying its pages", RESTORE_GOAL, note=note)
             for name, way in (("restore-redis-500-mb", "from the disk"), ("restore-redis-500-mb-cached", "from the page cache"))]
    return [*eager, Figure("restore-redis-500-mb-lazy", median(ways["lazy"]) / 1000, LAZY_GOAL_MS, "ms", "the goal", 1, note=note),
            *(Figure(f"restore-redis-500-mb, longest reply, {way}", median(times) / 1000, unit="ms", note="in the first second") for way, times in longest.items())]


def lag(context):
    """From the end of the pause until the epoch is durable, against one raw write and flush of the same bytes on the same disk as often,
    beside the same load, in turns."""
    options = LoadOptions(dirty_pages=1000)
    ours, raw, amplification = [], [], []
    for _ in range(context.rounds):
        _, epochs = loads.under_perdure(context, options)
        ours += [epoch["durable_lag_us"] for epoch in epochs if epoch["durable_lag_us"] is not None]
        stored_bytes = [epoch["stored_bytes"] for epoch in epochs]
        amplification.append(sum(stored_bytes) / sum(epoch["dirty_pages"] * PAGE_BYTES for epoch in epochs))
        words = ("write", os.environ["PERDURE_TEST_DIRECTORY"], int(median(stored_bytes)), len(epochs), options.period_us)
        loads.alone(context, options, context.seconds + 1, during=lambda: raw.extend(disk(context, *words)))
    context.say("durability-lag", context.results.save_pauses("durability-lag", {"perdure": ours, "raw write and fdatasync": raw}))
    return [Figure("durability-lag", median(ours), median(raw), reference_name="raw write + fdatasync", goal=LAG_GOAL, note=f"{median(stored_bytes) / 1e6:.1f} MB an epoch"),
            Figure("write-amplification", median(amplification), 1, "x", "bytes of the dirty pages", AMPLIFICATION_GOAL)]


def amplification_with_reclaim(context):
    """Everything that the supervisor wrote to the disk, against the dirty pages, when old epochs are dropped all the while."""
    options = LoadOptions(dirty_pages=1000)
    written = []

    def note_written(group):
        fields = dict(line.split(": ") for line in pathlib.Path(f"/proc/{group.process.pid}/io").read_text().splitlines())
        written.append((int(fields["write_bytes"]), status_of(group)["epoch"], time.monotonic()))

    def look(group):
        note_written(group)
        time.sleep(max(seconds - 0.5, 0.5))
        note_written(group)

    seconds = context.seconds * 2
    _, epochs = loads.under_perdure(context, options, seconds, during=look, keep=KEPT_WITH_RECLAIM)
    pages = median([epoch["dirty_pages"] for epoch in epochs])
    (bytes_before, epoch_before, _), (bytes_after, epoch_after, _) = written
    changed = (epoch_after - epoch_before) * pages * PAGE_BYTES
    context.results.save("write-amplification-with-reclaim", {"written": written, "dirty_pages": pages})
    return [Figure("write-amplification-with-reclaim", (bytes_after - bytes_before) / changed, 1, "x", "bytes of the dirty pages", AMPLIFICATION_WITH_RECLAIM_GOAL,
                   note=f"--keep {KEPT_WITH_RECLAIM}")]


BENCHMARKS = {"restore-redis-500-mb": restore, "durability-lag": lag, "write-amplification-with-reclaim": amplification_with_reclaim}
