"""The shapes that endpoints take and answer, as JSON schemas; field names are those of Skydive's clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import msgspec


def ref(name: str) -> dict[str, str]:
    """A reference to one of ``NAMED``, or to a msgspec type by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


@final
class Query(msgspec.Struct):
    """A query in the Gremlin of docs/gremlin.md; empty: no answer."""

    GremlinQuery: str


@final
class About(msgspec.Struct):
    """Who serves."""

    Host: str
    Version: str
    Service: str


@final
class Login(msgspec.Struct):
    """A form, not JSON."""

    username: str
    password: str


@final
class Permission(msgspec.Struct):
    """Whether somebody may do ``Action`` with ``Object``."""

    Object: str
    Action: str
    Allowed: bool


@final
class Session(msgspec.Struct):
    """What a login gives; the token is also set as the cookie `authtoken`."""

    Token: str
    Permissions: list[Permission]


@final
class Density(msgspec.Struct):
    """How many changes there were in each of equal parts of a period; times in milliseconds since the epoch."""

    Start: int
    End: int
    Changes: list[int]
    Gaps: list[dict[str, Any]]


@final
class Rights(msgspec.Struct):
    """Who asks, and what they may do; ``History``: whether the past can be asked for here."""

    User: str
    Roles: list[str]
    Permissions: list[Permission]
    History: bool


@final
class Step(msgspec.Struct):
    """A step: how its parameters are written, what it does, and the kind that it gives for each kind that it takes."""

    Name: str
    Aliases: list[str]
    Parameters: str
    Summary: str
    Gives: dict[str, str]


@final
class Language(msgspec.Struct):
    """What queries are made of; `graph` is the kind of the first `G`."""

    Steps: list[Step]
    Predicates: list[str]


_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "integer", "description": "milliseconds since 1970-01-01 UTC"}
_ELEMENT: Final[dict[str, Any]] = {
    "ID": {"type": "string"},
    "Host": {"type": "string"},
    "Origin": {"type": "string"},
    "CreatedAt": _TIME,
    "UpdatedAt": _TIME,
    "DeletedAt": {**_TIME, "type": ["integer", "null"]},
    "Revision": {"type": "integer"},
    "Metadata": {"type": "object"},
}


def _object(properties: Mapping[str, Any], description: str, **rest: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        **rest,
    }


def _list_or_null(name: str) -> dict[str, Any]:
    return {"oneOf": [{"type": "array", "items": ref(name)}, {"type": "null"}]}


def _map_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


def _rule(properties: Mapping[str, Any], description: str, *required: str) -> dict[str, Any]:
    common = {"UUID": {**_TEXT, "readOnly": True}, "Name": _TEXT, "Description": _TEXT}
    return {
        "type": "object",
        "description": description,
        "properties": {**common, **properties},
        "required": [*required],
    }


NAMED: Final[dict[str, dict[str, Any]]] = {
    "Node": _object(_ELEMENT, "A node at one revision."),
    "Edge": _object(
        {**_ELEMENT, "Parent": {"type": "string"}, "Child": {"type": "string"}}, "An edge at one revision."
    ),
    "Graph": _object(
        {"Nodes": _list_or_null("Node"), "Edges": _list_or_null("Edge")}, "A graph; empty lists are null."
    ),
    "NodeRule": _rule(
        {"Action": _TEXT, "Query": _TEXT, "Metadata": {"type": "object"}},
        "Makes a node from its metadata (Action `create`), or gives metadata to the nodes of a query (`update`).",
        "Action",
        "Metadata",
    ),
    "EdgeRule": _rule(
        {"Src": _TEXT, "Dst": _TEXT, "Metadata": {"type": "object"}},
        "Makes an edge from the first node of one query to that of another.",
        "Src",
        "Dst",
        "Metadata",
    ),
    "UserMetadata": {
        "type": "object",
        "description": "A value under `UserMetadata.KEY` for the nodes of a query.",
        "properties": {
            "UUID": {**_TEXT, "readOnly": True},
            "GremlinQuery": _TEXT,
            "Key": {**_TEXT, "minLength": 1},
            "Value": {},
        },
        "required": ["GremlinQuery", "Key"],
    },
    "Capture": {
        "type": "object",
        "description": "Packets captured on the nodes of a query; empty texts and numbers are left out in answers.",
        "properties": {
            "UUID": {**_TEXT, "readOnly": True},
            "GremlinQuery": {**_TEXT, "minLength": 1},
            "Count": {"type": "integer", "readOnly": True},
            **{key: {"type": "string"} for key in ("BPFFilter", "Name", "Description", "Type", "LayerKeyMode")},
            **{key: {"type": "string"} for key in ("Target", "TargetType")},
            **{
                key: {"type": "integer"}
                for key in ["Port", "SamplingRate", "PollingInterval", "RawPacketLimit", "HeaderSize", "ExtraLayers"]
            },
            **{key: {"type": "boolean"} for key in ("ExtraTCPMetric", "IPDefrag", "ReassembleTCP")},
        },
        "required": ["GremlinQuery"],
    },
    "PacketInjection": {
        "type": "object",
        "description": "Packets sent from the nodes of a query; the read-only members are known while it is followed.",
        "properties": {
            "UUID": {**_TEXT, "readOnly": True},
            "Src": {**_TEXT, "minLength": 1},
            "Type": {"enum": ["icmp4", "icmp6", "tcp4", "tcp6", "udp4", "udp6"]},
            **dict.fromkeys(("Dst", "SrcIP", "DstIP", "SrcMAC", "DstMAC", "Payload", "Mode", "StartTime"), _TEXT),
            **{
                key: {"type": "integer", "minimum": 0}
                for key in ("SrcPort", "DstPort", "ICMPID", "Count", "Interval", "IncrementPayload", "TTL")
            },
            "Pcap": {"type": ["string", "null"], "contentEncoding": "base64"},
            "TrackingID": {**_TEXT, "readOnly": True},
            "TrackingIDs": {"type": "array", "items": _TEXT, "readOnly": True},
            "L3TrackingIDs": {"type": "array", "items": _TEXT, "readOnly": True},
            "Nodes": {"type": "array", "items": {"type": "object"}, "readOnly": True},
        },
        "required": ["Src", "Type"],
    },
    "JSONPatch": {
        "type": "array",
        "description": "Operations of RFC 6902.",
        "items": {
            "type": "object",
            "properties": {"op": _TEXT, "path": _TEXT, "from": _TEXT, "value": {}},
            "required": ["op", "path"],
        },
    },
    "Connection": {
        "type": "object",
        "description": "A link, client or analyzer; address and port are those of the other side.",
        "properties": {
            "ServiceType": {"type": "string"},
            "ClientProtocol": {"type": "string"},
            "Addr": {"type": "string"},
            "Port": {"type": "integer"},
            "IsConnected": {"type": "boolean"},
            "ConnectTime": {"type": ["string", "null"]},
        },
        "required": ["ServiceType", "ClientProtocol", "Addr", "Port", "IsConnected", "ConnectTime"],
    },
    "Probe": {"type": "object", "properties": {"Status": {"type": "string"}}, "required": ["Status"]},
    "AnalyzerStatus": _object(
        {
            "Agents": _map_of(ref("Connection")),
            "Peers": _object(
                {"Incomers": _map_of(ref("Connection")), "Outgoers": _map_of(ref("Connection"))}, "Other analyzers."
            ),
            "Publishers": _map_of(ref("Connection")),
            "Subscribers": _map_of(ref("Connection")),
            "Alerts": _object({"IsMaster": {"type": "boolean"}}, "Who evaluates alerts."),
            "Captures": _object({"IsMaster": {"type": "boolean"}}, "Who starts captures."),
            "Probes": _map_of(ref("Probe")),
        },
        "An analyzer's state; fields of ours come besides.",
    ),
    "AgentStatus": _object(
        {
            "Clients": _map_of(ref("Connection")),
            "Analyzers": _map_of(ref("Connection")),
            "TopologyProbes": _map_of(ref("Probe")),
            "FlowProbes": {"type": "array", "items": {"type": "string"}},
        },
        "An agent's state; fields of ours come besides.",
    ),
}
"""Schemas that are referred to by name."""

GRAPH: Final = ref("Graph")
NODE: Final = ref("Node")
EDGE: Final = ref("Edge")
