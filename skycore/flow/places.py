"""Where in the graph the ends of flows are: nodes by TID, MAC and IP address, and what stands around them.

The index follows the graph's change log.  Most changes of nodes are of counters, which nobody asks for here; only
what can change an answer raises ``generation``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final, final

import attrs
import msgspec
import trio

from skycore.bus import Cursor
from skycore.filter import lookup
from skycore.graph.element import Revision
from skycore.graph.graph import Graph

_AT_A_TIME: Final = 256
_DEPTH: Final = 16
_OWNERSHIP: Final = b'"RelationType":"ownership"'
_LAYER_2: Final = b'"RelationType":"layer2"'
_ADDRESSES_OF_K8S: Final = (("IP",), ("ClusterIP",))


class _Named(msgspec.Struct, gc=False):
    TID: Any = None
    Name: Any = None
    Type: Any = None
    MAC: Any = None
    PeerIntfMAC: Any = None
    IPV4: Any = None
    IPV6: Any = None
    K8s: Any = None


_named = msgspec.json.Decoder(_Named).decode


@final
@attrs.frozen
class Place:
    """A node as flows may name it.  ``addresses`` are IP addresses without a length; what is not there is ""."""

    id: str
    host: str
    tid: str
    name: str
    type: str
    mac: str
    peer_mac: str
    addresses: tuple[str, ...]


@final
class Places:
    """All nodes of a graph, by what flows say of their ends.  It is as fresh as the last ``refresh``."""

    def __init__(self, graph: Graph) -> None:
        self.generation = 0
        self._graph = graph
        self._cursor: Cursor[Revision] = graph.log.cursor()
        self._places: dict[str, Place] = {}
        self._by_tid: dict[str, dict[str, None]] = {}
        self._by_mac: dict[str, dict[str, None]] = {}
        self._by_peer: dict[str, dict[str, None]] = {}
        self._by_address: dict[str, dict[str, None]] = {}
        self._ahead: Iterator[Revision] | None = iter(list(graph.nodes.values()))

    async def settle(self) -> None:
        """Catch up with the graph, in slices."""
        while self._ahead is not None:
            self._read_some()
            await trio.lowlevel.checkpoint()
        changes = iter(self._cursor.read().changes)
        while part := list(islice(changes, _AT_A_TIME)):
            self._update(part)
            await trio.lowlevel.checkpoint()

    def refresh(self) -> None:
        """Catch up with the graph at one go."""
        while self._ahead is not None:
            self._read_some()
        if self._cursor.pending:
            self._update(self._cursor.read().changes)

    def close(self) -> None:
        self._cursor.close()

    # ------------------------------------------------------------------ asking

    def place(self, id: str) -> Place | None:
        return self._places.get(id)

    def with_tid(self, tid: str) -> Place | None:
        """The node with a TID; of several the one that came first."""
        return next(self._all(self._by_tid, tid), None)

    def with_mac(self, mac: str) -> list[Place]:
        return list(self._all(self._by_mac, mac))

    def with_peer_mac(self, mac: str) -> list[Place]:
        """Nodes that know the MAC address of an interface behind them, as a tap that of its virtual machine."""
        return list(self._all(self._by_peer, mac))

    def with_address(self, address: str) -> list[Place]:
        return list(self._all(self._by_address, address))

    def count(self, address: str) -> int:
        """How many nodes have an IP address; of one that every host has more than one."""
        return 2 if is_loopback(address) else len(self._by_address.get(address, ()))

    def owner(self, place: Place) -> Place | None:
        """The node that owns it."""
        graph = self._graph
        for edge_id in graph.edges_in.get(place.id, ()):
            edge = graph.edges[edge_id]
            if edge.parent is not None and _OWNERSHIP in edge.metadata_json:
                return self._places.get(edge.parent)
        return None

    def namespace(self, place: Place) -> Place | None:
        """The network namespace in which a node is: the node of the namespace, or of the host."""
        found: Place | None = place
        for _ in range(_DEPTH):
            if found is None or found.type in ("netns", "host"):
                return found
            found = self.owner(found)
        return None

    def neighbours(self, place: Place, type: str) -> list[Place]:
        """Nodes of a type to which it has an edge, or which have one to it, by name."""
        graph = self._graph
        ends = [graph.edges[id].child for id in graph.edges_out.get(place.id, ())]
        ends += [graph.edges[id].parent for id in graph.edges_in.get(place.id, ())]
        found = {end: there for end in ends if end is not None and (there := self._places.get(end)) is not None}
        return sorted((one for one in found.values() if one.type == type), key=lambda one: (one.name, one.id))

    def revision(self, place: Place) -> Revision | None:
        """The node's revision now."""
        return self._graph.nodes.get(place.id)

    # ------------------------------------------------------------------ following

    def _all(self, index: dict[str, dict[str, None]], key: str) -> Iterator[Place]:
        return (self._places[id] for id in index.get(key, ()))

    def _read_some(self) -> None:
        assert self._ahead is not None
        part = list(islice(self._ahead, _AT_A_TIME))
        if not part:
            self._ahead = None
            return
        # What has changed meanwhile comes out of the log once more, and is read as it is now.
        self._update(now for one in part if (now := self._graph.nodes.get(one.id)) is not None)

    def _update(self, changes: Iterable[Revision]) -> None:
        for change in changes:
            if change.parent is None:
                self._update_node(change)
            elif _LAYER_2 not in change.metadata_json:
                self.generation += 1

    def _update_node(self, revision: Revision) -> None:
        before = self._places.get(revision.id)
        after = None if revision.deleted_at is not None else _place(revision)
        if before == after:
            return
        self.generation += 1
        if before is not None:
            del self._places[before.id]
            for index, keys in self._keys(before):
                for key in keys:
                    members = index[key]
                    members.pop(before.id, None)
                    if not members:
                        del index[key]
        if after is not None:
            self._places[after.id] = after
            for index, keys in self._keys(after):
                for key in keys:
                    index.setdefault(key, {})[after.id] = None

    def _keys(self, place: Place) -> Iterator[tuple[dict[str, dict[str, None]], Iterable[str]]]:
        """Each index with the keys under which it has the place; none twice."""
        yield self._by_tid, filter(None, (place.tid,))
        yield self._by_mac, filter(None, (place.mac,))
        yield self._by_peer, filter(None, (place.peer_mac,))
        yield self._by_address, place.addresses


def is_loopback(address: str) -> bool:
    """Whether an IP address, as the kernel writes it, is one of the host to itself."""
    # Nearly all addresses are others; to parse each would cost more than all else.
    return address.startswith(("127.", "::1")) and ip_address(address).is_loopback


def _place(revision: Revision) -> Place:
    found = _named(revision.metadata_json)
    addresses = [*_texts(found.IPV4), *_texts(found.IPV6)]
    if isinstance(found.K8s, dict):
        addresses += [one for path in _ADDRESSES_OF_K8S if isinstance(one := lookup(found.K8s, path), str)]
    bare = dict.fromkeys(one.partition("/")[0] for one in addresses)
    return Place(
        revision.id,
        revision.host,
        _text(found.TID),
        _text(found.Name),
        _text(found.Type),
        _text(found.MAC).lower(),
        _text(found.PeerIntfMAC).lower(),
        tuple(one for one in bare if one and one != "None"),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
