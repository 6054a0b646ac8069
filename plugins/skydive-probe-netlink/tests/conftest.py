"""Sockets inside a namespace, without the host that gives them to a probe."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from skycore.plugin import netlink
from skycore.testing.lab import NamedNetns

# The modules netlink_*.py beside this file, which the soak test uses without pytest.
sys.path.insert(0, str(Path(__file__).parent))

CLONE_NEWNET: Final = 0x40000000  # linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def enter() -> Callable[[NamedNetns], netlink.Enter]:
    """Gives what opens a socket inside a namespace."""

    def inside(netns: NamedNetns) -> netlink.Enter:
        def run(call: Callable[[], socket.socket]) -> socket.socket:
            own = os.open("/proc/self/ns/net", os.O_RDONLY)
            target = os.open(netns.path, os.O_RDONLY)
            try:
                _setns(target)
                try:
                    return call()
                finally:
                    _setns(own)
            finally:
                os.close(own)
                os.close(target)

        return run

    return inside
