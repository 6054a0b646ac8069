"""Injections as API objects: their fields, and what may stand in them.  Names and texts are those of Skydive."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Final, TypeAlias, final

import attrs

from skycore.errors import GremlinError, InvalidResource
from skycore.gremlin import NODES, Planner
from skycore.injection.order import MAX_PAYLOAD, MAX_PCAP, TYPES
from skycore.resource.kind import Field, Kind, Value
from skycore.rule.dependency import reads

KIND: Final = "injectpacket"
DEFAULT_TTL: Final = 64
_NO_TIME: Final = "0001-01-01T00:00:00Z"
"""What Go writes for a time that was never set."""
_MODES: Final = ("unique", "random")
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_LONGEST_INTERVAL: Final = 1 << 31

Network: TypeAlias = IPv4Network | IPv6Network


@final
@attrs.frozen
class InjectionPolicy:
    """What users may ask, by the configuration of the analyzer (docs/injection.md).

    ``max_count``: packets that one injection sends from each node; ``max_nodes``: nodes from which it sends;
    ``max_active``: injections that run at once; ``max_per_minute``: new ones; ``refused_networks``: nothing is sent
    to these addresses, and no recordings are sent at all while there are some.
    """

    max_count: int = 100_000
    max_nodes: int = 100
    max_active: int = 100
    max_per_minute: int = 120
    refused_networks: tuple[Network, ...] = ()


def injection_kind(planner: Planner, policy: InjectionPolicy) -> Kind:
    """The kind ``injectpacket``."""

    def check(value: Value) -> None:
        if value["Type"] not in TYPES:
            raise InvalidResource(f"given type is not supported: {value['Type']!r} is none of {', '.join(TYPES)}")
        value["Mode"] = value["Mode"] or _MODES[0]
        if value["Mode"] not in _MODES:
            raise InvalidResource(f"Mode: must be one of {', '.join(_MODES)}, not {value['Mode']!r}")
        if not value["Src"]:
            raise InvalidResource("Src: a query is needed for the nodes to send from, for example G.V().Has(...)")
        for field in ("Src", "Dst"):
            if value[field]:
                _check_query(planner, field, value[field])
        _check_addresses(value)
        _check_numbers(value, policy)
        if len(value["Payload"].encode()) > MAX_PAYLOAD:
            raise InvalidResource(f"Payload: has more than {MAX_PAYLOAD} bytes")
        value["StartTime"] = value["StartTime"] or _NO_TIME
        value["Pcap"] = value["Pcap"] or None
        if value["Pcap"] is not None:
            _check_pcap(value["Pcap"], policy)

    return Kind(
        KIND,
        "PacketInjection",
        (
            Field("Src", description="Gremlin: the nodes to send from"),
            Field("Dst", description="Gremlin: of its nodes the first is sent to"),
            Field("SrcIP", description="an address, with or without prefix; else the source node's"),
            Field("DstIP", description="an address, with or without prefix; else that of Dst"),
            Field("SrcMAC"),
            Field("DstMAC", description="else that of the next hop, by the source node's routes and neighbours"),
            Field("SrcPort", "integer"),
            Field("DstPort", "integer"),
            Field("Type", description=", ".join(TYPES)),
            Field("Payload", description="without it, 56 letters"),
            Field("ICMPID", "integer"),
            Field("Count", "integer", description="packets; 0: one, or of a recording all"),
            Field("Interval", "integer", description="milliseconds between two packets"),
            Field("Mode", description="unique or random"),
            Field("IncrementPayload", "integer", description="letters added to the payload after each packet"),
            Field("StartTime", description="kept as it is"),
            Field("Pcap", "any", description="a recording in base64, whose frames are sent as they are; or null"),
            Field("TTL", "integer", description="of IPv4, hop limit of IPv6; 0: 64"),
        ),
        check,
        description="Sends packets from the nodes of a query, once.",
    )


def address_in(text: str) -> str:
    """An address as its bare text: "10.0.0.1/24" is 10.0.0.1.  Raises ValueError."""
    return str(ip_interface(text).ip)


def _check_query(planner: Planner, field: str, query: str) -> None:
    try:
        read = reads(query, planner.registry)
    except GremlinError as error:
        raise InvalidResource(f"{field}: Not a valid Gremlin expression: {error}") from error
    if read.past:
        raise InvalidResource(f"{field}: an injection is about the present; leave At and Context out")
    if read.gives != NODES:
        raise InvalidResource(f"{field}: the query must give nodes, and its last step does not")


def _check_addresses(value: Value) -> None:
    version = int(value["Type"][-1])
    for field in ("SrcIP", "DstIP"):
        if not value[field]:
            continue
        try:
            found = ip_interface(value[field]).version
        except ValueError as error:
            raise InvalidResource(f"{field}: {value[field]!r} is no IP address") from error
        if found != version:
            raise InvalidResource(f"{field}: {value[field]} is no IPv{version} address, as {value['Type']} needs")
    for field in ("SrcMAC", "DstMAC"):
        if value[field] and not _MAC.fullmatch(value[field]):
            raise InvalidResource(f"{field}: {value[field]!r} is no MAC address such as 02:00:00:00:00:01")


def _check_numbers(value: Value, policy: InjectionPolicy) -> None:
    value["TTL"] = value["TTL"] or DEFAULT_TTL
    bounds = {
        "SrcPort": 65535,
        "DstPort": 65535,
        "ICMPID": 65535,
        "TTL": 255,
        "Count": policy.max_count,
        "Interval": _LONGEST_INTERVAL,
        "IncrementPayload": MAX_PAYLOAD,
    }
    for field, most in bounds.items():
        if not 0 <= value[field] <= most:
            key = " (key analyzer.injection.max_count)" if field == "Count" else ""
            raise InvalidResource(f"{field}: must be from 0 to {most}, not {value[field]}{key}")


def _check_pcap(pcap: object, policy: InjectionPolicy) -> None:
    if not isinstance(pcap, str):
        raise InvalidResource("Pcap: must be a string of base64, or null")
    if policy.refused_networks:
        raise InvalidResource(
            "Pcap: recordings are not sent while some networks must not be sent to "
            "(key analyzer.injection.refused_networks)"
        )
    try:
        recording = base64.b64decode(pcap, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidResource(f"Pcap: is not base64: {error}") from error
    if len(recording) > MAX_PCAP:
        raise InvalidResource(f"Pcap: has {len(recording)} bytes, at most {MAX_PCAP} are sent")
