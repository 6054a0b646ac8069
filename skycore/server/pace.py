"""How fast a client may ask: who is faster waits, and so do its bytes in the kernel's buffers."""

from __future__ import annotations

from typing import final

import trio


@final
class Pace:
    """``rate`` a second in the long run, ``burst`` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._step = 1.0 / rate
        self._burst = burst * self._step
        self._free_at = 0.0

    async def wait(self) -> None:
        """Take one; return when it is due (not always a checkpoint)."""
        now = trio.current_time()
        self._free_at = max(self._free_at, now - self._burst) + self._step
        if self._free_at > now:
            await trio.sleep(self._free_at - now)
