"""Frames out of an interface, in its namespace: packet(7), setns(2)."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_NOBODY: Final = 65534
_ETHERTYPES: Final = {4: 0x0800, 6: 0x86DD}
"""linux/if_ether.h: ETH_P_IP, ETH_P_IPV6."""


def open_socket(namespace: str, interface: str) -> socket.socket:
    """Enter the namespace for good, and open a socket that sends from the interface.  Raises OSError."""
    # A path may turn out to be a FIFO, which would be waited for.
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"the network namespace cannot be entered: {os.strerror(number)}")
    finally:
        os.close(descriptor)
    # Protocol 0: it receives nothing.
    sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sending.bind((interface, 0))
    except BaseException:
        sending.close()
        raise
    return sending


def drop_privileges() -> None:
    """Be nobody from now on: what is left to do reads bytes that others wrote."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def send(sending: socket.socket, interface: str, frame: bytes, *, ethernet: bool) -> None:
    """Send one frame; waits for room in the interface's queue.  Raises OSError."""
    if ethernet:
        sending.send(frame)
    else:
        # Without a link header the kernel is told what the packet is.
        sending.sendto(frame, (interface, _ETHERTYPES.get(frame[0] >> 4 if frame else 0, 0)))
