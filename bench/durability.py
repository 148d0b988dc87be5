"""What durable checkpoints cost the disk, and what comes back from them."""

import json
import os
import pathlib
import subprocess
import time

import harness
import loads
import programs
from figures import Figure, median
from loads import LoadOptions

RESTORE_GOAL = 1.5
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


def restore(context):
    """From `perdure run` after kill -9 of everything until a Redis of 500 MB answers, against filling the memory of a process with as many bytes."""
    keys = 500_000
    times = []
    with programs.redis_server(["--period", "10ms"]) as server:
        programs.redis(server.port, "debug", "populate", keys, "key", 900)
        loads.durable_checkpoint(server.group)
        for _ in range(2 if context.quick else 10):
            server.group.kill()
            started = time.monotonic()
            server.process = server.group.start()
            deadline = started + loads.READY_SECONDS
            while not programs.redis_answers(server.port):
                if server.process.poll() is not None or time.monotonic() > deadline:
                    raise harness.Failure("restore", server.group.errors()[-300:] or "no answer")
                time.sleep(0.0005)
            times.append((time.monotonic() - started) * 1e6)
            found = int(programs.redis(server.port, "dbsize"))
            if found != keys:
                raise harness.Failure("restore", f"{found} keys came back of {keys}")
            loads.durable_checkpoint(server.group)
        live_bytes = status_of(server.group)["live_bytes"]
    copies = disk(context, "copy", live_bytes, len(times))
    context.say("restore-redis-500-mb", context.results.save_pauses("restore-redis-500-mb", {"restore": times, "copying its pages": copies}))
    return [Figure("restore-redis-500-mb", median(times) / 1000, median(copies) / 1000, "ms", "copying its pages", RESTORE_GOAL, note=f"{live_bytes / 1e6:.0f} MB")]


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
