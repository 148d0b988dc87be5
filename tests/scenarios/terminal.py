#!/usr/bin/python3
"""Interactive programs in a terminal: their state is there when they are resumed in another terminal, of another size, and keys reach them."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
import lifecycle
from harness import Failure

# Tells the size of its terminal, and again at each SIGWINCH.
SIZE_TELLER = """
import os, signal
def tell(*_):
    size = os.get_terminal_size(0)
    print("size", size.lines, size.columns, flush=True)
signal.signal(signal.SIGWINCH, tell)
tell()
while True:
    signal.pause()
"""


class TerminalGroup(harness.Group):
    """A group whose perdure runs in a terminal of its own, another one at each start."""

    sizes = [(24, 80), (41, 133), (50, 90), (30, 100)]

    def start(self):
        self.runs += 1
        self.terminal, slave = pty.openpty()
        rows, columns = self.sizes[(self.runs - 1) % len(self.sizes)]
        self.resize(rows, columns)
        words = [harness.perdure_binary(), "run", "--name", self.name, "--store", str(self.store), *self.run_options, "--", *self.command]

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal, env=self.environment)
        os.close(slave)
        self.seen = ""
        return self.process

    def has_line_discipline(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ICANON)

    def size(self):
        return self.sizes[(self.runs - 1) % len(self.sizes)]

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.terminal, text.encode())

    def expect(self, pattern, timeout=20):
        """The match of `pattern` in what has been printed since the last one that was found."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            left = deadline - time.monotonic()
            if left < 0 or not self.read_some(left):
                raise Failure("terminal", f"{pattern!r} did not come; the last was {self.seen[-300:]!r}")

    def read_some(self, timeout):
        if not select.select([self.terminal], [], [], timeout)[0]:
            return True
        try:
            text = os.read(self.terminal, 65536)
        except OSError:
            return False
        self.seen += text.decode(errors="replace")
        return bool(text)

    def errors(self, run=None):
        return self.seen


def python_prompt(life):
    environment = {**os.environ, "PYTHONSTARTUP": "", "TERM": "dumb"}
    group = life.run([sys.executable, "-q", "-i", "-c", "import os, threading"], group=TerminalGroup, environment=environment)
    group.expect(">>> ")
    group.type("x = 6 * 7; text = 'kept ' * 2\n")
    group.expect(">>> ")
    group.type("def twice(n):\n    return 2 * n\n\n")
    group.expect(">>> $")
    for _ in range(2):
        life.checkpoint()
        life.crash()
        group.type("print('x', '=', x, text, twice(21))\n")
        group.expect(r"x = 42 kept kept  42")
        group.expect(">>> ")
        group.type("print('size', *os.get_terminal_size(0))\n")
        found = group.expect(r"size (\d+) (\d+)\r")
        if (int(found[2]), int(found[1])) != group.size():
            raise Failure("resumed", f"the program sees {found[0]!r} in a terminal of {group.size()}")
        group.expect(">>> ")
    group.type("import time\n")
    group.expect(">>> ")
    group.type("time.sleep(100)\n")
    time.sleep(0.3)
    group.type("\x03")  # ^C of the terminal reaches the program
    group.expect("KeyboardInterrupt")
    group.expect(">>> ")
    group.type("exit(0)\n")
    life.expect_end()


def size_changes(life):
    group = life.run([sys.executable, "-c", SIZE_TELLER], group=TerminalGroup)
    group.expect("size 24 80\r")
    for rows, columns in ((30, 90), (12, 40)):
        group.resize(rows, columns)
        group.expect(f"size {rows} {columns}\r")
    life.checkpoint()
    life.crash()
    life.checkpoint()  # it has been resumed
    group.resize(20, 70)
    group.expect("size 20 70\r")
    group.type("\x03")
    group.expect("KeyboardInterrupt")


def stopping_gives_the_terminal_back(life):
    group = life.run([sys.executable, "-c", SIZE_TELLER], group=TerminalGroup)
    group.expect("size 24 80\r")
    os.kill(group.process.pid, signal.SIGTSTP)
    life.wait_for(group.has_line_discipline, "the old mode of the terminal")
    status = pathlib.Path("/proc", str(group.process.pid), "status")
    life.wait_for(lambda: "State:\tT" in status.read_text(), "it stops")  # what comes before does not continue it
    os.kill(group.process.pid, signal.SIGCONT)
    life.wait_for(lambda: not group.has_line_discipline(), "the raw mode of the terminal")
    group.resize(20, 70)
    group.expect("size 20 70\r")


def bash_prompt(life):
    group = life.run(["bash", "--norc", "--noprofile", "--noediting", "-i"], group=TerminalGroup,
                     environment={**os.environ, "PS1": "ready> ", "HISTFILE": "", "TERM": "dumb"})
    group.expect("ready> ")
    group.type("shopt -s checkwinsize; name=value; cd /tmp; sleep 1000 &\n")
    group.expect("ready> ")
    life.checkpoint()
    life.crash()
    group.type("echo $name $PWD; jobs\n")
    group.expect(r"value /tmp\r")
    group.expect(r"Running\s+sleep 1000")
    group.type("kill %1; wait %1; echo waited $?\n")
    group.expect("waited 143")
    group.type("cat\n")
    time.sleep(0.3)
    life.checkpoint()
    life.crash()
    group.type("a line\n")
    group.expect("a line\r\na line\r\n")  # once by the terminal's echo, once by cat, which is still in the foreground
    group.type("\x1a")  # ^Z stops it
    group.expect(r"Stopped\s+cat")
    # Not by way of bg: cat would be stopped again, by reading from the terminal in the background, and keep bash from exiting.
    group.type("kill -9 %%; while kill -0 %% 2> /dev/null; do :; done; exit 0\n")
    life.expect_end()


if __name__ == "__main__":
    sys.exit(harness.run_cases(lifecycle.both_ways(python_prompt, bash_prompt, size_changes) + lifecycle.once(stopping_gives_the_terminal_back)))
