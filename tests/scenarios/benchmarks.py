#!/usr/bin/python3
"""Benchmarks, shortened: bench/run starts load, floor and Perdure, compares them, saves what it measured and leaves nothing behind."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import Failure


def measure(directory, *names):
    """The figures by name."""
    done = subprocess.run([sys.executable, harness.ROOT / "bench/run", *names, "--quick", "--json", "--dir", directory, "--results", f"{directory}/results"],
                          capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        raise Failure("bench/run", f"{harness.describe_status(done.returncode)}: {(done.stdout + done.stderr)[-500:]}")
    return {figure["name"]: figure for figure in json.loads(done.stdout)["figures"]}


def the_parts_of_the_overhead():
    with tempfile.TemporaryDirectory(dir=os.environ.get("PERDURE_TEST_DIRECTORY", "/var/tmp")) as directory:
        figures = measure(directory, "ablation-python", "peer-criu")
        steps = [figures[f"ablation-python, {step}"] for step in ("alone", "+ stops", "+ protection faults", "+ copies", "+ the rest: perdure")]
        if not all(figure["ours"] > 0 and figure["ratio"] > 0 for figure in steps) or steps[0]["ratio"] != 1:
            raise Failure("ablation", f"incomplete: {steps}")
        if "no --criu PATH" not in figures["peer-criu"]["note"]:
            raise Failure("peer-criu", f"it does not say that there is none: {figures['peer-criu']}")
        if not pathlib.Path(directory, "results/ablation-python-pauses.svg").exists():
            raise Failure("plot", "nothing is drawn")


def a_pause_beside_its_floor():
    with tempfile.TemporaryDirectory(dir=os.environ.get("PERDURE_TEST_DIRECTORY", "/var/tmp")) as directory:
        figures = measure(directory, "pause-100-pages")
        for name in ("pause-100-pages", "pause-100-pages, witness"):
            if not (figures[name]["ours"] > 0 and figures[name]["reference"] > 0 and figures[name]["ratio"] > 0):
                raise Failure(name, f"incomplete: {figures[name]}")
        samples = json.loads(pathlib.Path(directory, "results/pause-100-pages.json").read_text())
        if not all(samples[name] for name in ("perdure", "floor", "witness under perdure", "witness under the floor")):
            raise Failure("samples", f"there are {({name: len(values) for name, values in samples.items()})}")
        if "<path" not in pathlib.Path(directory, "results/pause-100-pages.svg").read_text():
            raise Failure("plot", "nothing is drawn")
        left = [entry for entry in os.listdir(directory) if entry != "results"]
        if left:
            raise Failure("clean up", f"it leaves {left}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([a_pause_beside_its_floor, the_parts_of_the_overhead]))
