"""inotify(7) as a trio-waitable object: names that appear in and vanish from watched directories."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import attrs
import trio

# linux/inotify.h
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

    def watch(self, directory: str) -> int:
        """Watch a directory's entries and its own end; returns the watch's number.

        Raises FileNotFoundError, NotADirectoryError or another OSError.
        """
        watch: int = _libc.inotify_add_watch(
            self._fd, os.fsencode(directory), ENTRIES | GONE & ~IN_IGNORED | IN_ONLYDIR
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


def _error(text: str, path: str | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{text}: {os.strerror(number)}", *([path] if path else []))
