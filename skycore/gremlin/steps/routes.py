"""``NextHop``: where a node would send a packet, by its routing tables and its neighbours.

Tables are asked in the order of Linux's default rules (local, main, default; ip-rule(8)), then others by number, for
the rules themselves are not in the metadata.  The first table with a route to the address decides: by its longest
prefix, then by the lowest priority.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias, final

import attrs

from skycore.filter import number_of
from skycore.gremlin.operation import NEXT_HOPS, NODES, Execution, Kind, Operation, Stream, Work, column
from skycore.gremlin.registry import Call, step
from skycore.gremlin.span import by_element

Address: TypeAlias = IPv4Address | IPv6Address

# rt_class_t of linux/rtnetlink.h: RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT.
_ORDER: Final = {255: 0, 254: 1, 253: 2}
_UNUSABLE: Final = frozenset({"NUD_INCOMPLETE", "NUD_FAILED"})


@final
@attrs.frozen
class FindNextHop(Operation):
    """The next hop of each node; over a span that of its last revision in the stream."""

    address: Address

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found = yield from by_element(execution.view, stream.items)
        nodes = {id: max(items) for id, items in found.items()}
        tables = yield from column(execution, "node", "RoutingTables", nodes.values())
        routed = [(id, value) for id, value in zip(nodes, tables, strict=True) if isinstance(value, list) and value]
        neighbours = yield from column(execution, "node", "Neighbors", [nodes[id] for id, _ in routed])
        hops: list[tuple[str, dict[str, Any]]] = []
        for (id, value), known in zip(routed, neighbours, strict=True):
            hop = next_hop(self.address, value, known if isinstance(known, list) else ())
            if hop is not None:
                hops.append((id, hop))
            yield
        return Stream(NEXT_HOPS, hops)


def next_hop(address: Address, tables: Iterable[Any], neighbours: Iterable[Any]) -> dict[str, Any] | None:
    """``{"Priority", "IP", "MAC" (if known), "IfIndex", "Table", "Prefix"}`` for an address, None without a route.

    ``Table`` and ``Prefix`` are those of the route: they tell which of several nodes' routes one host would take.
    """
    for table in sorted(_objects(tables), key=_place):
        best: tuple[int, int, dict[str, Any], IPv4Network | IPv6Network] | None = None
        for route in _objects(table.get("Routes")):
            network = _network(route.get("Prefix"))
            if network is None or network.version != address.version or address not in network:
                continue
            for hop in _objects(route.get("NextHops")):
                priority = _integer(hop.get("Priority"))
                if best is None or (-network.prefixlen, priority) < best[:2]:
                    best = (-network.prefixlen, priority, hop, network)
        if best is not None:
            _, priority, hop, prefix = best
            ip = hop.get("IP") or str(address)
            mac = _mac(ip, neighbours)
            return {
                "Priority": priority,
                "IP": ip,
                **({"MAC": mac} if mac else {}),
                "IfIndex": _integer(hop.get("IfIndex")),
                "Table": _integer(table.get("ID")),
                "Prefix": str(prefix),
            }
    return None


def _place(table: dict[str, Any]) -> tuple[int, int]:
    number = _integer(table.get("ID"))
    return _ORDER.get(number, len(_ORDER)), number


def _mac(ip: str, neighbours: Iterable[Any]) -> str | None:
    wanted = _address(ip)
    for one in _objects(neighbours):
        mac, state = one.get("MAC"), one.get("State")
        if mac and wanted is not None and _address(one.get("IP")) == wanted:
            states = state if isinstance(state, list) else [state]
            if _UNUSABLE.isdisjoint(text for text in states if isinstance(text, str)):
                return str(mac)
    return None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    for one in value if isinstance(value, list | tuple) else ():
        if isinstance(one, dict):
            yield one


def _integer(value: Any) -> int:
    number = number_of(value)
    return 0 if number is None else int(number)


@lru_cache(maxsize=4096)
def _parse_network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _network(value: Any) -> IPv4Network | IPv6Network | None:
    return _parse_network(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(value: Any) -> Address | None:
    return _parse_address(value) if isinstance(value, str) else None


@step("NextHop", parameters="(ip)", gives={NODES: NEXT_HOPS})
def next_hop_step(call: Call, kind: Kind) -> Operation:
    """Of each node with a route to the address the next hop: priority, IP, MAC if known, IfIndex, and the route."""
    text = call.one_text(f"NextHop accepts one parameter : {call.shown()}")
    address = _address(text)
    if address is None:
        raise call.error(f"NextHop needs an IP address, not {text[:200]}", call.arguments[0])
    return FindNextHop(address)


STEPS = (next_hop_step,)
