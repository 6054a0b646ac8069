"""Reads the small text files of /proc and /sys below a root folder; what cannot be read is None or empty."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import attrs

_MOST: Final = 8 << 20
"""Bytes of one file that are read; /proc/cpuinfo of a machine with thousands of processors has some 4 MB."""
_PART: Final = 64 << 10


@attrs.frozen
class Files:
    """The file system below ``root``: ``/`` on a real host, a recorded one in tests."""

    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """A file's content, stripped; bytes that are no UTF-8 are written ``\\xNN``."""
        try:
            with open(self.root / path, "rb", buffering=0) as file:
                # The kernel refuses to give a parameter to whoever asks for megabytes at once.
                content = b""
                while len(content) < _MOST and (part := file.read(_PART)):
                    content += part
                return content.decode("utf-8", "backslashreplace").strip(" \n\0")
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds one number, decimal or ``0x…``."""
        try:
            return int(self.text(path) or "", 0)
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """What a folder holds, sorted; numbers in names by their value."""
        try:
            return sorted(os.listdir(self.root / path), key=_natural)
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(self.root / path)

    def target(self, path: str) -> str | None:
        """The last part of what a symbolic link points to."""
        try:
            return os.path.basename(os.readlink(self.root / path))
        except OSError:
            return None


def _natural(name: str) -> list[tuple[int, str]]:
    parts: list[tuple[int, str]] = []
    digits = ""
    for character in [*name, ""]:
        if character.isascii() and character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((int(digits), ""))
            digits = ""
        parts.append((-1, character))
    return parts
