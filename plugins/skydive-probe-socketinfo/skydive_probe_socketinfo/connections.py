"""Who talks to whom on this host: from the sockets of all its namespaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from skycore.plugin import Key
from skydive_probe_socketinfo.codec import Socket
from skydive_probe_socketinfo.processes import Process

Pair: TypeAlias = tuple[Process, Process]


@attrs.frozen
class Conversation:
    """What two processes talk about: the ports of the one that is served from, and the protocols."""

    ports: set[int] = attrs.field(factory=set)
    protocols: set[str] = attrs.field(factory=set)


@attrs.frozen
class _End:
    place: Key
    socket: Socket
    process: Process


def conversations(
    places: Iterable[tuple[Key, Iterable[Socket]]], owners: Mapping[int, Process]
) -> dict[Pair, Conversation]:
    """The pairs (client, server) of different processes, of which each has a socket connected to one of the other's.

    Sockets of one namespace belong together when one's local end is the other's remote end.  Those of different
    namespaces too, unless the addresses are of the loopback, or several namespaces have such a pair.
    """
    ends: dict[tuple[str, str, int, str, int], list[_End]] = defaultdict(list)
    serving: set[tuple[Key, str, int]] = set()
    for place, sockets in places:
        for socket in sockets:
            if socket.state in {"LISTEN", "CLOSE"}:
                serving.add((place, socket.protocol, socket.local_port))
            elif socket.inode in owners and socket.remote_port:
                here = (socket.local_address, socket.local_port, socket.remote_address, socket.remote_port)
                ends[socket.protocol, *here].append(_End(place, socket, owners[socket.inode]))
    found: dict[Pair, Conversation] = {}
    for (protocol, local, local_port, remote, remote_port), mine in ends.items():
        theirs = ends.get((protocol, remote, remote_port, local, local_port), [])
        for one in mine:
            other = _counterpart(one, mine, theirs)
            if other is None or other.process == one.process:
                continue
            client, server = (one, other) if _is_client(one, other, serving) else (other, one)
            talk = found.setdefault((client.process, server.process), Conversation())
            talk.ports.add(server.socket.local_port)
            talk.protocols.add(protocol)
    return found


def _counterpart(one: _End, mine: list[_End], theirs: list[_End]) -> _End | None:
    same = [end for end in theirs if end.place == one.place]
    if same:
        return same[0]
    if _is_loopback(one.socket.local_address) or len(mine) != 1 or len(theirs) != 1:
        return None
    return theirs[0]


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _is_client(one: _End, other: _End, serving: set[tuple[Key, str, int]]) -> bool:
    """Whether ``other`` is the one that serves: on whose port somebody listens; else the one of the lower port."""

    def order(end: _End) -> tuple[bool, int, int]:
        served = (end.place, end.socket.protocol, end.socket.local_port) in serving
        return not served, end.socket.local_port, end.process.pid

    return order(other) < order(one)
