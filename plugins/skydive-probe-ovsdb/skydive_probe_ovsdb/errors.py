"""What goes wrong with a source: it is lost, or it says what it must not say."""

from __future__ import annotations


class SourceLost(Exception):
    """The daemon cannot be reached, refuses, hangs, or has gone; the text says which."""


class BadAnswer(SourceLost):
    """The daemon says what its protocol does not allow; the text says what."""
