#!/usr/bin/python3
"""Builds Perdure and runs every test of it: unit tests (plain and with sanitizers), test programs in each mode, scenarios.

The last line is "N passed, N failed"; the exit status is 0 only if none failed.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

import build
import gaps
import harness
from build import ROOT

RESULTS = ROOT / "build/test-results"
# The unit tests of these rooms use threads, in suites whose names end in Threads, which run under ThreadSanitizer too.
THREADED_ROOMS = ("store", "memory", "supervisor")
# Neither of these is run again, whatever it says: that it fails rarely is what they are there to find.
STRICT_ROOMS = ("store",)
STRICT_SCENARIOS = ("atomicity", "crash_rounds", "supervisor_killed")
# These run a second time with every checkpoint audited, mostly shorter. The others do that by themselves, or take no checkpoints.
AUDITED_SCENARIOS = ("atomicity", "come_and_go", "commands", "crash_rounds", "on_crash", "outside_files", "passes_through", "refusals", "supervisor_killed")
SCENARIO_TIMEOUT_SECONDS = 300
SOAK_SCENARIO_TIMEOUT_SECONDS = 3600


class Tally:
    """Counts results and remembers what failed, to be named again at the end."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skipped = 0
        self.gaps = []
        self.unsteady = []

    def add_junit(self, path, stage, failed_before=()):
        """Counts the test cases of a JUnit file; one failure if there is none. Those named in `failed_before` had failed when they were first run."""
        try:
            cases = list(xml.etree.ElementTree.parse(path).getroot().iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError) as error:
            self.failures.append(f"{stage}: no results ({error})")
            return
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                self.failures.append(f"{stage}: {case.get('classname')} {case.get('name')}")
            elif (skip := case.find("skipped")) is not None and skip.get("message", "").startswith("known gap: "):
                self.gaps.append(f"{stage}: {case.get('name')}: {skip.get('message').removeprefix('known gap: ').splitlines()[0]}")
            elif skip is not None and skip.get("message", "").startswith("unsteady: "):
                self.unsteady.append(f"{stage}: {case.get('classname')} {case.get('name')}")
            elif case.get("name") in failed_before:
                self.unsteady.append(f"{stage}: {case.get('name')}")
            elif skip is not None or case.get("status") in ("notrun", "disabled"):
                self.skipped += 1
            else:
                self.passed += 1


STARTED = time.monotonic()


def headline(text):
    """Says what comes now, and how many seconds have passed."""
    print(f"\n== {text} ({time.monotonic() - STARTED:.0f} s)", flush=True)


def run_streaming(words, environment=None, timeout=None, on_line=None):
    """Runs a command with its output shown as it comes (or what on_line makes of it); kills it and all that it started after `timeout`.
    Returns its exit status, or None."""
    process = subprocess.Popen([str(word) for word in words], cwd=ROOT, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    timed_out = threading.Event()

    def give_up():
        timed_out.set()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        harness.kill_descendants(process.pid)
        process.kill()

    timer = threading.Timer(timeout, give_up) if timeout else None
    if timer:
        timer.start()
    for line in process.stdout:
        print((on_line and on_line(line)) or line, end="", flush=True)
    status = process.wait()
    if timer:
        timer.cancel()
    return None if timed_out.is_set() else status


def result_file(stage):
    path = RESULTS / f"{re.sub('[ ,]+', '-', stage)}.xml"
    path.unlink(missing_ok=True)
    return path


def run_ctest(directory, stage, tally, environment=None):
    """What fails is run once more, and told as unsteady if it passes then; but not in the strict rooms."""
    rooms = f"^({'|'.join(STRICT_ROOMS)})$"
    for name, selection in ((stage, ["--label-exclude", rooms, "--repeat", "until-pass:2"]), (f"{stage}, run once", ["--label-regex", rooms])):
        results = result_file(name)
        failed = set()

        def note_failure(line):
            if found := re.search(r"Test +#\d+: (\S+) \.+\*\*\*", line):
                failed.add(found[1])

        run_streaming(["ctest", "--test-dir", ROOT / directory / "tests/unit", "-j2", "--timeout", "240", "--output-on-failure", "--output-junit", results, *selection],
                      environment, 1800, note_failure)
        tally.add_junit(results, stage, failed)


def build_sanitized(name, flags, targets):
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_COMPILE_WARNING_AS_ERROR=OFF", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=16", f"-DCMAKE_CXX_FLAGS={flags} -O0 -fno-omit-frame-pointer"]
    build.build(f"build-{name}", options, targets, f"the unit tests with {flags.split()[0]}")


def unit_tests(tally):
    headline("unit tests")
    run_ctest("build", "unit tests", tally)
    headline("unit tests with the address and undefined behaviour sanitizers")
    build_sanitized("address", "-fsanitize=address,undefined -fno-sanitize-recover=undefined", ["tests/unit/all"])
    run_ctest("build-address", "unit tests, address sanitizer", tally, {"ASAN_OPTIONS": "abort_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1"})
    headline("unit tests of the rooms with threads, with the thread sanitizer")
    build_sanitized("thread", "-fsanitize=thread", [f"unit_{room}" for room in THREADED_ROOMS])
    for room in THREADED_ROOMS:
        results = result_file(f"unit tests, thread sanitizer, {room}")
        # ThreadSanitizer finds its shadow memory only where addresses are not randomised widely.
        run_streaming(["setarch", "-R", ROOT / f"build-thread/tests/unit/unit_{room}", f"--gtest_output=xml:{results}", "--gtest_brief=1", "--gtest_filter=*Threads.*"],
                      {"TSAN_OPTIONS": "halt_on_error=1"}, 1800)
        tally.add_junit(results, "unit tests, thread sanitizer")


def run_programs(tally, mode, soak=False):
    headline(f"test programs, {mode}")
    results = RESULTS / f"programs-{mode}.xml"
    results.unlink(missing_ok=True)
    status = run_streaming([sys.executable, "tests/run_programs.py", f"--{mode}", "--junit", results, *(["--crash-delay-ms", "60"] if soak else [])], timeout=3600)
    before = len(tally.failures)
    tally.add_junit(results, f"program, {mode}")
    if status != 0 and len(tally.failures) == before:
        tally.failures.append(f"programs, {mode}: the runner ended with status {status}")


def attempt_scenario(path, environment, timeout, may_run_again):
    """A scenario prints a line "ok NAME" or "FAIL NAME: why" for each case, and "unsteady NAME: why" for what passed when it was tried again; one that ends
    badly without saying so counts as failed. Returns how many cases passed, what failed, what was unsteady, and whether there was a violation."""
    passed, failures, unsteady = 0, [], []
    violated = path.stem in STRICT_SCENARIOS

    def count(line):
        nonlocal passed, violated
        violated |= harness.shows_violation(line)
        result = re.match(r"(ok|FAIL|unsteady)\b\s*(.*)", line)
        if result and result[1] == "ok":
            passed += 1
        elif result:
            (failures if result[1] == "FAIL" else unsteady).append(f"scenario {path.stem}: {result[2]}")
        return line.replace("FAIL", "redo", 1) if result and may_run_again and not violated else line

    status = run_streaming([sys.executable, path], environment, timeout, count)
    if status is None:
        failures.append(f"scenario {path.stem}: took longer than {timeout} s")
    elif status != 0 and not failures:
        failures.append(f"scenario {path.stem}: ended with status {status}")
    elif not passed and not failures:
        failures.append(f"scenario {path.stem}: said nothing")
    return passed, failures, unsteady, violated


def scenario(tally, path, environment, timeout):
    """A scenario that fails is run once more, unless a promise was broken; what fails only once is told as unsteady."""
    reason = gaps.reason(gaps.read(), path.stem, "scenario")
    passed, failures, unsteady, violated = attempt_scenario(path, environment, timeout, may_run_again=not reason)
    if failures and not reason and not violated:
        harness.kill_descendants()
        first = failures
        passed, failures, unsteady, _ = attempt_scenario(path, environment, timeout, may_run_again=False)
        if not failures:
            unsteady += first
    tally.unsteady += unsteady
    tally.passed += passed
    if reason:
        tally.gaps += [f"{failure}: {reason}" for failure in failures]
    else:
        tally.failures += failures


def scenarios(tally, soak):
    for path in [*sorted((ROOT / "tests/scenarios").glob("*.py")), ROOT / "tests/transparency/transparency.py", ROOT / "tests/atomicity/atomicity.py"]:
        headline(f"scenario {path.stem}")
        scenario(tally, path, {"PERDURE_SOAK": "1"} if soak else {}, SOAK_SCENARIO_TIMEOUT_SECONDS if soak else SCENARIO_TIMEOUT_SECONDS)
        harness.kill_descendants()
        if path.stem in AUDITED_SCENARIOS:
            headline(f"scenario {path.stem}, audited")
            scenario(tally, path, {"PERDURE_AUDIT": "1"}, SCENARIO_TIMEOUT_SECONDS)
            harness.kill_descendants()


def run_stages(tally, options):
    selected = options.only or ["unit", "programs", "scenarios"]
    if "unit" in selected:
        unit_tests(tally)
    if "programs" in selected:
        for mode in ("alone", "plain", "audit", "reboot"):
            run_programs(tally, mode, options.soak is not None)
        if not options.mutate:
            run_programs(tally, "mutate-once")
    if "scenarios" in selected:
        scenarios(tally, options.soak is not None)
    if options.mutate:
        run_programs(tally, "mutate")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutate", action="store_true", help="check that every test program fails when what it covers is not captured (else: one program for each kind of state)")
    parser.add_argument("--soak", nargs="?", type=float, const=60, metavar="MINUTES", help="repeat everything for so long (60 minutes)")
    parser.add_argument("--only", action="append", choices=("unit", "programs", "scenarios"), help="run this part only; may be given more than once")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    harness.default_signals()
    harness.become_reaper()
    RESULTS.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    try:
        build.build()
        run_stages(tally, options)
        while options.soak and time.monotonic() - STARTED < options.soak * 60:
            run_stages(tally, options)
    except build.BuildFailed as failed:
        tally.failures.append(f"the build of {failed}")
    except KeyboardInterrupt:
        tally.failures.append("interrupted")
    finally:
        harness.kill_descendants()
    headline(f"results, {tally.skipped} skipped")
    for gap in tally.gaps:
        print(f"known gap: {gap}")
    for failure in tally.failures:
        print(f"failed: {failure}")
    print(f"{len(tally.unsteady)} unsteady, passed only when run again{': ' if tally.unsteady else ''}{'; '.join(tally.unsteady)}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
