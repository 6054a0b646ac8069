"""The items of a JSON list whose text comes in pieces."""

from __future__ import annotations

import re
from typing import Final, final

# Nothing after the string's inside can fail, so the pattern never looks back.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"?)|[\[\]{},]', re.DOTALL)
_SPACE: Final = b" \t\r\n"


class SplitError(Exception):
    """The text is not one JSON list."""


@final
class Splitter:
    """Cuts the text of a JSON list into the texts of its items, as soon as each is complete.

    It only finds the ends of items; whether an item is JSON, its reader finds out.  At most one item is kept, and
    each byte is looked at once, but those of a string that is cut.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._looked = 0
        self._depth = 0
        self._done = False
        self._items = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The items that these bytes complete.  Raises SplitError."""
        self._kept += data
        text, start = self._kept, 0
        items: list[bytes] = []
        for token in _TOKEN.finditer(text, self._looked):
            at = token.start()
            if token["end"] is not None:
                if not token["end"]:
                    # A string that goes on in the next piece: look at it again.
                    self._looked = at
                    break
                if self._depth == 0:
                    raise SplitError("a string outside of the list")
            else:
                match text[at]:
                    case 0x5B | 0x7B:
                        if self._depth == 0:
                            if self._done or text[at] != 0x5B or text[start:at].strip(_SPACE):
                                raise SplitError("this is no list")
                            start = at + 1
                        self._depth += 1
                    case 0x5D | 0x7D:
                        self._depth -= 1
                        if self._depth < 0 or (self._depth == 0 and text[at] != 0x5D):
                            raise SplitError("a bracket too many")
                        if self._depth == 0:
                            self._end(bytes(text[start:at]), items, last=True)
                            self._done, start = True, at + 1
                    case _ if self._depth == 1:
                        self._end(bytes(text[start:at]), items)
                        start = at + 1
            self._looked = token.end()
        else:
            self._looked = max(self._looked, len(text))
        del text[:start]
        self._looked -= start
        if self._done and text.strip(_SPACE):
            raise SplitError("text after the list")
        return items

    def close(self) -> None:
        """There is no more.  Raises SplitError when the list is not complete."""
        if not self._done:
            raise SplitError("the list has no end" if self._depth or self._kept else "there is no list")

    def _end(self, item: bytes, items: list[bytes], *, last: bool = False) -> None:
        if item.strip(_SPACE):
            self._items += 1
            items.append(item)
        elif not last or self._items:
            raise SplitError("an item is missing")
