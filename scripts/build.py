"""Configures and builds, showing progress; quiet when everything is up to date. For ./test and ./demo."""

import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class BuildFailed(Exception):
    pass


def run_quietly(words, what):
    result = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        sys.stdout.write(result.stdout)
        raise BuildFailed(what)


def show_progress(lines):
    """Passes on the steps of ninja: each on a terminal, on one line; elsewhere one every few seconds. Returns everything that was said."""
    said = []
    shown = 0.0
    interactive = sys.stdout.isatty()
    for line in lines:
        said.append(line)
        step = re.match(r"\[(\d+)/(\d+)\] (.*)", line)
        if not step or (not interactive and time.monotonic() - shown < 5):
            continue
        shown = time.monotonic()
        text = f"  [{step[1]}/{step[2]}] {os.path.basename(step[3].split()[-1])}"
        print(f"\r{text[:100]:100}" if interactive else text, end="" if interactive else "\n", flush=True)
    if interactive and shown:
        print("\r" + " " * 100 + "\r", end="", flush=True)
    return said


def build(directory="build", options=(), targets=(), what="perdure"):
    """Builds `targets` (all when empty) in `directory`; raises BuildFailed after printing what the compiler said."""
    started = time.monotonic()
    path = ROOT / directory
    if not (path / "build.ninja").exists():
        print(f"configuring {what}", flush=True)
    run_quietly(["cmake", "-G", "Ninja", "-B", str(path), "-S", str(ROOT), *options], f"cmake for {what}")
    ninja = subprocess.Popen(["ninja", "-C", str(path), *targets], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"building {what}", flush=True)
    said = show_progress(ninja.stdout)
    if ninja.wait() != 0:
        start = next((i for i, line in enumerate(said) if line.startswith("FAILED")), 0)
        sys.stdout.write("".join(said[start:]))
        raise BuildFailed(what)
    print(f"built {what} in {time.monotonic() - started:.0f} s", flush=True)
