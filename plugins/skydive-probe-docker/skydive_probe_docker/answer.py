"""Taking values out of what the daemon answered, which may be anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

# Docker gives 64 hexadecimal digits; what else answers this API may give other names.
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}")
_IMAGE_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{6,128}")

Answer = Mapping[str, Any]


class BadAnswer(Exception):
    """The daemon said something that is no answer of the Docker Engine API."""


def identifier(value: Any, what: str) -> str:
    """A container's ID, safe as a part of a path; BadAnswer for anything else."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise BadAnswer(f"{what} is no ID of a container: {str(value)[:80]!r}")
    return value


def is_image_id(value: str) -> bool:
    """Whether it is an image's ID, safe as a part of a path."""
    return _IMAGE_ID.fullmatch(value) is not None


def as_object(value: Any, what: str) -> Answer:
    """An object; null, which Docker writes for what is empty, is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswer(f"{what} is no object but {type(value).__name__}")
    return value


def as_text(value: Any, what: str) -> str:
    """A text as what can be written as UTF-8; null is an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadAnswer(f"{what} is no text but {type(value).__name__}")
    return value.encode("utf-8", "replace").decode("utf-8")


def section(answer: Answer, *path: str) -> Answer:
    """An object within objects."""
    for name in path:
        answer = as_object(answer.get(name), ".".join(path))
    return answer


def entries(answer: Answer, *path: str) -> list[Any]:
    """A list within objects; null is an empty one."""
    found = section(answer, *path[:-1]).get(path[-1])
    if found is None:
        return []
    if not isinstance(found, list):
        raise BadAnswer(f"{'.'.join(path)} is no list but {type(found).__name__}")
    return found


def text(answer: Answer, *path: str) -> str:
    """A text within objects."""
    return as_text(section(answer, *path[:-1]).get(path[-1]), ".".join(path))


def number(answer: Answer, *path: str) -> int:
    """An integer of 64 bits within objects; null is 0."""
    found = section(answer, *path[:-1]).get(path[-1])
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool) or not -(1 << 63) <= found < 1 << 63:
        raise BadAnswer(f"{'.'.join(path)} is no number: {str(found)[:40]!r}")
    return found


def flag(answer: Answer, *path: str) -> bool:
    """Whether a value within objects is true."""
    return section(answer, *path[:-1]).get(path[-1]) is True


def moment(answer: Answer, *path: str) -> int:
    """An RFC 3339 time in ms since the epoch; 0 for none, and for the year 1, by which Go means none."""
    try:
        found = datetime.fromisoformat(text(answer, *path))
        return max(int(found.timestamp() * 1000), 0) if found.tzinfo else 0
    except (ValueError, OverflowError):
        return 0
