#!/usr/bin/python3
"""redis-server resumed by --lazy: every key is right while its memory comes, what changes meanwhile is in the next checkpoint, and a supervisor that is
killed meanwhile has cost nothing."""

import os
import pathlib
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure
from redis_under_load import Connection, Load, start

KEYS = 100_000
BATCH = 1000


def value_of(key):
    return f"{key}-" * 100


def fill(connection):
    for first in range(0, KEYS, BATCH):
        for key in range(first, first + BATCH):
            connection.send("SET", f"big:{key}", value_of(key))
        connection.stream.flush()
        for _ in range(BATCH):
            connection.receive()


def check_big_keys(port, when):
    connection = Connection(port)
    firsts = list(range(0, KEYS, BATCH))
    for first in firsts[::-1]:
        found = connection.call("MGET", *(f"big:{key}" for key in range(first, first + BATCH)))
        for key, value in enumerate(found, first):
            if value != value_of(key):
                raise Failure(when, f"big:{key} is {value!r}")


def crash_into(life, lazy):
    """SIGKILL to all, and the same command again, lazy or not."""
    life.group.run_options = [word for word in life.group.run_options if word != "--lazy"] + (["--lazy"] if lazy else [])
    life.crash()


def answers(life, port):
    life.wait_for(lambda: lifecycle.can_connect(port), "redis answers again")


def redis_lazily_under_load(life):
    port = start(life)
    fill(Connection(port))
    for _ in range(3):
        life.checkpoint()  # on a busy machine the load may be done before the next epoch is
        load = Load(port)
        life.wait_for(lambda load=load: all(counter.last > 300 for counter in load.counters), "load")
        crash_into(life, lazy=True)
        answers(life, port)
        load.check(port)
        meanwhile = Load(port)
        check_big_keys(port, "while memory comes")
        life.checkpoint()
        crash_into(life, lazy=False)
        answers(life, port)
        meanwhile.check(port)
        check_big_keys(port, "after what followed the lazy resume")


def changes_while_memory_comes(life):
    """Keys are replaced and removed at once, by several clients, and a child is forked (BGSAVE); the next resume has all of it."""
    port = start(life)
    fill(Connection(port))
    life.checkpoint()
    crash_into(life, lazy=True)
    answers(life, port)

    def change(number):
        connection = Connection(port)
        for key in range(number, KEYS // 10, 4):
            connection.send("SET", f"big:{key}", f"new {key}") if key % 2 else connection.send("DEL", f"big:{key}")
            connection.stream.flush()
            connection.receive()

    clients = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for client in clients:
        client.start()
    Connection(port).call("BGSAVE")
    for client in clients:
        client.join()
    life.checkpoint()
    crash_into(life, lazy=False)
    answers(life, port)
    connection = Connection(port)
    for key in range(KEYS):
        connection.send("GET", f"big:{key}")
    threading.Thread(target=connection.stream.flush).start()
    for key in range(KEYS):
        expected = value_of(key) if key >= KEYS // 10 else f"new {key}" if key % 2 else None
        if (value := connection.receive()) != expected:
            raise Failure("after changes while memory came", f"big:{key} is {value!r}")


def supervisor_killed_while_memory_comes(life):
    """Nobody sees a page that is not there, and the store has lost nothing."""
    port = start(life)
    fill(Connection(port))
    life.checkpoint()
    for _ in range(3):
        crash_into(life, lazy=True)
        life.wait_for(lambda: lifecycle.can_connect(port), "redis answers again")
        os.kill(life.group.process.pid, signal.SIGKILL)
        try:
            check_big_keys(port, "after the supervisor was killed")
        except OSError:
            pass  # it died with the supervisor
    crash_into(life, lazy=False)
    answers(life, port)
    check_big_keys(port, "after the supervisor was killed while memory came")


def lazy_needs_its_supervisor(life):
    port = start(life)
    life.checkpoint()
    life.group.kill()
    life.group.run_options += ["--lazy", "--on-supervisor-exit", "continue"]
    status = life.group.start().wait(20)
    if status != 2 or "--lazy" not in life.group.errors():
        raise Failure("--lazy with --on-supervisor-exit continue", f"status {status}: {life.group.errors()[-300:]} (port {port})")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(redis_lazily_under_load) +
                               lifecycle.once(changes_while_memory_comes, supervisor_killed_while_memory_comes, lazy_needs_its_supervisor)))
