"""The sockets of one namespace: what came, what went, and what is to be told of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any, Final

import attrs

from skydive_probe_socketinfo.codec import PROTOCOLS, Cookie, Sighting, Socket, decode
from skydive_probe_socketinfo.keys import SOCKET, Listed, said
from skydive_probe_socketinfo.processes import Process

_LASTING: Final = frozenset({"LISTEN", "ESTABLISHED", "CLOSE"})
"""States in which a socket stays until somebody does something; in the others it is on its way."""

_ENTRY: Final = 256
"""Bytes that a socket takes as JSON at most, without the strings that its process chose."""

_LARGEST: Final = 3 << 20
"""Bytes of JSON of a whole list: a node may have 4 MiB, and a path may have 4 KiB before it is escaped."""

_RANK: Final = {"LISTEN": 0, "CLOSE": 0, "ESTABLISHED": 1}


@attrs.frozen
class Listing:
    """What a node says of its sockets: the JSON form of each, and how many did not fit.

    ``size`` is how many bytes of JSON it takes at most.
    """

    sockets: list[dict[str, Any]]
    omitted: int
    size: int


class _Table:
    """The sockets of one protocol that have a file."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._sightings: dict[Cookie, Sighting] = {}
        self.sockets: dict[Cookie, Socket] = {}
        # Not in the last dump.  A dump may pass over a socket when others come and go, so that is no proof yet.
        self._missing: Set[Cookie] = frozenset()
        self._closed: set[Cookie] = set()

    def apply(self, found: Mapping[Cookie, Sighting]) -> Iterator[Socket]:
        """Take over a dump; yields what changed, before and after."""
        for cookie, sighting in found.items():
            if self._sightings.get(cookie) == sighting or cookie in self._closed:
                continue
            before = self.sockets.get(cookie)
            if before is not None:
                yield before
            if sighting[3]:
                self._sightings[cookie] = sighting
                self.sockets[cookie] = after = decode(self._protocol, sighting)
                yield after
            elif before is not None:
                self._forget(cookie)
        missing = self.sockets.keys() - found.keys()
        for cookie in missing & self._missing:
            yield self._forget(cookie)
        self._missing = missing - self._missing
        # A dump that began before a socket was closed may still hold it; the next one does not.
        self._closed &= found.keys()

    def close(self, cookie: Cookie) -> Socket | None:
        """The kernel says that the socket is no more."""
        self._closed.add(cookie)
        return self._forget(cookie) if cookie in self.sockets else None

    def _forget(self, cookie: Cookie) -> Socket:
        del self._sightings[cookie]
        return self.sockets.pop(cookie)


class Inventory:
    """The sockets of one namespace that have a file, and what changed since it was last asked.

    ``changed``: a listening, bound or established socket came, went or changed hands; ``passing``: only sockets that
    are being opened or closed did.
    """

    def __init__(self) -> None:
        self._tables = {protocol: _Table(protocol) for protocol in PROTOCOLS}
        self.changed = True
        self.passing = False

    def __len__(self) -> int:
        return sum(len(table.sockets) for table in self._tables.values())

    def __iter__(self) -> Iterator[Socket]:
        for table in self._tables.values():
            yield from table.sockets.values()

    def apply(self, protocol: str, found: Mapping[Cookie, Sighting]) -> None:
        """Take over a complete dump of a protocol's sockets."""
        for socket in self._tables[protocol].apply(found):
            self._note(socket)

    def close(self, cookies: Iterable[Cookie]) -> int:
        """Take out sockets that were closed; returns how many of them had never been seen."""
        unseen = 0
        for cookie in cookies:
            closed = [socket for table in self._tables.values() if (socket := table.close(cookie)) is not None]
            for socket in closed:
                self._note(socket)
            unseen += not closed
        return unseen

    def handed_over(self, inodes: Collection[int]) -> None:
        """Other processes hold the sockets of these inodes now, or the same under another name."""
        if inodes and not self.changed:
            for socket in self:
                if socket.inode in inodes:
                    self._note(socket)

    def told(self) -> None:
        """What changed so far has been told."""
        self.changed = self.passing = False

    def listing(self, owners: Mapping[int, Process], limit: int) -> Listing:
        """The sockets that have a process, at most ``limit``: listening and bound ones first, then by age."""
        owned = [socket for socket in self if socket.inode in owners]
        owned.sort(key=lambda socket: (_RANK.get(socket.state, 2), socket.age))
        shown: list[dict[str, Any]] = []
        sizes: dict[Process, int] = {}
        size = 0
        for socket in owned[:limit]:
            process = owners[socket.inode]
            if process not in sizes:
                sizes[process] = _ENTRY + len(json.dumps(process.path)) + len(json.dumps(process.name))
            if size + sizes[process] > _LARGEST:
                break
            size += sizes[process]
            shown.append(said(SOCKET, Listed(socket, process)))
        return Listing(shown, len(owned) - len(shown), size)

    def _note(self, socket: Socket) -> None:
        if socket.state in _LASTING:
            self.changed = True
        else:
            self.passing = True
