#!/usr/bin/python3
"""memcached with four threads, killed under load: what was stored is there, and what is to expire does."""

import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

ITEMS = 10_000
CLIENTS = 4


class Connection:
    """The text protocol of memcached."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=20).makefile("rwb")

    def line(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        return line[:-2].decode()

    def ask(self, text):
        self.stream.write(text.encode())
        self.stream.flush()
        return self.line()

    def store(self, key, value, expires_in=0):
        if self.ask(f"set {key} 0 {expires_in} {len(value)}\r\n{value}\r\n") != "STORED":
            raise Failure("memcached", f"{key} was not stored")

    def get(self, key):
        header = self.ask(f"get {key}\r\n")
        if header == "END":
            return None
        value = self.stream.read(int(header.split()[3]) + 2)[:-2].decode()
        self.line()
        return value

    def statistics(self):
        found = {}
        line = self.ask("stats\r\n")
        while line != "END":
            _, name, value = line.split(" ", 2)
            found[name] = value
            line = self.line()
        return found


def value_of(item):
    return f"value-{item}-" + "y" * (item % 500)


def increment(port, number, counter):
    try:
        connection = Connection(port)
        while True:
            counter.acknowledge(int(connection.ask(f"incr counter-{number} 1\r\n")))
    except OSError:
        return


def memcached_under_load(life):
    port = lifecycle.free_port()
    life.run([lifecycle.need("memcached"), "-u", "root", "-l", "127.0.0.1", "-p", port, "-t", "4", "-m", "64", "-U", "0"])
    life.wait_for(lambda: lifecycle.can_connect(port), "memcached starts")
    connection = Connection(port)
    for item in range(ITEMS):
        connection.store(f"item-{item}", value_of(item))
    before = connection.statistics()
    for _ in range(3):
        connection = Connection(port)
        counters = [lifecycle.AcknowledgedCounter() for _ in range(CLIENTS)]
        for number in range(CLIENTS):
            connection.store(f"counter-{number}", "0")
        connection.store("short-lived", "here", expires_in=3)
        stored = time.monotonic()
        life.checkpoint()
        threads = [threading.Thread(target=increment, args=(port, number, counters[number])) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        life.wait_for(lambda counters=counters: all(counter.last > 300 for counter in counters), "load")
        life.crash()
        life.wait_for(lambda: lifecycle.can_connect(port), "memcached answers again")
        for thread in threads:
            thread.join(30)
            if thread.is_alive():
                raise Failure("after the crash", "a client of before hangs")
        connection = Connection(port)
        for number, counter in enumerate(counters):
            counter.check(f"counter {number}", int(connection.get(f"counter-{number}")))
        if time.monotonic() - stored < 1.5 and connection.get("short-lived") != "here":
            raise Failure("after the crash", "an item expired too early")
        life.wait_for(lambda connection=connection: connection.get("short-lived") is None, "an item expires", timeout=15)
    for item in range(ITEMS):
        if connection.get(f"item-{item}") != value_of(item):
            raise Failure("after the crash", f"item-{item} differs")
    after = connection.statistics()
    for name in ("pid", "threads", "version"):
        if before[name] != after[name]:
            raise Failure("after the crash", f"{name} is {after[name]}, not {before[name]}")
    if int(after["uptime"]) < int(before["uptime"]):
        raise Failure("after the crash", f"the uptime went back from {before['uptime']} s to {after['uptime']} s")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(memcached_under_load)))
