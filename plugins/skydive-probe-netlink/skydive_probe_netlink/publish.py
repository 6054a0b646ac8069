"""What the probe says to the graph: nodes of interfaces, and the edges between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from skycore.plugin import Key, ProbeHost
from skydive_probe_netlink import ethtool
from skydive_probe_netlink.codec import Link
from skydive_probe_netlink.linkdata import TUNNELS
from skydive_probe_netlink.metadata import interface_metadata
from skydive_probe_netlink.metrics import Sampler
from skydive_probe_netlink.model import Interfaces
from skydive_probe_netlink.peers import Edge, Edges, PeerNamespaces, edges_of
from skydive_probe_netlink.programs import Programs
from skydive_probe_netlink.tables import NAMESPACE, Tables

_RULES: Final = "rules"
"""The scope of what is said of the namespace itself; inventories of interfaces leave it alone."""


class Publisher:
    """Says the interfaces that changed, or all of them.  ``fd`` is a socket of their namespace, for ethtool."""

    def __init__(
        self,
        host: ProbeHost,
        interfaces: Interfaces,
        sampler: Sampler,
        peers: PeerNamespaces,
        tables: Tables,
        programs: Programs,
        fd: int,
    ) -> None:
        self._host = host
        self._graph = host.graph
        self._interfaces = interfaces
        self._sampler = sampler
        self._peers = peers
        self._tables = tables
        self._programs = programs
        self._fd = fd
        self._edges = Edges()
        self._said: set[int] = set()
        self._drivers: dict[int, str] = {}

    def say(self, indexes: Iterable[int]) -> None:
        """Bring what the graph holds of these interfaces to what is known of them, in one transaction."""
        with self._graph.transaction():
            for index in indexes:
                if index == NAMESPACE:
                    self._say_namespace()
                    continue
                link = self._interfaces.links.get(index)
                added, removed = self._edges.replace(index, self._edges_of(link) if link else frozenset())
                for edge in removed:
                    self._graph.unlink(edge.parent, edge.child, "layer2")
                if link is not None:
                    self._put(link)
                elif index in self._said:
                    self._drop(index)
                for edge in added:
                    self._link(edge)

    def say_all(self) -> None:
        """What is known is all there is."""
        links = self._interfaces.links
        with self._graph.snapshot():
            for index in self._said - links.keys():
                self._edges.replace(index, frozenset())
                self._forget(index)
            self._said.clear()
            for link in links.values():
                self._edges.replace(link.index, self._edges_of(link))
                self._put(link)
            for edge in self._edges.all():
                self._link(edge)
        self._say_namespace()

    def _say_namespace(self) -> None:
        metadata = self._tables.of(NAMESPACE)
        if metadata:
            self._graph.annotate(self._host.root, metadata, scope=_RULES)
        else:
            self._graph.drop(self._host.root)

    def _key(self, index: int) -> Key:
        return self._host.interface_key(self._host.namespace, index)

    def _put(self, link: Link) -> None:
        key = self._key(link.index)
        peer_name = "" if link.lower_nsid is None else self._peers.name(link.lower_nsid)
        addresses = self._interfaces.addresses(link.index)
        metadata = interface_metadata(link, addresses, self._driver(link), peer_name)
        if "XDP" in metadata:
            metadata["XDP"] = [self._programs.named(program) for program in metadata["XDP"]]
        for name, value in self._tables.of(link.index).items():
            # The ways of a tunnel are added to what the link says of it.
            metadata[name] = {**metadata[name], **value} if name in metadata else value
        for name, value in self._sampler.metrics.get(link.index, {}).items():
            metadata[name] = {**metadata.get(name, {}), **value}
        self._graph.put(key, metadata)
        if link.index not in self._said:
            self._said.add(link.index)
            self._graph.link(self._host.root, key, "ownership")

    def _drop(self, index: int) -> None:
        key = self._key(index)
        self._graph.unlink(self._host.root, key, "ownership")
        self._graph.drop(key)
        self._forget(index)

    def _forget(self, index: int) -> None:
        self._said.discard(index)
        self._drivers.pop(index, None)
        self._tables.forget(index)
        self._sampler.forget(index)

    def _edges_of(self, link: Link) -> frozenset[Edge]:
        ways: dict[str, Any] = self._tables.of(link.index).get("Tunnel", {}) if link.kind in TUNNELS else {}
        master = self._interfaces.links.get(link.master)
        return edges_of(self._host, link, master, self._peers, ways.get("Egress", 0))

    def _link(self, edge: Edge) -> None:
        self._graph.link(edge.parent, edge.child, "layer2", {"Type": edge.type} if edge.type else None)

    def _driver(self, link: Link) -> str:
        known = self._drivers.get(link.index)
        if known is None:
            known = ethtool.driver(self._fd, link.name)
            if known is None:
                # Renamed since the message was sent; the next message brings the new name.
                return ""
            self._drivers[link.index] = known
        return known
