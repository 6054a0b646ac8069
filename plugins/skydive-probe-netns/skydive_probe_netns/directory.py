"""A directory that may not exist yet, and may vanish and come back: which of its entries may have changed."""

from __future__ import annotations

import math
import os

import trio

from skydive_probe_netns.inotify import GONE, IN_Q_OVERFLOW, Inotify


class Directory:
    """Watches the entries of ``path``; as long as there is no such directory, the nearest one above it."""

    def __init__(self, inotify: Inotify, path: str) -> None:
        self.path = os.path.abspath(path)
        self.exists = False
        self._inotify = inotify
        self._watch = -1
        self._attach()

    def entries(self) -> set[bytes]:
        """Names of the entries, none when there is no such directory."""
        try:
            return set(os.listdir(os.fsencode(self.path)))
        except (FileNotFoundError, NotADirectoryError):
            return set()

    async def changed(self, deadline: float = math.inf) -> set[bytes] | None:
        """Wait until entries may have changed and return their names; None: look at all of them.

        At ``deadline`` (of trio's clock) it returns no names.
        """
        with trio.move_on_at(deadline):
            await self._inotify.wait()
        events = self._inotify.read()
        # After an overflow of the kernel's queue also the directory's own end may have been missed.
        lost = any(event.mask & IN_Q_OVERFLOW for event in events)
        ours = [event for event in events if event.watch == self._watch]
        if lost or (ours and not self.exists) or any(event.mask & GONE for event in ours):
            self._attach()
            return None
        return {event.name for event in ours if event.name}

    def _attach(self) -> None:
        """Watch the directory, or what will tell of its coming."""
        before, missing, path = self._watch, "", self.path
        while True:
            try:
                self._watch = self._inotify.watch(path)
            except (FileNotFoundError, NotADirectoryError):
                missing, path = path, os.path.dirname(path)
                continue
            if path == self.path or not os.path.isdir(missing):
                break
            # It came after we looked for it and before we watched the one above.
            path = self.path
        self.exists = path == self.path
        if before not in {-1, self._watch}:
            self._inotify.unwatch(before)
