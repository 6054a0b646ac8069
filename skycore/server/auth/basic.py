"""The backend ``basic``: users from an htpasswd file, or written in the configuration."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, final

import structlog
import trio

from skycore.config.sections import BasicAuth
from skycore.errors import AuthUnavailable
from skycore.plugin.auth import User
from skycore.server.auth import htpasswd

log = structlog.get_logger(__name__)

_CHECK_EVERY = 1.0
_THREADS = 2
_WAITING = 64


@final
class BasicBackend:
    """Checks names and passwords; the file is read again when it has changed.

    Hashes are computed in two threads at most, and 64 requests may wait for them.
    """

    section: ClassVar[str] = "auth.basic"
    Settings: ClassVar[type] = BasicAuth

    def __init__(self, settings: BasicAuth) -> None:
        if not settings.file and not settings.users:
            raise ValueError("expects a file (key file, made by htpasswd) or users (key users)")
        self._path = Path(settings.file) if settings.file else None
        self._key = secrets.token_bytes(32)
        self._entries: Mapping[str, str] = {} if self._path else dict(settings.users)
        self._faults: tuple[str, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._next_look = 0.0
        self._trouble = ""
        self._threads = trio.CapacityLimiter(_THREADS)
        self._waiting = 0
        if self._path is not None:
            try:
                self._read(self._path)
            except OSError as error:
                raise ValueError(f"file {str(self._path)!r} cannot be read: {error.strerror or error}") from error
            except ValueError as error:
                raise ValueError(f"file {str(self._path)!r}: {error}") from error
            if not self._entries:
                reason = f": {self._faults[0]}" if self._faults else ""
                raise ValueError(f"file {str(self._path)!r} has no usable line{reason}")

    async def by_password(self, name: str, password: str) -> User | None:
        """The user with this password; takes as long when there is no such user."""
        await self._look()
        entry = self._entries.get(name)
        # Hashed for the time it takes only: who asks for a user that is not there must not notice.
        decoy = next((each for each in self._entries.values() if _is_hash(each)), None)
        if self._waiting >= _WAITING:
            raise AuthUnavailable(f"{_WAITING} passwords are being checked; try again later")
        self._waiting += 1
        try:
            right = await trio.to_thread.run_sync(_verify, entry, decoy, password, limiter=self._threads)
        finally:
            self._waiting -= 1
        return User(name, self._stamp(entry)) if right and entry is not None else None

    async def by_token(self, token: str) -> User | None:
        """There are no tokens besides Skycore's own."""
        return None

    async def still(self, user: User) -> bool:
        """Whether the user exists with the same password."""
        await self._look()
        entry = self._entries.get(user.name)
        return entry is not None and hmac.compare_digest(self._stamp(entry), user.stamp)

    def _stamp(self, entry: str) -> str:
        return hmac.digest(self._key, entry.encode("utf-8", "surrogatepass"), "sha256").hex()

    async def _look(self) -> None:
        """Read the file again when it has changed; at most once a second."""
        now = trio.current_time()
        if self._path is None or now < self._next_look:
            return
        self._next_look = now + _CHECK_EVERY
        trouble = ""
        try:
            await trio.to_thread.run_sync(self._read, self._path)
        except (OSError, ValueError) as error:
            trouble = str(error)
            # Kept as it was: half-written, or away while it is replaced.
            if trouble != self._trouble:
                log.error(
                    "the password file cannot be read; what it held before counts", file=str(self._path), error=trouble
                )
        self._trouble = trouble

    def _read(self, path: Path) -> None:
        state = os.stat(path)
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen == self._seen:
            return
        if state.st_size > htpasswd.MAX_BYTES:
            raise ValueError(f"it is larger than {htpasswd.MAX_BYTES} bytes")
        found = htpasswd.parse(path.read_text(encoding="utf-8"))
        self._seen = seen
        self._entries = found.hashes
        self._faults = found.faults
        if found.faults:
            log.warning("lines of the password file are passed over", file=str(path), lines=list(found.faults[:20]))
        weak = sorted(name for name, entry in found.hashes.items() if htpasswd.is_weak(entry))
        if weak:
            log.warning(
                "passwords are kept in a weak form; renew them with skycore config password", file=str(path), users=weak
            )


def _is_hash(entry: str) -> bool:
    return htpasswd.hash_fault(entry) is None


def _verify(entry: str | None, decoy: str | None, password: str) -> bool:
    if entry is not None and _is_hash(entry):
        return htpasswd.verify(entry, password)
    if decoy is not None:
        htpasswd.verify(decoy, password)
    return hmac.compare_digest(_plain_digest(entry or ""), _plain_digest(password)) and entry is not None


def _plain_digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()
