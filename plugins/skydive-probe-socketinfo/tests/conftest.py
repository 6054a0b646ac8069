"""Processes that open sockets where and when a test wants, and what iproute2 says of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from skycore.testing.lab import run_checked
from skycore.testing.pytest_plugin import require

# Says "ready" once its name is its own, then carries out lines; ends when its input does.
_PUPPET = """
import os, signal, socket, sys
sys.setrecursionlimit(200)
print(repr('ready'), flush=True)
for line in sys.stdin:
    try:
        result = eval(line)
    except SyntaxError:
        result = exec(line)
    print(repr(result), flush=True)
"""


class Puppet:
    """A process, in a namespace if one is named, that carries out lines of Python; its variables stay."""

    def __init__(self, namespace: str | None = None, program: str = sys.executable) -> None:
        enter = ["nsenter", f"--net={namespace}", "--"] if namespace else []
        self._process = subprocess.Popen(
            [*enter, program, "-S", "-E", "-c", _PUPPET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # nsenter becomes the program, so this is its pid.
        self.pid = self._process.pid
        self._read()

    def __call__(self, line: str) -> Any:
        """Carry out a statement, or evaluate an expression and return its value."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the puppet has died; its complaint is above"
        return eval(answer)

    def inode(self, name: str) -> int:
        """The inode of a socket that is one of its variables."""
        return int(self(f"os.fstat({name}.fileno()).st_ino"))

    def exec(self, program: str | bytes, *arguments: str) -> None:
        """Become another program, which takes no more lines."""
        assert self._process.stdin is not None
        words = [os.fsencode(program), *map(os.fsencode, arguments)]
        self._process.stdin.write(f"os.execv({words[0]!r}, {words!r})\n")
        self._process.stdin.flush()
        self._until(lambda: b"python" not in os.readlink(os.fsencode(f"/proc/{self.pid}/exe")))

    def end(self) -> None:
        """Kill it and wait for its end."""
        self._process.kill()
        self._process.wait(5)

    @staticmethod
    def _until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.end()
        self._process.stdin.close()
        self._process.stdout.close()


MakePuppet = Callable[..., Puppet]


@pytest.fixture
def puppet() -> Iterator[MakePuppet]:
    """Makes processes that open sockets; they end with the test."""
    with ExitStack() as stack:

        def make(namespace: str | None = None, program: str = sys.executable) -> Puppet:
            one = Puppet(namespace, program)
            stack.callback(one.close)
            return one

        yield make


_STATES: Final = {
    "ESTAB": "ESTABLISHED",
    "UNCONN": "CLOSE",
    "LISTEN": "LISTEN",
    "SYN-SENT": "SYN_SENT",
    "SYN-RECV": "SYN_RECV",
    "FIN-WAIT-1": "FIN_WAIT1",
    "FIN-WAIT-2": "FIN_WAIT2",
    "TIME-WAIT": "TIME_WAIT",
    "CLOSE-WAIT": "CLOSE_WAIT",
    "LAST-ACK": "LAST_ACK",
    "CLOSING": "CLOSING",
}


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    address = address.partition("%")[0].strip("[]").removeprefix("::ffff:")
    return "::" if address == "*" else address, 0 if port == "*" else int(port)


def _shown_by_ss(namespace: str) -> set[tuple[Any, ...]]:
    # Marked fields of which some are absent stand behind the first six.
    found = set()
    for line in run_checked(["nsenter", f"--net={namespace}", "--", "ss", "-tunapH"]).splitlines():
        protocol, state, _received, _sent, local, remote, *rest = line.split(None, 6)
        for pid in set(re.findall(r",pid=(\d+),fd=\d+\)", "".join(rest))):
            found.add((protocol.upper(), _STATES[state], _end(local), _end(remote), int(pid)))
    return found


@pytest.fixture
def witness() -> Callable[[str], set[tuple[Any, ...]]]:
    """What iproute2's ``ss`` says of a namespace: (protocol, state, local end, remote end, pid) for each process."""
    require("ss", "nsenter", "root")
    return _shown_by_ss
