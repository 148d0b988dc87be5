#!/usr/bin/python3
"""nginx with two workers, killed under load: the same processes serve again, and the master still commands its workers."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

CONFIGURATION = """
user root;
worker_processes 2;
daemon off;
pid {scratch}/nginx.pid;
error_log {scratch}/error.log;
events {{ worker_connections 200; }}
http {{
  access_log {scratch}/access.log;
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy; fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
  sendfile on;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location /hello {{ return 200 "hello\\n"; }}
    location / {{ root {scratch}/files; }}
  }}
}}
"""


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
        return response.read()


def benchmark(port, path):
    """Hundreds of requests by ab, none of which may fail."""
    result = subprocess.run([lifecycle.need("ab"), "-q", "-n", "600", "-c", "12", f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True,
                            timeout=60, check=False)
    failed = re.search(r"Failed requests:\s+(\d+)", result.stdout)
    if result.returncode != 0 or not failed or failed[1] != "0":
        raise Failure("requests", f"ab {path}: {(result.stderr + result.stdout).strip()[-300:]}")


def nginx_under_load(life):
    nginx = lifecycle.need("nginx")
    port = lifecycle.free_port()
    files = life.scratch / "files"
    files.mkdir()
    large = bytes(range(256)) * 4000
    (files / "large").write_bytes(large)
    configuration = life.scratch / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(scratch=life.scratch, port=port))
    life.run([nginx, "-p", life.scratch, "-c", configuration])
    life.wait_for(lambda: lifecycle.can_connect(port), "nginx starts")
    benchmark(port, "/hello")
    before = lifecycle.names_and_pids(life.group.process.pid)
    for _ in range(3):
        load = subprocess.Popen([lifecycle.need("wrk"), "-t1", "-c20", "-d60s", f"http://127.0.0.1:{port}/large"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        life.wait_for(lambda: lifecycle.can_connect(port), "load")
        harness.time.sleep(0.2 + life.random.random() * 0.4)
        life.crash()
        load.kill()
        load.wait()
        life.wait_for(lambda: lifecycle.can_connect(port), "nginx answers again")
        benchmark(port, "/hello")
        if fetch(port, "/large") != large:
            raise Failure("after the crash", "a file is served damaged")
    after = lifecycle.names_and_pids(life.group.process.pid)
    if before != after:
        raise Failure("after the crash", f"the processes are {after}, not {before}")
    reload_configuration(life, port, before)


def reload_configuration(life, port, before):
    """SIGHUP to the master: it starts new workers, and the old ones leave."""
    configuration = life.scratch / "nginx.conf"
    configuration.write_text(configuration.read_text().replace('"hello\\n"', '"good day\\n"'))
    master = next(pid for pid in life.group.pids() if b"nginx: master" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(master, signal.SIGHUP)
    life.wait_for(lambda: fetch(port, "/hello") == b"good day\n", "the new configuration")
    workers = {pid for pid, name in before.items() if name == "nginx"} - {min(pid for pid, name in before.items() if name == "nginx")}
    life.wait_for(lambda: not workers & set(lifecycle.names_and_pids(life.group.process.pid)), "the old workers leave")
    benchmark(port, "/hello")


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(nginx_under_load)))
