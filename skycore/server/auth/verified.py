"""Passwords that were right a moment ago, so that Basic authentication of each request does not hash each time."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from typing import final

import trio

from skycore.plugin.auth import AuthBackend, User
from skycore.server.auth.credentials import Password

_KEPT = 1024
_SECONDS = 300.0


@final
class Verified:
    """Remembers users by a digest of name and password under a key that only this process knows; no passwords.

    Requests that come with the same credentials at once wait for one check.
    """

    def __init__(self, backend: AuthBackend) -> None:
        self._backend = backend
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[User, float]] = OrderedDict()
        self._checking: dict[bytes, trio.Event] = {}

    def digest(self, given: Password) -> bytes:
        """What stands for these credentials here."""
        text = f"{len(given.name)} {given.name}{given.password}"
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")

    async def find(self, digest: bytes) -> User | None:
        """Who was found to have these credentials, after a check of them that is going on; None: check them."""
        while (checking := self._checking.get(digest)) is not None:
            await checking.wait()
        found = self._known.get(digest)
        if found is None:
            return None
        user, until = found
        if trio.current_time() >= until or not await self._backend.still(user):
            self._known.pop(digest, None)
            return None
        return user

    async def check(self, digest: bytes, given: Password) -> User | None:
        """Ask the backend; what it says is remembered when they are right."""
        done = self._checking[digest] = trio.Event()
        try:
            user = await self._backend.by_password(given.name, given.password)
        finally:
            del self._checking[digest]
            done.set()
        if user is not None:
            self._known[digest] = (user, trio.current_time() + _SECONDS)
            self._known.move_to_end(digest)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return user
