"""The state folders as a tree: which folders may be those of containers, and which of them changed.

A container's folder is ``ROOT/ID`` (runc, crun, podman, CRI-O) or ``ROOT/NAMESPACE/ID`` (containerd's shim).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

import attrs
import trio

from skycore.plugin import inotify
from skydive_probe_runc.state import FILES

_DEPTH = 2


@attrs.frozen
class _Folder:
    path: str
    depth: int


class StateTree:
    """Watches the folders below ``roots``, which may come and go."""

    def __init__(self, watcher: inotify.Inotify, roots: Iterable[str]) -> None:
        self._watcher = watcher
        self._roots = [inotify.Directory(watcher, root) for root in dict.fromkeys(roots)]
        self._watched: dict[int, _Folder] = {}
        self.unwatched: dict[str, OSError] = {}
        """Folders that cannot be watched, as when fs.inotify.max_user_watches is reached."""

    @property
    def missing(self) -> list[str]:
        """Roots that do not exist."""
        return [root.path for root in self._roots if not root.exists]

    def look(self) -> set[str]:
        """All folders that may be those of containers; from now on they are watched."""
        self.unwatched.clear()
        return {found for root in self._roots for found in self._below(root.path, 0)}

    async def changed(self, deadline: float = math.inf) -> set[str] | None:
        """Wait until something may have changed and return the folders it is about; None: look at all of them.

        At ``deadline`` (of trio's clock) it returns none.
        """
        with trio.move_on_at(deadline):
            await self._watcher.wait()
        events = self._watcher.read()
        if any(event.mask & inotify.IN_Q_OVERFLOW for event in events):
            self._watched.clear()
        found: set[str] = set()
        everything = False
        for root in self._roots:
            existed, names = root.exists, root.interpret(events)
            if names is None:
                # While a root is missing this may be about anything beside the place where it will be.
                everything = everything or existed or root.exists
            else:
                for name in names:
                    found |= self._entry(_Folder(root.path, 0), os.fsdecode(name))
        for event in events:
            found |= self._happened(event)
        return None if everything else found

    def _happened(self, event: inotify.Event) -> set[str]:
        folder = self._watched.get(event.watch)
        if folder is None:
            return set()
        if event.mask & inotify.GONE:
            self._watched.pop(event.watch, None)
            return {folder.path}
        if not event.name:
            return set()
        if folder.depth < _DEPTH:
            return self._entry(folder, os.fsdecode(event.name))
        return {folder.path}

    def _entry(self, folder: _Folder, name: str) -> set[str]:
        """An entry of a folder came, went or changed."""
        path = f"{folder.path}/{name}"
        if os.path.islink(path):
            # A second way to what is found by its own, or to anywhere.
            return set()
        if folder.depth > 0 and not os.path.isdir(path):
            # A file of a container that lies right below its root, or a folder that is gone.
            return {folder.path, path}
        return {path, *self._below(path, folder.depth + 1)}

    def _watch(self, folder: _Folder) -> bool:
        """Watch a folder; False when there is none (any more)."""
        try:
            self._watched[self._watcher.watch(folder.path, also=inotify.IN_CLOSE_WRITE | inotify.IN_DONT_FOLLOW)] = (
                folder
            )
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            self.unwatched[folder.path] = error
        return True

    def _below(self, path: str, depth: int) -> set[str]:
        """Watch a folder, then look into it: what comes in between is seen twice rather than never."""
        if depth > 0 and not self._watch(_Folder(path, depth)):
            return set()
        try:
            names = os.listdir(path)
        except OSError:
            return set()
        found = {path} if depth > 0 and any(name in FILES for name in names) else set()
        if depth < _DEPTH and not found:
            for name in names:
                found |= self._below(f"{path}/{name}", depth + 1)
        return found
