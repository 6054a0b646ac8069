"""Text from outside, made harmless for a terminal.

Names in a graph are chosen by others: an escape sequence in one could change the window's title, hide what was printed
before, or worse; a mark for right-to-left text lets one name look like another.
"""

from __future__ import annotations

import re
from typing import Final

# Control characters of C0 and C1 (ECMA-48) but tab and line feed, what ends a line or turns its direction
# (Unicode, Bidirectional Character Types), and halves of surrogate pairs, which cannot be printed.
_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_LINE: Final = re.compile("[\t\n]")


def harmless(text: str) -> str:
    """The text with each harmful character written as ``\\u001b`` is; lines and tabs stay.

    JSON remains the same JSON, as these characters stand in its strings only.
    """
    return _HARMFUL.sub(_escaped, text)


def one_line(text: str) -> str:
    """The same, and lines and tabs are written so, too."""
    return _LINE.sub(_escaped, harmless(text))


def is_harmful(text: str) -> bool:
    """Whether `harmless` would change the text."""
    return _HARMFUL.search(text) is not None


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
