"""Hears the kernel announce devices that come, change and go.

Source: the kernel's lib/kobject_uevent.c: ``ACTION@DEVPATH``, then ``KEY=VALUE`` texts, each ended by a NUL.
"""

from __future__ import annotations

import errno
import socket
from types import TracebackType
from typing import Final, Self

import trio

NETLINK_KOBJECT_UEVENT: Final = 15
_KERNEL_EVENTS: Final = 1
_READ_SIZE: Final = 64 << 10

SUBSYSTEMS: Final = frozenset({"block", "cpu", "memory", "node", "pci"})
"""Those whose devices this plugin shows."""


def subsystem(message: bytes) -> str | None:
    """The subsystem of the device that a message is about; None when the message is none of the kernel's."""
    head, _, rest = message.partition(b"\0")
    if b"@/" not in head:
        return None
    for part in rest.split(b"\0"):
        if part.startswith(b"SUBSYSTEM="):
            return part[10:].decode("utf-8", "backslashreplace")
    return None


class Uevents:
    """A socket that hears them; needs no privilege."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self._socket.bind((0, _KERNEL_EVENTS))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    async def changed(self) -> None:
        """Return when a device that is shown has come, changed or gone, or when messages were lost."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            if self._read():
                return

    def _read(self) -> bool:
        """Take all that waits; True when some of it matters."""
        matters = False
        while True:
            try:
                message, sender = self._socket.recvfrom(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return matters
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                matters = True
                continue
            # A process may send such messages too; only the kernel's port is 0.
            matters |= sender[0] == 0 and subsystem(message) in SUBSYSTEMS
