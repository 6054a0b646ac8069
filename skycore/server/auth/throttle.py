"""Slowing down of guesses: who was wrong too often waits, by client and by user."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import final

import attrs
import trio

_REMEMBERED = 8192
_FORGIVEN_AFTER = 900.0


@final
@attrs.frozen
class Pace:
    """``free`` wrong guesses cost nothing; each further one doubles the pause, from 1 s up to ``longest``."""

    free: int
    longest: float

    def pause(self, failures: int) -> float:
        if failures < self.free:
            return 0.0
        return min(self.longest, float(2 ** min(failures - self.free, 30)))


BY_CLIENT = Pace(free=5, longest=60.0)
BY_USER = Pace(free=20, longest=8.0)
"""Milder, because whoever guesses at a user's password also keeps that user waiting."""


@final
@attrs.define
class _Record:
    failures: int = 0
    until: float = 0.0
    last: float = 0.0


@final
class Throttle:
    """Counts wrong credentials.

    A client is an IPv4 address or an IPv6 /64 (what one subscriber is given, RFC 6177).  Counts are forgotten
    15 minutes after the last failure, and the oldest beyond 8,192.
    """

    def __init__(self, *, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def wait(self, client: tuple[str, int] | None, name: str | None) -> float:
        """How many seconds this client must wait before it may try again; 0: it may."""
        now = trio.current_time()
        waits = (self._records[key].until - now for key, _ in _keys(client, name) if key in self._records)
        return max(0.0, *waits, 0.0)

    def attempt(self, client: tuple[str, int] | None, name: str | None) -> None:
        """Credentials are about to be checked.

        Counted as wrong until ``succeeded``, so that many guesses at once are no way around.
        """
        now = trio.current_time()
        for key, pace in _keys(client, name):
            record = self._records.pop(key, None)
            if record is None or now - record.last > _FORGIVEN_AFTER:
                record = _Record()
            record.failures += 1
            record.last = now
            record.until = now + pace.pause(record.failures)
            self._records[key] = record
        while len(self._records) > self._remembered:
            self._records.popitem(last=False)

    def succeeded(self, client: tuple[str, int] | None, name: str | None) -> None:
        """They were right.

        The user's count is forgotten; of the client's only this attempt, or one right password of somebody's own
        would buy new guesses at those of others.
        """
        self.take_back(client, name)
        if name is not None:
            self._records.pop(("user", name), None)

    def take_back(self, client: tuple[str, int] | None, name: str | None) -> None:
        """It could not be found out whether they were right: the attempt does not count."""
        for key, pace in _keys(client, name):
            record = self._records.get(key)
            if record is None:
                continue
            record.failures -= 1
            if record.failures <= 0:
                del self._records[key]
            elif pace.pause(record.failures) == 0:
                record.until = 0.0


def _keys(client: tuple[str, int] | None, name: str | None) -> list[tuple[tuple[str, str], Pace]]:
    keys = [(("client", _network(client)), BY_CLIENT)]
    if name is not None:
        keys.append((("user", name), BY_USER))
    return keys


def _network(client: tuple[str, int] | None) -> str:
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
