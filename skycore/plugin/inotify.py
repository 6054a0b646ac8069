"""inotify(7) for plugins that follow directories: a trio-waitable object, and a directory that may not be there yet.

Imported only by plugins that ask for it: ``from skycore.plugin import inotify``.
"""

from __future__ import annotations

import ctypes
import math
import os
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self

import attrs
import trio

# linux/inotify.h
IN_CLOSE_WRITE: Final = 0x0000_0008
IN_MOVED_FROM: Final = 0x0000_0040
IN_MOVED_TO: Final = 0x0000_0080
IN_CREATE: Final = 0x0000_0100
IN_DELETE: Final = 0x0000_0200
IN_DELETE_SELF: Final = 0x0000_0400
IN_MOVE_SELF: Final = 0x0000_0800
IN_UNMOUNT: Final = 0x0000_2000
IN_Q_OVERFLOW: Final = 0x0000_4000
IN_IGNORED: Final = 0x0000_8000
IN_ONLYDIR: Final = 0x0100_0000
IN_DONT_FOLLOW: Final = 0x0200_0000

ENTRIES: Final = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
GONE: Final = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED
"""The watched directory is no longer what its path means."""

_EVENT = struct.Struct("=iIII")  # struct inotify_event, without its name
_READ_SIZE: Final = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


@attrs.frozen
class Event:
    """``watch`` is −1 for IN_Q_OVERFLOW; ``name`` is that of the directory's entry, empty for the directory itself."""

    watch: int
    mask: int
    name: bytes


def parse(buffer: bytes) -> Iterator[Event]:
    """The events of a buffer read from an inotify descriptor; ValueError when one is cut off."""
    start = 0
    while start < len(buffer):
        if len(buffer) - start < _EVENT.size:
            raise ValueError(f"{len(buffer) - start} bytes left at offset {start}, too few for an inotify event")
        watch, mask, _cookie, length = _EVENT.unpack_from(buffer, start)
        start += _EVENT.size
        if length > len(buffer) - start:
            raise ValueError(f"an inotify event's name of {length} bytes at offset {start} passes the buffer's end")
        yield Event(watch, mask, buffer[start : start + length].split(b"\0", 1)[0])
        start += length


class Inotify:
    """An inotify instance; use it in a ``with``."""

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _error("cannot watch directories; is fs.inotify.max_user_instances reached?")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def watch(self, directory: str, also: int = 0) -> int:
        """Watch a directory's entries and its own end; returns the watch's number.

        ``also`` are further events, such as IN_CLOSE_WRITE.  Raises FileNotFoundError, NotADirectoryError or
        another OSError.
        """
        watch: int = _libc.inotify_add_watch(
            self._fd, os.fsencode(directory), ENTRIES | GONE & ~IN_IGNORED | IN_ONLYDIR | also
        )
        if watch < 0:
            raise _error("cannot watch", directory)
        return watch

    def unwatch(self, watch: int) -> None:
        """End a watch; no error when it has ended by itself."""
        _libc.inotify_rm_watch(self._fd, watch)

    async def wait(self) -> None:
        """Return when there are events to read."""
        await trio.lowlevel.wait_readable(self._fd)

    def read(self) -> list[Event]:
        """What has happened since the last read; never waits."""
        try:
            return list(parse(os.read(self._fd, _READ_SIZE)))
        except BlockingIOError:
            return []


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
        return self.interpret(self._inotify.read())

    def interpret(self, events: Iterable[Event]) -> set[bytes] | None:
        """The same of events that were read already, for those who share the inotify instance."""
        events = list(events)
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


def _error(text: str, path: str | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{text}: {os.strerror(number)}", *([path] if path else []))
