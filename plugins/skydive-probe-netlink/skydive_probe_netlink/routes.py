"""Routing tables: what the kernel's routes are for each interface, and which way it would take to an address."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import AF_INET, AF_INET6, AF_UNSPEC

# linux/rtnetlink.h
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_F_CLONED: Final = 0x200
RTA_DST: Final = 1
RTA_SRC: Final = 2
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RTA_PREFSRC: Final = 7
RTA_MULTIPATH: Final = 9
RTA_TABLE: Final = 15
RTA_MARK: Final = 16
RTA_VIA: Final = 18
RTA_NH_ID: Final = 30

_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop
_FAMILIES: Final = {AF_INET: (socket.AF_INET, 4), AF_INET6: (socket.AF_INET6, 16)}


@attrs.frozen
class Leg:
    """One way out of a route: ``gateway`` is "" when the destination is reached directly."""

    index: int
    gateway: str = ""


@attrs.frozen
class Route:
    """One route of one table.

    ``source`` is the address preferred for what is sent along it, or None; ``nexthop`` the number of the next hop
    object that it names, or 0.
    """

    table: int
    protocol: int
    prefix: str
    priority: int
    source: str | None
    legs: tuple[Leg, ...]
    nexthop: int = 0


def dump_request(sequence: int) -> bytes:
    """RTM_GETROUTE for the routes of all tables, IPv4 and IPv6."""
    return netlink.request(RTM_GETROUTE, netlink.NLM_F_DUMP, sequence, _ROUTE.pack(AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0))


def lookup_request(sequence: int, destination: str, source: str = "", mark: int = 0) -> bytes:
    """RTM_GETROUTE for the way to an address (``ip route get``)."""
    address = ipaddress.ip_address(destination)
    family = AF_INET if address.version == 4 else AF_INET6
    sender = ipaddress.ip_address(source).packed if source else b""
    body = _ROUTE.pack(family, address.max_prefixlen, len(sender) * 8, 0, 0, 0, 0, 0, 0)
    body += a.attribute(RTA_DST, address.packed)
    if sender:
        body += a.attribute(RTA_SRC, sender)
    if mark:
        body += a.attribute_u32(RTA_MARK, mark)
    return netlink.request(RTM_GETROUTE, 0, sequence, body)


def _via(payload: bytes, start: int, end: int) -> str:
    """struct rtvia: a gateway of another family; "" for families that are none of IP's."""
    family = a.u16(payload, start, end)
    return a.ip(payload, start + 2, end) if family in _FAMILIES else ""


def _legs(payload: bytes, start: int, end: int) -> tuple[Leg, ...]:
    found = []
    while end - start >= _NEXT_HOP.size:
        length, _flags, _hops, index = _NEXT_HOP.unpack_from(payload, start)
        if length < _NEXT_HOP.size or length > end - start:
            raise netlink.DecodeError(f"a next hop claims {length} bytes of the {end - start} left")
        inside = a.read_attributes(_LEG_ATTRIBUTES, payload, start + _NEXT_HOP.size, start + length)
        found.append(Leg(index, inside.get("gateway", "") or inside.get("via", "")))
        start += a.aligned(length)
    return tuple(found)


_LEG_ATTRIBUTES: Final[a.Table] = {RTA_GATEWAY: ("gateway", a.ip), RTA_VIA: ("via", _via)}
_ATTRIBUTES: Final[a.Table] = {
    **_LEG_ATTRIBUTES,
    RTA_DST: ("destination", a.raw),
    RTA_OIF: ("index", a.u32),
    RTA_PRIORITY: ("priority", a.u32),
    RTA_PREFSRC: ("source", a.ip),
    RTA_MULTIPATH: ("legs", _legs),
    RTA_TABLE: ("table", a.u32),
    RTA_NH_ID: ("nexthop", a.u32),
}


def decode_lookup(payload: bytes) -> Route:
    """The answer to ``lookup_request``; raises DecodeError."""
    route = decode(payload, cloned=True)
    if route is None:
        raise netlink.DecodeError("the way to an address is no route of IPv4 or IPv6")
    return route


def decode(payload: bytes, *, cloned: bool = False) -> Route | None:
    """The route of a message; None for what is no route of a table of IPv4 or IPv6.  Raises DecodeError.

    ``cloned``: also those that the kernel has made from others, such as answers to ``lookup_request``.
    """
    family, length, _source_length, _tos, table, protocol, _scope, _type, flags = a.unpack(
        _ROUTE, payload, 0, len(payload)
    )
    if family not in _FAMILIES or (flags & RTM_F_CLONED and not cloned):
        return None
    family, size = _FAMILIES[family]
    found = a.read_attributes(_ATTRIBUTES, payload, _ROUTE.size, len(payload))
    destination = found.get("destination", bytes(size))
    if len(destination) != size or length > size * 8:
        raise netlink.DecodeError(f"a destination of {len(destination)} bytes with prefix length {length}")
    legs = found.get("legs", ())
    if "index" in found and not legs:
        legs = (Leg(found["index"], found.get("gateway", "") or found.get("via", "")),)
    prefix = f"{socket.inet_ntop(family, destination)}/{length}"
    return Route(
        table=found.get("table", table),
        protocol=protocol,
        prefix=prefix,
        priority=found.get("priority", 0),
        source=found.get("source"),
        legs=legs,
        nexthop=found.get("nexthop", 0),
    )


def read(buffers: Iterable[bytes], ways: Mapping[int, tuple[Leg, ...]] | None = None) -> Iterator[Route]:
    """The routes of a dump's answer; those that cannot be read are passed over.

    ``ways`` are those of next hop objects: with net.ipv4.nexthop_compat_mode=0 a route tells its object's number alone.
    """
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type == RTM_NEWROUTE:
                try:
                    route = decode(frame.payload)
                except netlink.DecodeError:
                    continue
                if route is None:
                    continue
                if route.nexthop and not route.legs and ways:
                    route = attrs.evolve(route, legs=ways.get(route.nexthop, ()))
                yield route


def tables_by_interface(routes: Iterable[Route], limit: int) -> dict[int, list[dict[str, Any]]]:
    """``RoutingTables`` of each interface, by ifindex: by table, protocol and prefix, the legs through the interface.

    Of one interface at most ``limit`` legs are kept.
    """
    found: dict[int, dict[int, dict[str, Any]]] = {}
    merged: dict[tuple[int, int, int, str], dict[tuple[int, str, int], None]] = {}
    counts: dict[int, int] = {}
    for route in routes:
        for leg in route.legs:
            count = counts.get(leg.index, 0)
            if count >= limit:
                continue
            counts[leg.index] = count + 1
            tables = found.setdefault(leg.index, {})
            table = tables.setdefault(route.table, {"ID": route.table, "Src": route.source, "Routes": []})
            key = (leg.index, route.table, route.protocol, route.prefix)
            hops = merged.get(key)
            if hops is None:
                hops = merged[key] = {}
                table["Routes"].append({"Protocol": route.protocol, "Prefix": route.prefix, "NextHops": hops})
            hops[route.priority, leg.gateway, route.nexthop] = None
    for index, tables in found.items():
        for table in tables.values():
            for entry in table["Routes"]:
                entry["NextHops"] = [_next_hop(index, *hop) for hop in entry["NextHops"]]
    return {index: [tables[number] for number in sorted(tables)] for index, tables in found.items()}


def _next_hop(index: int, priority: int, gateway: str, nexthop: int) -> dict[str, Any]:
    hop: dict[str, Any] = {"Priority": priority, "IfIndex": index}
    if gateway:
        hop["IP"] = gateway
    if nexthop:
        hop["NexthopID"] = nexthop
    return hop
