"""``Sockets`` of flows: the processes at their ends, as the nodes of hosts tell of their sockets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, TypeAlias, final

import attrs

from skycore.filter import MISSING
from skycore.flow.evaluation import Record, decode
from skycore.gremlin.operation import FLOWS, SOCKETS, Execution, Kind, Operation, Stream, Work, chunks, column, every
from skycore.gremlin.registry import Call, StepDefinition, step

_AT_A_TIME: Final = 256
_PROTOCOLS: Final = ("TCP", "UDP")

Pair: TypeAlias = tuple[str, str, int, str, int]
"""Protocol, local address and port, remote address and port."""


@final
@attrs.frozen
class SocketsOfFlows(Operation):
    """The sockets between whose ends each flow runs, those at A first; flows without any are left out."""

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        known = yield from _sockets(execution)
        pairs: list[tuple[str, list[dict[str, Any]]]] = []
        for part in chunks(stream.items, _AT_A_TIME):
            for json in part:
                flow = decode(json)
                found = [socket for pair in _both_ways(flow) for socket in known.get(pair, ())]
                if found:
                    pairs.append((flow["UUID"], found))
            yield
        return Stream(SOCKETS, pairs)


def _sockets(execution: Execution) -> Work[dict[Pair, list[dict[str, Any]]]]:
    """All connected sockets of the graph by what they connect."""
    ids = list((yield from every(execution.view, "node")))
    known: dict[Pair, list[dict[str, Any]]] = {}
    for part in chunks((yield from column(execution, "node", "Sockets", ids)), 16):
        for sockets in part:
            for socket in sockets if sockets is not MISSING and isinstance(sockets, list) else ():
                pair = _pair(socket) if isinstance(socket, dict) else None
                if pair is not None and socket not in known.setdefault(pair, []):
                    known[pair].append(socket)
        yield
    return known


def _pair(socket: dict[str, Any]) -> Pair | None:
    protocol, local, remote = (socket.get(key) for key in ("Protocol", "LocalAddress", "RemoteAddress"))
    ports = socket.get("LocalPort"), socket.get("RemotePort")
    if protocol not in _PROTOCOLS or not isinstance(ports[0], int) or not isinstance(ports[1], int):
        return None
    return protocol, _address(local), ports[0], _address(remote), ports[1]


def _both_ways(flow: Record) -> Iterator[Pair]:
    network, transport = flow.get("Network"), flow.get("Transport")
    if not network or not transport or transport.get("Protocol") not in _PROTOCOLS:
        return
    a, b = _address(network.get("A")), _address(network.get("B"))
    port_a, port_b = transport.get("A", 0), transport.get("B", 0)
    yield transport["Protocol"], a, port_a, b, port_b
    if (a, port_a) != (b, port_b):
        yield transport["Protocol"], b, port_b, a, port_a


def _address(text: Any) -> str:
    """One text for each address: sockets of IPv6 that speak IPv4 have it inside (RFC 4291, section 2.5.5.2)."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    inside = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(inside or address)


@step("Sockets", parameters="()", gives={FLOWS: SOCKETS})
def sockets(call: Call, kind: Kind) -> Operation:
    """Of flows: those at their two ends (TCP and UDP)."""
    call.refuse_parameters()
    return SocketsOfFlows()


MORE_KINDS: tuple[StepDefinition, ...] = (sockets,)
