#!/usr/bin/python3
"""Runs the same blocking calls alone and under `perdure run`, and compares what each returned, how long it took, and what came through.

Results must agree exactly, times within a tolerance. What differs is measured again before it counts: times are a matter of how busy the machine
is, and of the results docs/checkpoint.md ("Calls that a stop interrupts") names two that depend on a few microseconds. A case that differs each time, or
more than a few that differ once, fail.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

EXACT = ("outcome", "result", "errno", "handler_runs", "moved_bytes", "detail")
TIMES = ("elapsed_ms", "left_ms")
ATTEMPTS = 3
# As many may have another result in the first run, and none in those after it.
UNSTEADY_AT_MOST = 10
# Fewer checkpoints than this, and agreement would say nothing.
FEWEST_CHECKPOINTS = 20


def program():
    return pathlib.Path(os.environ.get("PERDURE_TRANSPARENCY", harness.ROOT / "build/tests/transparency/transparency"))


def read_records(scratch):
    """{case: record}; a case that could not be set up has only setup_failed."""
    records = {}
    for line in (scratch / "records").read_text().splitlines():
        record = json.loads(line)
        records[record["case"]] = record
    return records


def arguments(scratch, options, cases):
    words = [program(), scratch, "--at-once", options.at_once]
    if options.only:
        words += ["--only", options.only]
    if cases:
        (scratch / "cases").write_text("\n".join(cases))
        words += ["--cases", scratch / "cases"]
    return [str(word) for word in words]


def run_alone(options, cases):
    directory = harness.make_directory("transparency")
    with harness.Group("transparency", [], directory=directory):  # for its directory alone
        scratch = harness.make_scratch(directory)
        subprocess.run(arguments(scratch, options, cases), stdin=subprocess.DEVNULL, timeout=options.timeout, check=True)
        return read_records(scratch)


def run_persisted(options, cases):
    directory = harness.make_directory("transparency")
    scratch = harness.make_scratch(directory)
    run_options = ["--period", options.period] + (["--audit"] if options.audit else [])
    with harness.Group("transparency", arguments(scratch, options, cases), run_options, directory) as group:
        group.start()
        status = group.wait_end(options.timeout, "under perdure")
        if status != 0:
            raise harness.Failure("under perdure", f"ended with {harness.describe_status(status)}\n{group.errors()[-2000:]}")
        expect_checkpoints(group)
        return read_records(scratch)


def expect_checkpoints(group):
    listed = json.loads(group.perdure("ps", "--json").stdout)
    made = max((entry.get("durable_epoch", 0) for entry in listed if entry["name"] == group.name), default=0)
    if made < FEWEST_CHECKPOINTS:
        raise harness.Failure("under perdure", f"only {made} checkpoints were made: {group.errors().strip()[-1000:]}")


def differences(alone, persisted, options):
    """{case: (what differs, whether only times do)}."""
    found = {}
    for case in alone:
        one, other = alone[case], persisted.get(case)
        if other is None:
            found[case] = ("no record under perdure", False)
        elif "setup_failed" in one or "setup_failed" in other:
            found[case] = (one.get("setup_failed") or "under perdure: " + other["setup_failed"], False)
        else:
            exact = [f"{name} {one[name]!r} -> {other[name]!r}" for name in EXACT if one[name] != other[name]]
            times = [f"{name} {one[name]} -> {other[name]}" for name in TIMES if abs(one[name] - other[name]) > options.tolerance_ms]
            if exact or times:
                found[case] = ("; ".join(exact + times), not exact)
    return found


def call_of(case):
    return case.split(" timeout=")[0]


def compare(options):
    run_other = run_alone if options.self_test else run_persisted
    alone = run_alone(options, None)
    found = differences(alone, run_other(options, None), options)
    unsteady = {case: what for case, (what, only_times) in found.items() if not only_times}
    if len(unsteady) > UNSTEADY_AT_MOST:
        return len(alone), unsteady
    for case, what in sorted(unsteady.items()):
        print(f"unsteady transparency: measured again: {case}: {what}")
    for _ in range(ATTEMPTS - 1):
        if not found:
            break
        # With all that is done with the same calls: one case alone is over after a few checkpoints.
        calls = {call_of(case) for case in found}
        whole = [case for case in alone if call_of(case) in calls]
        repeated = differences(run_alone(options, whole), run_other(options, whole), options)
        found = {case: repeated[case] for case in found if case in repeated}
    return len(alone), {case: what for case, (what, _) in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--period", default="1ms", help="between checkpoints (1ms)")
    parser.add_argument("--audit", action="store_true", default=harness.audited(), help="audit every checkpoint")
    parser.add_argument("--only", metavar="SUBSTRING", help="only the cases whose name contains it")
    parser.add_argument("--at-once", default=24, type=int, metavar="N", help="cases at the same time (24)")
    parser.add_argument("--tolerance-ms", default=120, type=int, metavar="MS", help="by how much times may differ (120)")
    parser.add_argument("--timeout", default=180, type=int, metavar="SECONDS", help="for one of the two runs (180)")
    parser.add_argument("--self-test", action="store_true", help="compare two runs alone: says how steady the cases are")
    options = parser.parse_args()
    harness.become_reaper()
    started = time.monotonic()
    try:
        count, found = compare(options)
    except (harness.Failure, subprocess.SubprocessError) as failure:
        print(f"FAIL transparency: {failure}")
        return 1
    finally:
        harness.kill_descendants()
    for case, what in sorted(found.items()):
        print(f"differs: {case}: {what}")
    if found:
        print(f"FAIL transparency: {len(found)} of {count} cases differ")
        return 1
    print(f"ok   transparency ({count} cases, {time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
