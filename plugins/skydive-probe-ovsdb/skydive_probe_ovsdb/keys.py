"""Every metadata key that the probe says: where it comes from, its unit, and which nodes have it.

The tables that the code reads with (``fields``) are part of this one; what is worked out otherwise is listed here.
``python -m skydive_probe_ovsdb.keys`` prints the section of README.md made from it.
"""

from __future__ import annotations

import sys
from typing import Final

import attrs

from skydive_probe_ovsdb import fields
from skydive_probe_ovsdb.statistics import COUNTERS

_NODES: Final = {
    "Bridge": "ovsbridge",
    "Port": "ovsport",
    "Interface": "interface",
    "Open_vSwitch": "switch",
}


@attrs.frozen
class Key:
    """One key (dotted), its source (``Table.column``, or words), its unit, and the nodes that have it."""

    name: str
    source: str
    unit: str
    nodes: str


_COUNTERS: Final = ", ".join(COUNTERS.values())

COMPUTED: Final = (
    Key(
        "Type",
        "`ovsbridge`, `ovsport`; Interface.type; netlink's for `system` devices that the kernel shows",
        "",
        "all but switch",
    ),
    Key("UUID", "the row's UUID", "", "all but switch"),
    Key("Vlans", "Port.tag as a number; with Port.trunks (and the tag, when native) as a list", "VLAN IDs", "ovsport"),
    Key(
        "Driver", "`openvswitch` for internal, patch, tunnels, DPDK; else Interface.status:driver_name", "", "interface"
    ),
    Key("MAC", "Interface.mac_in_use, but for internal ones, whose address netlink says", "", "interface"),
    Key("IfIndex", "Interface.ifindex", "", "interface"),
    Key("LocalIP", "Interface.options:local_ip", "", "tunnels"),
    Key("RemoteIP", "Interface.options:remote_ip", "", "tunnels"),
    Key("TunEgressIface", "Interface.status:tunnel_egress_iface", "", "tunnels"),
    Key("TunEgressIfaceCarrier", "Interface.status:tunnel_egress_iface_carrier", "", "tunnels"),
    Key("Tunnel.Egress", "the interface named TunEgressIface", "ifindex", "tunnels"),
    Key("Tunnel.Source", "LocalIP, else an address of that interface", "", "tunnels"),
    Key("Tunnel.LowEnds", "the pair of ends where Source is the lower address, as netlink writes it", "", "tunnels"),
    Key("Tunnel.HighEnds", "the same where it is the higher; equal to LowEnds of the other end", "", "tunnels"),
    Key("Ovs.Metric", f"Interface.statistics, running totals: {_COUNTERS}; Last", "counts, bytes; ms", "interface"),
    Key("Ovs.LastUpdateMetric", "what the last change added to Ovs.Metric; Start, Last", "the same; ms", "interface"),
)
"""Keys of the database's nodes that are worked out."""

OPENFLOW: Final = (
    Key("Cookie", "hexadecimal", "", "ofrule"),
    Key("Table", "table ID", "", "ofrule"),
    Key("Priority", "", "", "ofrule"),
    Key("Filters", "native: `[{Type, Value, Mask?}]`; ovs-ofctl: `[{Key, Value, Mask?}]`", "", "ofrule"),
    Key("Actions", "native: `[{Type, Arguments?}]`; ovs-ofctl: `[{Function, Arguments?, Key?}]`", "", "ofrule"),
    Key("WriteActions", "the same, of the instruction write-actions", "", "ofrule (native)"),
    Key("GotoTable", "table ID", "", "ofrule (native)"),
    Key("IdleTimeout", "", "s", "ofrule (native)"),
    Key("HardTimeout", "", "s", "ofrule (native)"),
    Key("Importance", "", "", "ofrule (native)"),
    Key("Flags", "SendFlowRem, CheckOverlap, ResetCounts, NoPktCounts, NoBytCounts: true", "", "ofrule (native)"),
    Key("Metric", "RxPackets, RxBytes, Last; empty for groups", "counts, bytes; ms", "ofrule, ofgroup (native)"),
    Key("LastUpdateMetric", "what the last sample added to Metric; Start, Last", "the same; ms", "ofrule (native)"),
    Key("Meta", "`[{Key, Value?}]`: timeouts, importance, flags", "", "ofrule, ofgroup (ovs-ofctl)"),
    Key("UUID", "UUIDv5 of bridge and rule or group", "", "ofrule, ofgroup (ovs-ofctl)"),
    Key("GroupId", "", "", "ofgroup"),
    Key("GroupType", "all, select, indirect, ff", "", "ofgroup"),
    Key("Buckets", "`[{Id?, Len, Weight, WatchPort?, WatchGroup?, Actions}]`", "", "ofgroup (native)"),
    Key("Buckets", "`[{Id, Meta?, Actions}]`", "", "ofgroup (ovs-ofctl)"),
)
"""Keys of OpenFlow's nodes; ``native`` and ``ovs-ofctl`` are the two ways of ``ovs.oflow.native``."""


def all_keys() -> list[Key]:
    """Every key; one that several kinds of nodes have comes once for each source."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for reading in fields.NODES:
        for field in reading.fields:
            source = field.column if field.column in ("name", "external_ids", "other_config") else ""
            place = (field.key, source or f"{reading.table}.{field.column}", field.unit)
            found.setdefault(place, []).append(_NODES[reading.table])
    keys = [Key(name, source, unit, ", ".join(nodes)) for (name, source, unit), nodes in found.items()]
    for part in fields.PARTS:
        inner = ", ".join(f"{field.key} ({field.unit})" if field.unit else field.key for field in part.reading.fields)
        more = {"QoS": ", Queues (ID, DSCP, OtherConfig)", "Mirror": ", Output, Sources, Destinations (ports)"}
        how = "a list, each with" if part.several else "of"
        words = f"{how} {part.reading.table}: {inner}{more.get(part.reading.table, '')}"
        keys.append(Key(f"Ovs.{part.key}", words, "", _NODES[part.owner]))
    return [*COMPUTED, *keys, *OPENFLOW]


TOP_LEVEL: Final = frozenset(key.name.partition(".")[0] for key in all_keys())
"""The top-level metadata keys that the probe may say."""


def markdown() -> str:
    """The table for README.md."""
    lines = ["| Key | Source | Unit | Nodes |", "|---|---|---|---|"]
    lines += [f"| `{key.name}` | {key.source} | {key.unit} | {key.nodes} |" for key in all_keys()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
