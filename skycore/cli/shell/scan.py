"""What stands before the cursor of a query that is still being typed.

The parser of the language is the server's; a client only has to see where it is: whether a string or a call is open,
and which steps came before.
"""

from __future__ import annotations

from typing import Final, final

import attrs

_QUOTES: Final = "'\""


@final
@attrs.frozen
class Call:
    """A call that is open at the cursor: its name, where its name begins, and how many arguments are complete."""

    name: str
    start: int
    arguments: tuple[str, ...]


@final
@attrs.frozen
class Place:
    """Where a cursor is.

    ``steps`` are the names of the complete calls before it, outermost only; ``calls`` those that are open, outermost
    first.
    ``quote`` is the one that opened the string the cursor is in, "" outside of one; ``word`` is what was typed of the
    string or name, from ``start`` on; ``after_dot``: the word follows a full stop.
    """

    steps: tuple[str, ...]
    calls: tuple[Call, ...]
    quote: str
    word: str
    start: int
    after_dot: bool

    @property
    def complete(self) -> bool:
        """Whether nothing is open, so that the text could be a whole query."""
        return not self.calls and not self.quote


@attrs.define
class _Open:
    name: str
    start: int
    arguments: list[str]
    argument_start: int


def scan(text: str) -> Place:
    """Look at the text before the cursor."""
    steps: list[str] = []
    calls: list[_Open] = []
    quote = ""
    start = 0
    at = 0
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
                start = at + 1
        elif character in _QUOTES:
            quote, start = character, at + 1
        elif character == "(":
            name = text[start:at].strip()
            calls.append(_Open(name, start, [], at + 1))
            start = at + 1
        elif character == ")":
            if calls:
                closed = calls.pop()
                if not calls:
                    steps.append(closed.name)
            start = at + 1
        elif character == ",":
            if calls:
                calls[-1].arguments.append(text[calls[-1].argument_start : at].strip())
                calls[-1].argument_start = at + 1
            start = at + 1
        elif character == "." or character.isspace():
            if character == "." and not calls and text[start:at].strip().upper() == "G":
                steps.append("G")
            if (character == "." and not _number_before(text[start:at])) or character.isspace():
                start = at + 1
        at += 1
    before = text[:start].rstrip()
    return Place(
        tuple(steps),
        tuple(Call(one.name, one.start, tuple(one.arguments)) for one in calls),
        quote,
        text[start:],
        start,
        not quote and before.endswith("."),
    )


def _number_before(word: str) -> bool:
    return word.strip().lstrip("+-").isdigit()
