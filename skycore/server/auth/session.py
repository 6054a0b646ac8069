"""Sessions: opaque tokens that stand for a user who has logged in."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import final

import attrs
import trio

from skycore.plugin.auth import User

PREFIX = "sky."
"""What every token begins with.  The dot is not in the base64 alphabet, so none of them is a name and password."""

_BITS = 256
_MOST = 10_000
_MOST_OF_ONE_USER = 100


@final
@attrs.define(eq=False)
class Session:
    """One login; ``ended`` is set when it was ended, or had to make room."""

    user: User
    deadline: float
    ended: trio.Event = attrs.field(factory=trio.Event)

    @property
    def alive(self) -> bool:
        return not self.ended.is_set() and trio.current_time() < self.deadline


@final
class Sessions:
    """All sessions of one port; ``lifetime`` in seconds.

    Only digests of the tokens are kept.  The table is bounded: beyond 10,000 sessions, or 100 of one user, the
    oldest ends.
    """

    def __init__(self, lifetime: float, *, most: int = _MOST, most_of_one_user: int = _MOST_OF_ONE_USER) -> None:
        self._lifetime = lifetime
        self._most = most
        self._most_of_one_user = most_of_one_user
        # In order of their start, and so of their end.
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._of_user: dict[str, OrderedDict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def lifetime(self) -> float:
        """How long a session lasts, in seconds."""
        return self._lifetime

    def begin(self, user: User) -> str:
        """A new session; its token is known to the caller alone."""
        self._expire()
        mine = self._of_user.get(user.name, OrderedDict())
        if len(mine) >= self._most_of_one_user:
            self._end(next(iter(mine)))
        elif len(self._sessions) >= self._most:
            self._end(next(iter(self._sessions)))
        token = PREFIX + secrets.token_urlsafe(_BITS // 8)
        key = _digest(token)
        self._sessions[key] = Session(user, trio.current_time() + self._lifetime)
        self._of_user.setdefault(user.name, OrderedDict())[key] = None
        return token

    def find(self, token: str) -> Session | None:
        """The living session of a token."""
        session = self._sessions.get(_digest(token))
        return session if session is not None and session.alive else None

    def end(self, token: str) -> Session | None:
        """End a session; None when there was none."""
        return self._end(_digest(token))

    def _end(self, key: bytes) -> Session | None:
        session = self._sessions.pop(key, None)
        if session is None:
            return None
        mine = self._of_user[session.user.name]
        del mine[key]
        if not mine:
            del self._of_user[session.user.name]
        session.ended.set()
        return session

    def _expire(self) -> None:
        while self._sessions:
            key, oldest = next(iter(self._sessions.items()))
            if oldest.alive:
                return
            self._end(key)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
