"""Which namespace a namespace means by a number (IFLA_LINK_NETNSID), and the edges that follow from it.

The kernel gives no handle for such a number, but tells the number of any namespace that we can open; so
each namespace that the graph knows is asked once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import attrs

from skycore.plugin import Key, Namespace, NodeView, ProbeHost
from skydive_probe_netlink.codec import Link
from skydive_probe_netlink.linkdata import TUNNELS
from skydive_probe_netlink.metadata import KINDS_OVER_LOWER, PAIRS
from skydive_probe_netlink.socket import RequestSocket

_OWN_NAMESPACE: Final = ("", "/proc/self/ns/net")


class PeerNamespaces:
    """The namespaces behind the numbers that one namespace uses.

    ``view`` holds the netns nodes of the graph, each with a ``Path``.
    """

    def __init__(self, host: ProbeHost, requests: RequestSocket, view: NodeView) -> None:
        self._host = host
        self._requests = requests
        self._view = view
        self._known: dict[int, Namespace] = {}
        self._nodes: dict[int, str] = {}
        self._names: dict[str, str] = {}
        self._asked: dict[tuple[str, str], int | None] = {}

    def get(self, nsid: int) -> Namespace | None:
        return self._known.get(nsid)

    def name(self, nsid: int) -> str:
        """The name of the namespace's node; "" for the agent's own, which has none, and for unknown ones."""
        return self._names.get(self._nodes.get(nsid, ""), "")

    @property
    def named(self) -> bool:
        """Whether any known number belongs to a namespace with a node, whose name may change."""
        return any(self._nodes.values())

    def named_anew(self) -> set[int]:
        """See whether nodes have changed their names; returns the numbers of those."""
        before, self._names = self._names, _names(self._view.all())
        return {nsid for nsid, id in self._nodes.items() if before.get(id) != self._names.get(id)}

    def assigned(self) -> None:
        """The namespace gave a number to another: one that had none when it was asked may have it now."""
        self._asked = {candidate: number for candidate, number in self._asked.items() if number is not None}

    def forget(self, nsid: int) -> None:
        """The number means nothing any more; the kernel may give it to another namespace."""
        self._known.pop(nsid, None)
        self._nodes.pop(nsid, None)
        self._asked = {candidate: number for candidate, number in self._asked.items() if number not in {nsid, None}}

    async def search(self) -> set[int]:
        """Ask the namespaces not asked yet; returns the numbers that became known.  Their names come by named_anew."""
        nodes = self._view.all()
        candidates = [_OWN_NAMESPACE]
        candidates += [(id, path) for id, node in nodes if isinstance(path := node.get("Path"), str)]
        self._asked = {candidate: self._asked[candidate] for candidate in candidates if candidate in self._asked}
        found: set[int] = set()
        for candidate in candidates:
            if candidate in self._asked:
                continue
            self._asked[candidate] = None
            try:
                # NONBLOCK: a path that leads to a pipe must not hold us up.
                fd = os.open(candidate[1], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                # Not there yet, or not any more: asked again with the next search.
                del self._asked[candidate]
                continue
            try:
                nsid = await self._requests.nsid(fd)
                self._asked[candidate] = nsid
                if nsid is not None:
                    # Through the descriptor that was asked about: the path may mean another namespace by now.
                    namespace = self._host.netns(f"/proc/self/fd/{fd}")
                    self._known[nsid] = attrs.evolve(namespace, path=candidate[1])
                    self._nodes[nsid] = candidate[0]
                    found.add(nsid)
            finally:
                os.close(fd)
        return found


def _names(nodes: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, str]:
    return {id: name for id, node in nodes if isinstance(name := node.get("Name"), str)}


@attrs.frozen
class Edge:
    """A layer2 edge; ``type`` is its metadata ``Type``, "" for none."""

    parent: Key
    child: Key
    type: str = ""


class Edges:
    """The layer2 edges that interfaces ask for; one that two ask for, as veth peers do, stays until neither does."""

    def __init__(self) -> None:
        self._wanted: dict[int, frozenset[Edge]] = {}
        self._count: Counter[Edge] = Counter()

    def replace(self, index: int, wanted: frozenset[Edge]) -> tuple[list[Edge], list[Edge]]:
        """What interface ``index`` asks for from now on; returns the edges to add and those to remove."""
        before = self._wanted.get(index, frozenset())
        if wanted:
            self._wanted[index] = wanted
        else:
            self._wanted.pop(index, None)
        added = [edge for edge in wanted - before if not self._count[edge]]
        self._count.update(wanted - before)
        self._count.subtract(before - wanted)
        removed = [edge for edge in before - wanted if not self._count[edge]]
        for edge in removed:
            del self._count[edge]
        return added, removed

    def all(self) -> Iterable[Edge]:
        return self._count


def names_peer(link: Link) -> bool:
    """Whether an edge follows from the link's IFLA_LINK, or one to the way out of a tunnel from its namespace."""
    return (bool(link.lower) and (link.kind in PAIRS or link.kind in KINDS_OVER_LOWER)) or link.kind in TUNNELS


def edges_of(host: ProbeHost, link: Link, master: Link | None, peers: PeerNamespaces, egress: int) -> frozenset[Edge]:
    """The layer2 edges of one interface: to its master, its lower device, its peer, and a tunnel's way out.

    ``egress`` is the ifindex of the last, in the namespace in which the tunnel was made; 0 for none.
    """
    here = host.namespace
    key = host.interface_key(here, link.index)
    edges = set()
    # ovs-system only stands for the datapath; which bridge a port belongs to is known to ovsdb.
    if link.master and (master is None or master.name != b"ovs-system"):
        edges.add(Edge(host.interface_key(here, link.master), key))
    there = here if link.lower_nsid is None else peers.get(link.lower_nsid)
    lower_index = egress if link.kind in TUNNELS else link.lower
    if names_peer(link) and there is not None and lower_index and (there, lower_index) != (here, link.index):
        lower = host.interface_key(there, lower_index)
        # Both ends of a pair ask for their edge, so both must give it the same direction.
        turned = link.kind in PAIRS and (here.cookie, link.index) < (there.cookie, link.lower)
        edges.add(Edge(key, lower, link.kind) if turned else Edge(lower, key, link.kind))
    return frozenset(edges)
