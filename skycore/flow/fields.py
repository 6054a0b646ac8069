"""The fields of flow records: their names, other names for them, and their values.

Names are those of the JSON form (docs/flows.md).  Queries may name fields otherwise: ``IPV4.A`` for ``Network.A``, as
Skydive's do, ``DNS.ResponseCode`` for ``DNS.response_code``, and ``Network`` alone for either of its ends.  All this
becomes one form, the canonical one, before a query leaves for tables and stores.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from skycore.filter import MISSING, All, Filter, Not, lookup
from skycore.filter import Any as AnyOf

_LAYER: Final = ("Protocol", "A", "B", "ID")
_METRIC: Final = ("ABPackets", "ABBytes", "BAPackets", "BABytes", "Start", "Last", "RTT")
_BY_DIRECTION: Final = (
    "SynStart", "SynTTL", "FinStart", "RstStart", "SegmentOutOfOrder", "SegmentSkipped", "SegmentSkippedBytes",
    "SegmentRetransmitted", "Packets", "Bytes", "SawStart", "SawEnd",
)  # fmt: skip
_RECORD: Final = (
    "name", "type", "class", "TTL", "data_length", "IP", "NS", "c_name", "PTR", "TXTs", "SOA.m_name", "SOA.r_name",
    "SOA.serial", "SOA.refresh", "SOA.retry", "SOA.expire", "SOA.minimum", "SRV.priority", "SRV.weight", "SRV.port",
    "SRV.name", "MX.preference", "MX.name", "OPT.code", "OPT.data",
)  # fmt: skip
_DNS: Final = (
    "ID", "QR", "op_code", "AA", "TC", "RD", "RA", "z", "response_code", "q_d_count", "a_n_count", "n_s_count",
    "a_r_count", "questions.name", "questions.type", "questions.class",
    *(f"{section}.{name}" for section in ("answers", "authorities", "additionals") for name in _RECORD),
    "timestamp.seconds", "timestamp.nanos",
)  # fmt: skip
_LEASE: Final = ("file", "flags", "hardware_len", "hardware_opts", "secs", "server_name", "xid")

_UNDER: Final[dict[str, tuple[str, ...]]] = {
    "Link": _LAYER,
    "Network": _LAYER,
    "Transport": _LAYER,
    "ICMP": ("Type", "Code", "ID"),
    "DHCPv4": _LEASE,
    "DNS": _DNS,
    "VRRPv2": ("version", "virtual_rtrID", "priority", "adver_int"),
    "DHCPv6": ("message_type", "transaction_id"),
    "TLS": ("server_name",),
    "HTTP": ("method", "host"),
    "LastUpdateMetric": _METRIC,
    "Metric": _METRIC,
    "TCPMetric": tuple(end + name for end in ("AB", "BA") for name in _BY_DIRECTION),
    "IPMetric": ("Fragments", "FragmentErrors"),
}
FIELDS: Final = (
    "UUID",
    "LayersPath",
    "Application",
    *(f"{group}.{name}" for group, names in _UNDER.items() for name in names),
    "Start",
    "Last",
    "TrackingID",
    "L3TrackingID",
    "CommunityID",
    "ParentUUID",
    "NodeTID",
    "CaptureID",
    "RawPacketsCaptured",
    "FinishType",
)
"""Every field that a flow may have, as a key of queries; those that the graph adds (``At``, …) are not among them."""

NUMBERS: Final = frozenset(
    f"{group}.{name}" for group in ("Metric", "LastUpdateMetric", "TCPMetric", "IPMetric") for name in _UNDER[group]
)
"""Fields that can be summed."""

ENRICHED: Final = ("At", "From", "To")
"""What an analyzer adds to records: where a flow was captured, and what stands at its ends."""

_OTHER_NAMES: Final = {
    "ETHERNET": "Link",
    "IPV4": "Network",
    "IPV6": "Network",
    "TCP": "Transport",
    "UDP": "Transport",
    "SCTP": "Transport",
    "VRRP": "VRRPv2",
}
_ENDS: Final = frozenset({"Link", "Network", "Transport"})
_SETTLED: Final = frozenset({"UUID", "LayersPath", "Start", "TrackingID", "L3TrackingID", "CommunityID", "ParentUUID",
                             "NodeTID", "CaptureID", "Metric.Start"})  # fmt: skip
_ZEROS: Final = {
    "FinishType": None,
    "RawPacketsCaptured": None,
    "Metric.RTT": "Metric",
    "LastUpdateMetric.RTT": "LastUpdateMetric",
    "ICMP.Code": "ICMP",
    "ICMP.ID": "ICMP",
}
"""Fields that count as 0 where the JSON form leaves them out, if what they are part of is there."""


def _plain(key: str) -> str:
    return key.replace("_", "").lower()


_BY_PLAIN_NAME: Final = {_plain(key): key for key in (*FIELDS, *_UNDER)}


def canonical_key(key: str) -> str:
    """The name in the JSON form; what is no field of flows stays as it is."""
    first, dot, rest = key.partition(".")
    named = _OTHER_NAMES.get(first, first) + dot + rest
    return _BY_PLAIN_NAME.get(_plain(named), named)


def canonical_filter(filter: Filter) -> Filter:
    """The same over canonical keys; of a layer alone it is enough that one end passes."""
    match filter:
        case All(filters):
            return All(tuple(map(canonical_filter, filters)))
        case AnyOf(filters):
            return AnyOf(tuple(map(canonical_filter, filters)))
        case Not(inner):
            return Not(canonical_filter(inner))
        case leaf:
            key = canonical_key(leaf.key)
            if key in _ENDS:
                return AnyOf(tuple(attrs.evolve(leaf, key=f"{key}.{end}") for end in "AB"))
            return attrs.evolve(leaf, key=key)


def value(record: dict[str, Any], key: str) -> Any:
    """What a record has under a canonical key, or MISSING."""
    found = lookup(record, tuple(key.split(".")))
    if found is MISSING and key in _ZEROS:
        part = _ZEROS[key]
        if part is None or part in record:
            return 0
    return found


def settled(key: str) -> bool:
    """Whether the value under a canonical key is the same from a flow's first packet to its last."""
    group = key.partition(".")[0]
    return key in _SETTLED or group in _ENDS or group == "ICMP"


def known_to_tables(key: str) -> bool:
    """Whether agents know the field; what the graph adds is known to analyzers only."""
    return key.partition(".")[0] not in ENRICHED
