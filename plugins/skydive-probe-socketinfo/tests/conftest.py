"""Processes that open sockets where and when a test wants, and what iproute2 says of them."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final, TypeVar

import attrs
import pytest

from skycore.testing.lab import run_checked

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)

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

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait(5)
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


@attrs.frozen
class Seen:
    """A socket as ``ss`` shows it; ``pids`` are those of all its processes."""

    protocol: str
    state: str
    local: tuple[str, int]
    remote: tuple[str, int]
    inode: int
    pids: frozenset[int]


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


def witness(namespace: str) -> list[Seen]:
    """What iproute2's ``ss`` says of the sockets of a namespace that have a process."""
    # `timer` and the like come between, so only the marked fields are read behind the first six.
    lines = run_checked(["nsenter", f"--net={namespace}", "--", "ss", "-tunapHe"]).splitlines()
    found = []
    for line in lines:
        protocol, state, _received, _sent, local, remote, rest = line.split(None, 6)
        pids = frozenset(int(pid) for pid in re.findall(r",pid=(\d+),fd=\d+\)", rest))
        if pids:
            inode = re.search(r" ino:(\d+)", rest)
            assert inode, line
            found.append(Seen(protocol.upper(), _STATES[state], _end(local), _end(remote), int(inode[1]), pids))
    return found


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def inside(path: str, call: Callable[[], T]) -> T:
    """Run a call with this thread inside a network namespace."""
    own, target = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        _setns(target)
        try:
            return call()
        finally:
            _setns(own)
    finally:
        os.close(own)
        os.close(target)
