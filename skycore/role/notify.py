"""Telling systemd how the process is: sd_notify(3) without its library.

A service of ``Type=notify`` counts as started when it says READY=1; one with ``WatchdogSec=`` is killed, and started
again, when it is not heard for that long.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from typing import final

import structlog
import trio

log = structlog.get_logger(__name__)


@final
class ServiceManager:
    """Who started us, if it wants to hear of us (NOTIFY_SOCKET); else nothing is sent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is one of Linux's abstract sockets (unix(7)).
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        given = environ.get("WATCHDOG_USEC", "")
        self._patience = int(given) / 1e6 if mine and given.isdecimal() and int(given) else math.inf

    def tell(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``; that nobody takes them is logged, and no error."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.warning("systemd cannot be told", message=lines[0], error=str(error))

    async def watched(self) -> None:
        """Say that the event loop turns, twice in the time that WATCHDOG_USEC allows, until cancelled."""
        while True:
            self.tell("WATCHDOG=1")
            await trio.sleep(self._patience / 2)
