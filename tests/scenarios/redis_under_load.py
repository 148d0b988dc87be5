#!/usr/bin/python3
"""redis-server, killed under load and while a background save is under way: the data comes back, and the save ends well."""

import pathlib
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

KEYS = 20_000
CLIENTS = 4


class Connection:
    """A Redis client, as small as it can be."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.stream = self.socket.makefile("rwb")

    def send(self, *words):
        parts = [str(word).encode() for word in words]
        self.stream.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def receive(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise Failure("redis", text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.stream.read(int(text) + 2)[:-2].decode()
        if kind == b"*":
            return [self.receive() for _ in range(int(text))]
        return text.decode()

    def call(self, *words):
        self.send(*words)
        self.stream.flush()
        return self.receive()

    def information(self):
        return dict(line.split(":", 1) for line in self.call("INFO").splitlines() if ":" in line)


def start(life, *options):
    server = lifecycle.need("redis-server")
    port = lifecycle.free_port()
    life.run([server, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", life.scratch, *options])
    life.wait_for(lambda: lifecycle.can_connect(port), "redis starts")
    return port


def fill(port):
    connection = Connection(port)
    for first in range(0, KEYS, 1000):
        for key in range(first, first + 1000):
            connection.send("SET", f"key:{key}", value_of(key))
        connection.stream.flush()
        for _ in range(1000):
            connection.receive()


def value_of(key):
    return f"value-{key}-" + "x" * (key % 300)


def check_keys(port):
    connection = Connection(port)
    for first in range(0, KEYS, 1000):
        found = connection.call("MGET", *(f"key:{key}" for key in range(first, first + 1000)))
        for key, value in enumerate(found, first):
            if value != value_of(key):
                raise Failure("after the crash", f"key:{key} is {value!r}")


class Load:
    """Clients that each increment a counter of their own, and push to a list, until the connection ends."""

    def __init__(self, port):
        self.counters = [lifecycle.AcknowledgedCounter() for _ in range(CLIENTS)]
        self.threads = [threading.Thread(target=self.increment, args=(port, number)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def increment(self, port, number):
        counter = self.counters[number]
        try:
            connection = Connection(port)
            while True:
                connection.send("INCR", f"counter:{number}")
                connection.send("RPUSH", f"list:{number}", counter.last + 1)
                connection.stream.flush()
                counter.acknowledge(connection.receive())
                connection.receive()
        except OSError:
            return

    def check(self, port):
        for thread in self.threads:
            thread.join(30)
            if thread.is_alive():
                raise Failure("after the crash", "a client of before hangs")
        connection = Connection(port)
        for number, counter in enumerate(self.counters):
            value = int(connection.call("GET", f"counter:{number}") or 0)
            counter.check(f"counter {number}", value)
            length = connection.call("LLEN", f"list:{number}")
            if length not in (value, value - 1):  # the pair is two commands; between them is an instant like any other
                raise Failure("after the crash", f"counter {number} is {value}, but its list has {length} entries")
            if length and int(connection.call("LINDEX", f"list:{number}", -1)) != length:
                raise Failure("after the crash", f"list {number} does not end with {length}")
            connection.call("DEL", f"counter:{number}", f"list:{number}")


def redis_under_load(life):
    port = start(life)
    fill(port)
    before = Connection(port).information()
    for _ in range(3):
        life.checkpoint()  # on a busy machine the load may be done before the next epoch is
        load = Load(port)
        life.wait_for(lambda load=load: all(counter.last > 300 for counter in load.counters), "load")
        life.crash()
        life.wait_for(lambda: lifecycle.can_connect(port), "redis answers again")
        load.check(port)
    check_keys(port)
    after = Connection(port).information()
    for name in ("process_id", "run_id", "tcp_port"):
        if before[name] != after[name]:
            raise Failure("after the crash", f"{name} is {after[name]}, not {before[name]}")


def redis_while_saving(life):
    port = start(life, "--rdb-key-save-delay", "100")
    fill(port)
    connection = Connection(port)
    connection.call("BGSAVE")
    life.wait_for(lambda: connection.information()["rdb_bgsave_in_progress"] == "1" and list(life.scratch.glob("temp-*.rdb")), "the save starts")
    life.checkpoint()
    if connection.information()["rdb_bgsave_in_progress"] != "1":
        raise Failure("before the crash", "the save ended too early to be of use")
    life.crash()
    life.wait_for(lambda: lifecycle.can_connect(port), "redis answers again")
    connection = Connection(port)
    life.wait_for(lambda: connection.information()["rdb_bgsave_in_progress"] == "0", "the save ends")
    if connection.information()["rdb_last_bgsave_status"] != "ok":
        raise Failure("after the crash", "the save failed")
    check_keys(port)
    checked = subprocess.run([lifecycle.need("redis-check-rdb"), str(life.scratch / "dump.rdb")], capture_output=True, text=True, check=False)
    if checked.returncode != 0 or f"{KEYS} keys read" not in checked.stdout:
        raise Failure("after the crash", f"the saved file is damaged: {checked.stdout.strip()[-300:]}")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(redis_under_load, redis_while_saving)))
