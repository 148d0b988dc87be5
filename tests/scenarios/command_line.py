#!/usr/bin/python3
"""What the commands do with strange words, with output that cannot be written, with a supervisor that is stuck, and with a group that outlives its own."""

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from commands import COUNTER, expect, harness, shelf, wait_until

# How long a command may take in which a supervisor does not answer: the command's patience is 5 s, and the machine may be busy.
PATIENCE = 40
NOT_UTF8 = os.fsdecode(b"\xff\xfe")


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def quickly(what, action):
    began = time.monotonic()
    result = action()
    expect(time.monotonic() - began < PATIENCE, f"{what} took {time.monotonic() - began:.0f} s")
    return result


def a_stuck_supervisor_holds_nobody_up():
    with shelf() as one:
        one.start("stuck")
        one.start("well")
        pid = one.state("stuck")["supervisor_pid"]
        with stopped(pid):
            groups = {group["name"]: group for group in json.loads(quickly("ps", lambda: one.perdure("ps", "--json").stdout))}
            expect(groups["stuck"]["state"] == "unresponsive" and groups["stuck"]["supervisor_pid"] == pid, f"a stuck group: {groups['stuck']}")
            expect(groups["well"]["state"] == "live", f"the group beside it: {groups['well']}")
            table = one.perdure("ps").stdout
            expect(f"process {pid}) is not answering" in table, f"ps does not say who is stuck: {table}")
            # Each waits for as long as its patience lasts.
            with concurrent.futures.ThreadPoolExecutor() as all_at_once:
                waiting = [all_at_once.submit(quickly, command, lambda name=command: one.fails(name, "stuck", says=f"process {pid}.*did not answer"))
                           for command in ("checkpoint", "kill", "detach")]
                waiting.append(all_at_once.submit(quickly, "exec", lambda: one.fails("exec", "stuck", "--", "true", status=125, says="did not answer")))
                shown = all_at_once.submit(quickly, "log", lambda: one.perdure("log", "stuck", "--json").stdout)
                expect(json.loads(shown.result()), "log shows nothing of a stuck group")
                for one_command in waiting:
                    one_command.result()
        one.perdure("checkpoint", "stuck")


def detached_groups_take_no_checkpoints():
    with shelf() as one:
        one.start("loose")
        one.perdure("detach", "loose")
        one.fails("checkpoint", "loose", says="detached")
        expect(one.state("loose")["detached"], "ps does not say that it was detached")


def labels_and_names_are_plain_words():
    with shelf() as one:
        one.start("plain")
        for label in ("a\tb\nc", "x" * 65, NOT_UTF8, "a b", ".hidden", "12"):
            one.fails("checkpoint", "plain", "--label", label, status=2, says="label")
        one.perdure("checkpoint", "plain", "--label", "x" * 64)
        one.fails("run", "--name", "a\nb", "--", "true", status=2, says="cannot name a group")
        for name in ("n" * 300, NOT_UTF8):
            one.fails("log", name, says="cannot name a group")
        message = one.perdure("kill", "n" * 300, status=1).stderr
        expect(len(message) < 250, f"a long name is told at full length: {message}")
        one.fails("inspect", "plain", "--at", "a\nb" + "c" * 300, says="no epoch with the label")
        one.fails("run", "", status=2, says="name is empty")
        one.fails("run", "/", status=2, says="--name")
        one.fails("no\nsense", status=2, says="no.sense")


def text_that_is_not_utf8_is_shown():
    with shelf() as one:
        root = f"{one.root}{NOT_UTF8}"
        os.makedirs(f"{root}/broken")
        one.start("model")
        one.perdure("kill", "model")
        for entry in os.listdir(one.root / "model"):
            if entry != "output" and os.path.isfile(one.root / "model" / entry):
                with open(f"{root}/broken/{entry}", "wb") as copy:
                    copy.write(b"\xa5" * 8192)
        groups = json.loads(one.perdure("ps", "--json", "--store", root).stdout)
        expect(groups[0]["state"] == "unreadable" and groups[0]["store_error"], f"ps of an unreadable group: {groups}")


def output_that_cannot_be_written_is_an_error():
    with shelf() as one:
        one.start("full")
        for words in (["ps"], ["ps", "--json"], ["log", "full", "--json"], ["verify", "full"], ["inspect", "full"], ["checkpoint", "full"],
                      ["doctor"], ["--help"], ["run", "--help"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([harness.perdure_binary(), *words], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True,
                                      env={**os.environ, "PERDURE_STORE": str(one.root)}, timeout=60, check=False)
            lines = done.stderr.splitlines()
            expect(done.returncode == 1 and len(lines) == 1 and "No space left" in lines[0],
                   f"`perdure {' '.join(words)}` to a full disk: status {done.returncode}, {done.stderr!r}")


def signals_reach_what_exec_runs():
    with shelf() as one:
        one.start("host")
        ready = one.directory / "ready"
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            script = f"import os, signal, sys, time; signal.signal({int(number)}, lambda *_: os._exit(7)); open(sys.argv[1], 'w').close(); time.sleep(60)"
            words = [harness.perdure_binary(), "exec", "host", "--", sys.executable, "-c", script, str(ready)]
            with subprocess.Popen(words, stdin=subprocess.DEVNULL, env={**os.environ, "PERDURE_STORE": str(one.root)}) as command:
                wait_until(ready.exists, "the command runs")
                command.send_signal(number)
                expect(command.wait(20) == 7, f"{number.name} did not reach the command: {harness.describe_status(command.returncode)}")
            ready.unlink()


def figures_have_bounds():
    with shelf() as one:
        for period in ("inf", "nan", "1e300s", "99999999999999999999s", "25000m", "0", "-1ms"):
            one.fails("run", "--period", period, "--", "true", status=2, says="duration")
        for keep in ("-1", "0", "99999999999999999999999", "1000000000001", "+5", "1.5", "many"):
            one.fails("run", "--keep", keep, "--", "true", status=2, says=f"keep.*'{keep.replace('+', '.')}'")
        one.perdure("run", "--name", "long", "--period", "1440m", "--keep", "1000000000000", "--", "true")


def groups_that_do_not_exist_are_told():
    with shelf() as one:
        for words in (["kill", "nosuch"], ["checkpoint", "nosuch"], ["detach", "nosuch"], ["log", "nosuch"]):
            one.fails(*words, says="there is no group 'nosuch' under")
        one.fails("exec", "nosuch", "--", "true", status=125, says="there is no group 'nosuch' under")
        one.fails("ps", "--store", "/no/such", says="/no/such.*No such file")
        one.perdure("ps")
        one.perdure("run", "--name", "brief", "--", "true")
        one.fails("kill", "brief", says="is not running")


def exec_knows_its_options():
    with shelf() as one:
        one.start("host")
        one.fails("exec", "host", "--bogus", "--", "true", status=2, says="'--bogus'.*see: perdure exec --help")
        one.fails("exec", "host", "--", status=2, says="see: perdure exec --help")
        one.fails("exec", "host", "--", "--bogus", status=127, says="cannot run '--bogus'")
        one.perdure("exec", "host", "true")
        for command in ("run", "exec", "ps"):
            usage = one.perdure(command, "--help").stdout
            expect(f"Usage: perdure {command}" in usage, f"usage of {command}: {usage}")


def a_group_that_outlives_its_supervisor_is_found_and_ended():
    with shelf() as one:
        one.start("survivor", "--on-supervisor-exit", "continue")
        wait_until(lambda: one.count() > 20, "the program counts")
        state = one.state("survivor")
        harness.kill_now([state["supervisor_pid"]])
        wait_until(lambda: one.state("survivor")["state"] == "unpersisted", "ps says that the group runs on")
        expect(one.state("survivor")["init_pid"] == state["init_pid"], f"ps does not name the init {state['init_pid']}: {one.state('survivor')}")
        expect(f"runs on unpersisted (init process {state['init_pid']})" in one.perdure("ps").stdout, "the table does not say so")
        count = one.count()
        wait_until(lambda: one.count() > count + 10, "the program runs on")
        words = ("run", "--name", "survivor", "--", sys.executable, "-c", COUNTER, one.count_file)
        one.fails(*words, status=125, says=f"process {state['init_pid']}.*perdure kill survivor")
        one.fails("restore", "survivor", status=125, says="perdure kill survivor")
        one.fails("checkpoint", "survivor", says="not running")
        one.perdure("kill", "survivor")
        expect(not any(harness.is_running(pid) for pid in state["pids"]), "kill leaves processes of the group")
        expect(one.state("survivor")["state"] == "crashed", f"after the kill: {one.state('survivor')}")
        one.fails("kill", "survivor", says="not running")
        one.count_file.unlink()
        one.start("survivor")
        wait_until(one.count_file.exists, "the resumed program counts")
        expect(one.count() > 10, f"it began anew: {one.count()}")


if __name__ == "__main__":
    sys.exit(harness.run_cases([a_stuck_supervisor_holds_nobody_up, detached_groups_take_no_checkpoints, labels_and_names_are_plain_words,
                                text_that_is_not_utf8_is_shown, output_that_cannot_be_written_is_an_error, signals_reach_what_exec_runs,
                                figures_have_bounds, groups_that_do_not_exist_are_told, exec_knows_its_options,
                                a_group_that_outlives_its_supervisor_is_found_and_ended]))
