"""Finding the way of a packet in the graph: along links of layer 2, and from router to router by routing tables.

Everything is asked in the query language, so that it works on any analyzer, now and in the past.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any, Final, TypeAlias, final

import attrs

from skycore.cli.output import path
from skycore.errors import ClientError

Address: TypeAlias = IPv4Address | IPv6Address
Element: TypeAlias = Mapping[str, Any]

_ROUTERS_AT_MOST: Final = 32
_HOLDERS: Final = ("host", "netns", "container", "pod")
"""Kinds of nodes that have interfaces, and are no place of a packet themselves."""
_LINKS: Final = "Metadata('RelationType', Within('layer2', 'vlayer2', 'mirroring'))"


@final
@attrs.frozen
class Hop:
    """A node on the way; ``routed``: the packet came here from the hop before by a routing table, not along a link."""

    node: Element
    routed: bool = False


@final
@attrs.frozen
class Way:
    """The hops from one end to the other; ``missing`` says why they end early, "" when they do not."""

    hops: tuple[Hop, ...]
    source: Address | None
    target: Address | None
    missing: str = ""


@final
class Finder:
    """``ask`` gives the result of a query after ``G``: ``ask(".V().Has('Name', 'a')")``."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask

    def find(self, source: str, target: str) -> Way:
        """The way between two places: an IP address, a name, an ID or TID, or a query that gives one node.

        Raises ClientError when there is no such place, or more than one.
        """
        starts, from_address = self._interfaces(source)
        ends, to_address = self._interfaces(target)
        wanted = to_address or _first_address(ends, from_address)
        hops: list[Hop] = []
        seen: set[str] = set()
        routed = False
        for _ in range(_ROUTERS_AT_MOST):
            linked = self._linked(starts, ends)
            if linked is not None:
                hops += _joined(linked, routed)
                return Way(tuple(hops), from_address or _own_address(hops), wanted)
            if wanted is None:
                return Way(tuple(hops), from_address, None, "no link leads there, and the other end has no IP address")
            leaving, gateway = self._next(starts, wanted)
            if leaving is None or gateway is None:
                place = self._place(starts)
                return Way(
                    tuple(hops), from_address, wanted, f"no link leads there, and {place} has no route to {wanted}"
                )
            if leaving["ID"] in seen:
                return Way(tuple(hops), from_address, wanted, f"the routes to {wanted} go in a circle")
            seen.add(leaving["ID"])
            doors = self._with_address(gateway)
            linked = self._linked([leaving], doors) if doors else None
            if linked is None:
                hops += _joined([leaving], routed)
                why = "is not in the graph" if not doors else "is not linked with it in the graph"
                return Way(tuple(hops), from_address, wanted, f"the next hop {gateway} {why}")
            hops += _joined(linked, routed)
            starts = self._beside(linked[-1])
            if any(one["ID"] in {end["ID"] for end in ends} for one in starts):
                end = next(end for end in ends if end["ID"] in {one["ID"] for one in starts})
                if end["ID"] != linked[-1]["ID"]:
                    hops.append(Hop(end, routed=True))
                return Way(tuple(hops), from_address or _own_address(hops), wanted)
            routed = True
        return Way(tuple(hops), from_address, wanted, f"more than {_ROUTERS_AT_MOST} routers are on the way")

    # ------------------------------------------------------------------ places

    def _interfaces(self, place: str) -> tuple[list[Element], Address | None]:
        """The interfaces of a place, and its address if that is what was given."""
        address = _address(place)
        if address is not None:
            found = self._with_address(address)
            if not found:
                raise ClientError(f"no interface has the address {address}")
            return found, address
        if place.lstrip().upper().startswith("G."):
            nodes = self._nodes(place.lstrip()[1:])
        else:
            word = json.dumps(place)
            nodes = self._nodes(f".V().HasEither('@ID', {word}, 'TID', {word}, 'Name', {word}, 'Container.ID', {word})")
        if not nodes:
            raise ClientError(f"there is no node {place}; give an IP address, a name, an ID, or a query")
        # A name is often that of a container and of its namespace.
        owned = {one["ID"] for node in nodes for one in self._inside(node)}
        outer = [node for node in nodes if node["ID"] not in owned]
        if len(outer) > 1:
            kinds = ", ".join(
                f"{path(one, 'Metadata.Type')} {one['ID']} of {one.get('Host') or '?'}" for one in outer[:8]
            )
            raise ClientError(f"{len(outer)} nodes are {place}: {kinds}; give one's ID")
        return self._inside(outer[0]) or [outer[0]], None

    def _inside(self, node: Element) -> list[Element]:
        """The interfaces of a host, a namespace or a container; nothing for an interface."""
        kind = path(node, "Metadata.Type")
        id = json.dumps(node["ID"])
        if kind in ("container", "pod"):
            # A container belongs to the namespace that it uses.
            owners = f".V({id}).Ascendants('RelationType', 'ownership', 1).Has('Type', 'netns')"
            namespaces = self._nodes(owners) or self._nodes(f".V({id}).Both('Type', 'netns')")
            return [one for namespace in namespaces for one in self._inside(namespace)]
        if kind not in _HOLDERS:
            return []
        return self._nodes(f".V({id}).Out().HasKey('IfIndex')")

    def _beside(self, interface: Element) -> list[Element]:
        """All interfaces of the namespace or host that an interface is in."""
        id = json.dumps(interface["ID"])
        owners = self._nodes(
            f".V({id}).Ascendants('RelationType', 'ownership', 0).Has('Type', Within('netns', 'host'))"
        )
        return (self._inside(owners[0]) if owners else []) or [interface]

    def _place(self, interfaces: Sequence[Element]) -> str:
        first = interfaces[0]
        return f"{path(first, 'Metadata.Name') or first['ID']} of {first.get('Host') or '?'}"

    def _with_address(self, address: Address) -> list[Element]:
        key = "IPV4" if address.version == 4 else "IPV6"
        if address.version == 4:
            return self._nodes(f".V().Has('IPV4', Ipv4Range('{address}/32'))")
        found = self._nodes(f".V().HasKey('{key}')")
        return [node for node in found if address in _addresses(node)]

    # ------------------------------------------------------------------ steps of the way

    def _linked(self, starts: Sequence[Element], ends: Sequence[Element]) -> list[Element] | None:
        """The shortest way along links; None when there is none."""
        if not starts or not ends:
            return None
        known = {one["ID"]: one for one in (*starts, *ends)}
        common = {one["ID"] for one in starts} & {one["ID"] for one in ends}
        if common:
            return [known[min(common)]]
        both = [", ".join(json.dumps(one["ID"]) for one in some) for some in (starts, ends)]
        query = f".V().Has('@ID', Within({both[0]})).ShortestPathTo(Metadata('@ID', Within({both[1]})), {_LINKS})"
        ways = self._ask(query) or []
        return min(ways, key=len) if ways else None

    def _next(self, starts: Sequence[Element], target: Address) -> tuple[Element | None, Address | None]:
        """The interface through which a packet leaves, and the address of the next router (or the target)."""
        ids = ", ".join(json.dumps(one["ID"]) for one in starts)
        found = self._ask(f".V().Has('@ID', Within({ids})).NextHop('{target}')") or []
        hops = {id: hop for each in found for id, hop in each.items()}
        if not hops:
            return None, None
        id = min(hops, key=lambda one: (*_rank(hops[one]), one))
        return next(one for one in starts if one["ID"] == id), _address(str(hops[id].get("IP", "")))

    def _nodes(self, query: str) -> list[Element]:
        return list(self._ask(query) or [])


def _rank(hop: Mapping[str, Any]) -> tuple[int, int, int]:
    """As Linux chooses: the table local before main before default, the longest prefix, the lowest priority."""
    table = {255: 0, 254: 1, 253: 2}.get(hop.get("Table", 0), 3)
    return table, -int(str(hop.get("Prefix", "/0")).rpartition("/")[2]), int(hop.get("Priority", 0))


def _joined(nodes: Sequence[Element], routed: bool) -> list[Hop]:
    return [Hop(node, routed and not place) for place, node in enumerate(nodes)]


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _addresses(node: Element) -> list[Address]:
    found = [one for key in ("IPV4", "IPV6") for one in path(node, f"Metadata.{key}") or ()]
    return [ip_interface(one).ip for one in found if isinstance(one, str)]


def _first_address(nodes: Sequence[Element], like: Address | None) -> Address | None:
    """An address of the nodes, of the version of the other end's, and not only of its link."""
    found = [
        address for node in nodes for address in _addresses(node) if not (address.is_link_local or address.is_loopback)
    ]
    return next((one for one in found if like is None or one.version == like.version), None)


def _own_address(hops: Sequence[Hop]) -> Address | None:
    return _first_address([hops[0].node], None) if hops else None
