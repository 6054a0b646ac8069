"""When something is mounted or unmounted: proc_pid_mountinfo(5) tells poll(2) of it, each reader once.

No event of inotify tells that a namespace is mounted on a file, or taken from it while the file stays: dockerd removes
the file of a namespace up to a minute after it has unmounted it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import trio

_PAUSE: Final = 0.02
"""Mounts come in bursts, a container's by the half dozen."""

_OTHERS = re.compile(r"(/.*/\d+)/root(?:/|$)")
"""Where a path leads through proc_pid_root(5) into the mount namespace of a process."""


class Mounts:
    """Follows the mount namespace that ``path`` leads into; use it in a ``with``.  Raises OSError."""

    def __init__(self, path: str) -> None:
        inside = _OTHERS.match(path)
        table = f"{inside[1]}/mountinfo" if inside else ""
        self._table = open(table if os.path.exists(table) else "/proc/self/mountinfo", "rb")  # noqa: SIM115
        self._epoll = select.epoll()
        self._epoll.register(self._table, select.EPOLLPRI)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._epoll.close()
        self._table.close()

    async def follow(self, look: Callable[[], object]) -> None:
        """Call ``look`` now, and after each burst of changes, until cancelled."""
        send, receive = trio.open_memory_channel[None](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, send)
            async for _ in receive:
                look()

    async def _listen(self, send: trio.MemorySendChannel[None]) -> None:
        while True:
            with contextlib.suppress(trio.WouldBlock):
                send.send_nowait(None)
            # Whoever asks whether something has changed takes the answer away, and to begin to wait asks, too.  What
            # was taken away then is seen by the look just sent for, as that is another task's and comes later.
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            await trio.sleep(_PAUSE)
