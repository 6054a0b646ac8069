"""What waits for one client: the newest for each key, in bounds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar, final

import trio

K = TypeVar("K", bound=Hashable)


@final
class Mailbox(Generic[K]):
    """Values by key, in the order in which their keys came.

    A newer value takes the place of the one that waits under its key (``coalesced``).  Where ``most`` bytes would be
    exceeded, the oldest leaves (``dropped``).  Putting never waits.
    """

    def __init__(self, most: int) -> None:
        self.coalesced = 0
        self.dropped = 0
        self._most = most
        self._waiting: dict[K, bytes] = {}
        self._size = 0
        self._news = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: K, value: bytes) -> None:
        """Have a value wait."""
        before = self._waiting.get(key)
        if before is not None:
            self.coalesced += 1
            self._size -= len(before)
        self._waiting[key] = value
        self._size += len(value)
        while self._size > self._most and self._waiting:
            oldest = next(iter(self._waiting))
            self._size -= len(self._waiting.pop(oldest))
            self.dropped += 1
        self._news.set()

    async def take(self, count: int) -> list[tuple[K, bytes]]:
        """The oldest, ``count`` at most; waits until there are some."""
        while not self._waiting:
            self._news = trio.Event()
            await self._news.wait()
        taken = [(key, self._waiting[key]) for key, _ in zip(self._waiting, range(count), strict=False)]
        for key, value in taken:
            del self._waiting[key]
            self._size -= len(value)
        return taken
