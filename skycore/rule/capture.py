"""Captures as API objects: their fields, and what may stand in them.  Texts are those of Skydive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from skycore.errors import CaptureError, DuplicatedResource, GremlinError, InvalidResource
from skycore.flow.export.target import TARGET_TYPES, check_target
from skycore.flow.spec import MAX_HEADER, MAX_RAW_PACKETS, MIN_HEADER, TYPES, several
from skycore.gremlin import NODES, Planner
from skycore.resource.kind import Field, Kind, Value
from skycore.rule.dependency import reads

KIND: Final = "capture"
_SNAP_LENGTH: Final = 4096
_ETHERNET: Final = 1
_LEFT_OUT_WHEN_EMPTY: Final = (
    "BPFFilter",
    "Name",
    "Description",
    "Type",
    "Port",
    "RawPacketLimit",
    "HeaderSize",
    "LayerKeyMode",
    "ExtraLayers",
    "Target",
    "TargetType",
)
_UINT32: Final = 1 << 32


def capture_kind(planner: Planner, layer_key_mode: str = "L2") -> Kind:
    """The kind ``capture``; ``layer_key_mode`` is that of captures which name none."""

    def check(value: Value) -> None:
        _check_query(planner, value["GremlinQuery"])
        _check_type(value)
        _check_numbers(value)
        if value["BPFFilter"]:
            check_filter(value["BPFFilter"])
        if value["LayerKeyMode"] not in ("", "L2", "L3"):
            raise InvalidResource("LayerKeyMode: it is L2 or L3")
        value["LayerKeyMode"] = value["LayerKeyMode"] or layer_key_mode
        try:
            check_target(value["TargetType"], value["Target"])
        except CaptureError as error:
            raise InvalidResource(str(error)) from error
        for field in _LEFT_OUT_WHEN_EMPTY:
            if not value[field]:
                del value[field]

    return Kind(
        KIND,
        "Capture",
        (
            Field("GremlinQuery", description="Gremlin: the nodes on which packets are captured"),
            Field("BPFFilter", description="which packets, as libpcap writes filters"),
            Field("Name"),
            Field("Description"),
            Field("Type", description="how packets are captured; without it, what suits the node"),
            Field("Count", "integer", description="captures that are active on the nodes; worked out when it is read"),
            Field("Port", "integer", description="where sFlow is received"),
            Field("SamplingRate", "integer", description="of sFlow: one in so many packets"),
            Field("PollingInterval", "integer", description="of sFlow: seconds between two reports of counters"),
            Field("RawPacketLimit", "integer", description="packets of each flow that are kept, 0 to 10"),
            Field("HeaderSize", "integer", description="bytes of each packet that are read, 0 for 256"),
            Field("ExtraTCPMetric", "boolean", description="times of SYN, FIN and RST"),
            Field("IPDefrag", "boolean"),
            Field("ReassembleTCP", "boolean"),
            Field("LayerKeyMode", description="L2 or L3: the lowest layer that tells flows apart"),
            Field("ExtraLayers", "integer", description="bits: VRRP 1, DNS 2, DHCPv4 4"),
            Field("Target", description="host:port that gets the flows in place of the analyzer"),
            Field("TargetType", description=", ".join(TARGET_TYPES)),
        ),
        check,
        _compare,
        description="Captures packets on the nodes of a query, as long as it exists.",
    )


def check_filter(text: str) -> None:
    """Raises InvalidResource for what libpcap does not understand."""
    # Imported here: an agent has no use for it before its first capture.
    import pcapy  # noqa: PLC0415

    try:
        pcapy.compile(_ETHERNET, _SNAP_LENGTH, text, 1, 0)
    except (pcapy.PcapError, pcapy.BPFError, ValueError) as error:
        raise InvalidResource(f"BPFFilter: Not a valid BPF expression: {error}") from error


def _check_query(planner: Planner, query: str) -> None:
    if not query:
        raise InvalidResource("GremlinQuery: zero value")
    try:
        read = reads(query, planner.registry)
    except GremlinError as error:
        raise InvalidResource(f"GremlinQuery: Not a valid Gremlin expression: {error}") from error
    if read.past:
        raise InvalidResource("GremlinQuery: a capture is about the present; leave At and Context out")
    if read.gives != NODES:
        raise InvalidResource("GremlinQuery: the query must give nodes, and its last step does not")


def _check_type(value: Value) -> None:
    type = value["Type"]
    if not type:
        return
    ability = TYPES.get(type)
    if ability is None:
        raise InvalidResource(f"Type: {type!r} is no type of captures; there are {', '.join(TYPES)}")
    for wanted, able, what in (
        (value["BPFFilter"], ability.bpf, "BPF filtering"),
        (value["RawPacketLimit"], ability.raw_packets, "raw packets capture"),
        (value["ExtraTCPMetric"], ability.tcp_metric, "extra TCP metrics"),
    ):
        if wanted and not able:
            raise InvalidResource(f"{type} capture doesn't support {what}")


def _check_numbers(value: Value) -> None:
    value["Count"] = 0
    bounds = {
        "RawPacketLimit": MAX_RAW_PACKETS,
        "HeaderSize": MAX_HEADER,
        "Port": 65535,
        "SamplingRate": _UINT32 - 1,
        "PollingInterval": _UINT32 - 1,
        "ExtraLayers": 255,
    }
    for field, most in bounds.items():
        if not 0 <= value[field] <= most:
            raise InvalidResource(f"{field}: must be from 0 to {most}, not {value[field]}")
    if 0 < value["HeaderSize"] < MIN_HEADER:
        raise InvalidResource(f"HeaderSize: must be 0 or from {MIN_HEADER} to {MAX_HEADER}, not {value['HeaderSize']}")


def _compare(value: Value, others: Iterable[Value]) -> None:
    type = value.get("Type", "")
    for other in others:
        same = other.get("Type", "") == type and other["GremlinQuery"] == value["GremlinQuery"]
        if same and (not several(type) or _filter(other) == _filter(value)):
            raise DuplicatedResource(f"Duplicate capture, uuid={other['UUID']}")


def _filter(value: dict[str, Any]) -> str:
    found: str = value.get("BPFFilter", "")
    return found
