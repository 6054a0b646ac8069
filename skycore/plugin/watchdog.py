"""The watchdog: tells which plugin blocks the event loop.

A thread looks at a counter that the loop moves on; when it stands still for more than a second, the stack
of the loop's thread shows whose code is running.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping

import structlog
import trio

log = structlog.get_logger(__name__)


class Watchdog:
    """Watches the loop that ``run`` is started on.

    ``modules`` maps the top-level module of each running plugin to its name; ``blocked`` is called, on the
    loop, with the name (``core`` when no plugin's code was on the stack) and the seconds.
    """

    def __init__(
        self, modules: Callable[[], Mapping[str, str]], blocked: Callable[[str, float], None], *, threshold: float = 1.0
    ) -> None:
        self._modules = modules
        self._blocked = blocked
        self._threshold = threshold
        self._beat = time.monotonic()
        self._stop = threading.Event()
        self._found: list[tuple[str, float]] = []

    async def run(self) -> None:
        """Watch until cancelled."""
        thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="skycore-watchdog", daemon=True
        )
        self._beat = time.monotonic()
        thread.start()
        try:
            while True:
                await trio.sleep(self._threshold / 4)
                self._beat = time.monotonic()
                while self._found:
                    self._blocked(*self._found.pop(0))
        finally:
            self._stop.set()
            thread.join()

    def _watch(self, loop_thread: int) -> None:
        while not self._stop.wait(self._threshold / 4):
            beat = self._beat
            if time.monotonic() - beat < self._threshold:
                continue
            culprit, stack = self._look(loop_thread)
            log.warning("the event loop is blocked", by=culprit, stack=stack)
            while self._beat == beat and not self._stop.wait(self._threshold / 20):
                pass
            self._found.append((culprit, time.monotonic() - beat))

    def _look(self, loop_thread: int) -> tuple[str, str]:
        top = frame = sys._current_frames().get(loop_thread)
        modules = self._modules()
        while frame is not None:
            module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if module in modules:
                return modules[module], "".join(traceback.format_stack(top, limit=12))
            frame = frame.f_back
        return "core", "".join(traceback.format_stack(top, limit=12))
