"""How long an API object lives: the header ``X-Resource-TTL``, a duration as Go writes it (``1h30m``, ``2.5s``)."""

from __future__ import annotations

import re
from typing import Final

from skycore.errors import InvalidResource

_MILLISECONDS: Final = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_PART: Final = re.compile(r"([0-9]{0,18})(\.[0-9]{0,18})?([^0-9.+-]{0,8})")
_LONGEST: Final = 1 << 63


def parse_ttl(text: str | None) -> int | None:
    """Milliseconds to live, at least 1; None for no text, and for a duration of zero or less (as in etcd: for ever).

    Raises InvalidResource with Go's texts.
    """
    if not text:
        return None
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return None
    total = 0.0
    if not rest:
        raise _fault(f"invalid duration {_quote(text)}")
    while rest:
        found = _PART.match(rest)
        if found is None or (not found[1] and (found[2] or ".") == "."):
            raise _fault(f"invalid duration {_quote(text)}")
        if not found[3]:
            raise _fault(f"missing unit in duration {_quote(text)}")
        if found[3] not in _MILLISECONDS:
            raise _fault(f"unknown unit {_quote(found[3])} in duration {_quote(text)}")
        total += float((found[1] or "0") + (found[2] or "")) * _MILLISECONDS[found[3]]
        rest = rest[found.end() :]
    if total * 1e6 >= _LONGEST:
        raise _fault(f"invalid duration {_quote(text)}")
    if text.startswith("-") or total == 0:
        return None
    return max(1, round(total))


def _fault(reason: str) -> InvalidResource:
    return InvalidResource(f"invalid ttl: time: {reason}")


def _quote(text: str) -> str:
    return '"' + text[:100].replace("\\", "\\\\").replace('"', '\\"') + '"'
