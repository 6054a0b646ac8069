"""Audit lines: who did what, from where, and how it ended; one log line each, never with a secret."""

from __future__ import annotations

from typing import Literal

import structlog

from skycore.errors import Refusal
from skycore.server.access import Caller
from skycore.server.auth.credentials import password, presented

log = structlog.get_logger("audit")

Login = Literal["login", "login failed", "logout", "too many wrong credentials"]
_LONGEST = 128


def request(name: str | None, caller: Caller, object: str, action: str, status: int) -> None:
    """A request that was refused or has written; ``name`` is None when it is not known who asked."""
    say = log.info if status < 400 else log.warning
    say(
        "access",
        user=_plain(name if name is not None else _claimed(caller)),
        known=name is not None,
        client=_client(caller),
        method=caller.method,
        path=_plain(caller.path),
        object=object,
        action=action,
        status=status,
    )


def login(event: Login, name: str | None, caller: Caller) -> None:
    """Somebody logged in or out, or could not."""
    say = log.info if event in ("login", "logout") else log.warning
    say(event, user=_plain(name), client=_client(caller), secure=caller.secure)


def _claimed(caller: Caller) -> str | None:
    """The user name that was given with a wrong password."""
    try:
        given = presented(caller)
    except Refusal:
        return None
    found = password(given.token) if given is not None else None
    return found.name if found is not None else None


def _client(caller: Caller) -> str:
    return "" if caller.client is None else caller.client[0]


def _plain(text: str | None) -> str | None:
    """Short, and without what could make a terminal or a reader of logs see other lines."""
    if text is None:
        return None
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_LONGEST])
    return shown if len(text) <= _LONGEST else shown + "…"
