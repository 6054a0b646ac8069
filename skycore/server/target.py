"""The request target: which path and query a request is for (RFC 9112, section 3.2)."""

from __future__ import annotations

from typing import final
from urllib.parse import unquote

import attrs

from skycore.errors import Refusal


@final
@attrs.frozen
class Target:
    """``path`` is percent-decoded as UTF-8, ``raw_path`` and ``query`` are as they came, without the ``?``."""

    path: str
    raw_path: bytes
    query: bytes


def parse_target(target: bytes) -> Target:
    """Read a target in origin-form (``/path?query``), absolute-form (``http://host/path?query``) or ``*``.

    Raises Refusal (400) for anything else.
    """
    lowered = target[:8].lower()
    if lowered.startswith((b"http://", b"https://")):
        authority_and_path = target.split(b"://", 1)[1]
        cut = min((at for at in map(authority_and_path.find, (b"/", b"?")) if at >= 0), default=len(authority_and_path))
        target = authority_and_path[cut:]
        if not target.startswith(b"/"):
            target = b"/" + target
    elif not target.startswith(b"/") and target != b"*":
        raise Refusal(400, "malformed HTTP request: the target must begin with a slash")
    raw_path, _, query = target.partition(b"?")
    return Target(unquote(raw_path.decode("ascii"), errors="replace"), raw_path, query)
