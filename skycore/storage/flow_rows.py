"""Records of flows as rows: which fields stand in columns of their own, and how they are read out of the JSON.

A column is for fields that are often asked for; all others are answered from the JSON beside them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, cast, final

import attrs
import msgspec

Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Word = Annotated[str, msgspec.Meta(max_length=4096)]
_NONE: Final = cast(Any, None)
"""The default of a field that may be absent, but not null."""


@final
@attrs.frozen
class Column:
    """A field in a column.

    ``index``: "few" flows have the same value, so that it is the best way in; "many" have it, so that a span of time
    or an order by time may be better; None: no index.  ``settled``: it hardly ever changes.
    """

    name: str
    key: str
    type: Literal["TEXT", "INTEGER"] = "TEXT"
    index: Literal["few", "many"] | None = None
    settled: bool = True


_ENDS: Final = tuple(
    Column(f"{end.lower()}_{name.lower()}", f"{end}.{name}", index="few")
    for name in ("Container", "Pod", "Service", "Process")
    for end in ("From", "To")
)
COLUMNS: Final = (
    Column("tracking", "TrackingID", index="few"),
    Column("l3", "L3TrackingID", index="few"),
    Column("node", "NodeTID", index="many"),
    Column("capture", "CaptureID", index="many"),
    Column("application", "Application", index="many"),
    Column("network_a", "Network.A", index="few"),
    Column("network_b", "Network.B", index="few"),
    Column("transport_a", "Transport.A", "INTEGER", index="few"),
    Column("transport_b", "Transport.B", "INTEGER", index="many"),
    Column("link_a", "Link.A", index="few"),
    Column("link_b", "Link.B", index="few"),
    *_ENDS,
    Column("parent", "ParentUUID"),
    Column("layers", "LayersPath"),
    Column("ab_packets", "Metric.ABPackets", "INTEGER", settled=False),
    Column("ab_bytes", "Metric.ABBytes", "INTEGER", settled=False),
    Column("ba_packets", "Metric.BAPackets", "INTEGER", settled=False),
    Column("ba_bytes", "Metric.BABytes", "INTEGER", settled=False),
)
"""Beside ``uuid``, ``start`` and ``last``."""

BY_KEY: Final = {
    column.key: column
    for column in (
        *COLUMNS,
        Column("uuid", "UUID", index="few"),
        Column("start", "Start", "INTEGER", settled=False),
        Column("last", "Last", "INTEGER", index="many", settled=False),
    )
}


class _Layer(msgspec.Struct, frozen=True, gc=False):
    A: Word = _NONE
    B: Word = _NONE


class _Transport(msgspec.Struct, frozen=True, gc=False):
    A: Number = _NONE
    B: Number = _NONE


class _End(msgspec.Struct, frozen=True, gc=False):
    Node: Word = _NONE
    Container: Word = _NONE
    Pod: Word = _NONE
    Service: Word = _NONE
    Process: Word = _NONE


class _Total(msgspec.Struct, frozen=True, gc=False):
    ABPackets: Number = _NONE
    ABBytes: Number = _NONE
    BAPackets: Number = _NONE
    BABytes: Number = _NONE


class _Metric(msgspec.Struct, gc=False):
    Start: Number
    Last: Number
    ABPackets: Number = 0
    ABBytes: Number = 0
    BAPackets: Number = 0
    BABytes: Number = 0
    RTT: Number = 0


class _Flow(msgspec.Struct, gc=False):
    UUID: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    Start: Number
    Last: Number
    TrackingID: Word = _NONE
    L3TrackingID: Word = _NONE
    ParentUUID: Word = _NONE
    NodeTID: Word = _NONE
    CaptureID: Word = _NONE
    Application: Word = _NONE
    LayersPath: Word = _NONE
    Link: _Layer = _Layer()
    Network: _Layer = _Layer()
    Transport: _Transport = _Transport()
    Metric: _Total = _Total()
    At: _End = _End()
    From: _End = _End()
    To: _End = _End()
    LastUpdateMetric: _Metric | None = None


class _RawPacket(msgspec.Struct, gc=False):
    UUID: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    Timestamp: Number
    Index: Number
    Data: str
    LinkType: Number


_flow = msgspec.json.Decoder(_Flow).decode
_raw = msgspec.json.Decoder(_RawPacket).decode
_columns = attrgetter("UUID", "Start", "Last", *(column.key for column in COLUMNS))
_places = attrgetter("At.Node", "From.Node", "To.Node")


class Counted(NamedTuple):
    """What a flow did from ``start`` to ``last`` (ms since the epoch), with what it is added up by.

    ``a``, ``b``: its addresses, those of the link where it has no others.
    """

    uuid: str
    last: int
    start: int
    ab_packets: int
    ab_bytes: int
    ba_packets: int
    ba_bytes: int
    rtt: int
    node: str
    parent: str
    application: str
    a: str
    b: str


Row: TypeAlias = tuple[Any, ...]


@final
@attrs.frozen
class FlowRows:
    """What one commit takes, as rows; ``refused`` records could not be understood.

    ``flows``: by UUID the youngest record, as (uuid, start, last, ``COLUMNS``, bare, json); ``bare``
    where the graph did not know all its places.  ``counted``: by (uuid, last).
    """

    flows: dict[str, Row] = attrs.field(factory=dict)
    counted: dict[tuple[str, int], Counted] = attrs.field(factory=dict)
    raw_packets: list[Row] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)

    def add(self, flows: Iterable[bytes | msgspec.Raw], raw_packets: Iterable[bytes | msgspec.Raw]) -> None:
        """Records as they came from an agent; what is wrong is refused by itself."""
        for record in flows:
            try:
                self._add_flow(bytes(record))
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                self.refused.append(f"a flow: {error}")
        for record in raw_packets:
            try:
                packet = _raw(record)
                data = base64.b64decode(packet.Data, validate=True)
            except (msgspec.DecodeError, UnicodeError, RecursionError, binascii.Error) as error:
                self.refused.append(f"a packet: {error}")
            else:
                self.raw_packets.append((packet.Index, packet.Timestamp, packet.LinkType, data, packet.UUID))

    def _add_flow(self, json: bytes) -> None:
        flow = _flow(json)
        uuid = flow.UUID
        known = self.flows.get(uuid)
        if known is None or known[2] <= flow.Last:
            self.flows[uuid] = (*_columns(flow), None in _places(flow), json)
        one = flow.LastUpdateMetric
        if one is not None and (one.ABPackets or one.ABBytes or one.BAPackets or one.BABytes):
            ends = flow.Link if flow.Network.A is None else flow.Network
            self.counted[uuid, one.Last] = Counted(
                uuid,
                one.Last,
                one.Start,
                one.ABPackets,
                one.ABBytes,
                one.BAPackets,
                one.BABytes,
                one.RTT,
                flow.NodeTID or "",
                flow.ParentUUID or "",
                flow.Application or "",
                ends.A or "",
                ends.B or "",
            )
