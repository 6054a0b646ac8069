"""JSON objects one after the other, without anything between them that would say where one ends (RFC 7047, 4)."""

from __future__ import annotations

import re
from typing import Final

from skydive_probe_ovsdb.errors import BadAnswer

_TO_BRACE: Final = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""Whatever is neither a brace nor a string that is not closed yet."""
_TO_QUOTE: Final = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_SPACE: Final = b" \t\r\n"


class Splitter:
    """Cuts a stream of bytes into its objects; each byte is looked at a bounded number of times."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._in_text = False

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that are complete by now; raises BadAnswer when there are none to come, or one is too large."""
        self._buffer += data
        found = []
        while (end := self._scan()) is not None:
            found.append(bytes(self._buffer[:end]))
            del self._buffer[:end]
            self._at = 0
        if len(self._buffer) > self._limit:
            raise BadAnswer(f"a message of more than {self._limit} bytes")
        return found

    def _scan(self) -> int | None:
        """Where the first object ends, if it does."""
        buffer = self._buffer
        if not self._depth and not self._at:
            del buffer[: len(buffer) - len(buffer.lstrip(_SPACE))]
            if buffer and buffer[0] != 0x7B:
                raise BadAnswer(f"a message begins with {bytes(buffer[:20])!r}; a JSON object was expected")
        while self._at < len(buffer):
            if self._in_text:
                self._at = _matched(_TO_QUOTE, buffer, self._at)
                if self._at >= len(buffer) or buffer[self._at] != 0x22:
                    return None
                self._in_text = False
                self._at += 1
            self._at = _matched(_TO_BRACE, buffer, self._at)
            if self._at >= len(buffer):
                return None
            letter = buffer[self._at]
            self._at += 1
            if letter == 0x22:
                self._in_text = True
            elif letter == 0x7B:
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    return self._at
        return None


def _matched(pattern: re.Pattern[bytes], buffer: bytearray, start: int) -> int:
    found = pattern.match(buffer, start)
    return found.end() if found else start
