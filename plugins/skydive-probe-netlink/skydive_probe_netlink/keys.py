"""Every metadata key of an interface: where it comes from, its unit, and which kinds of links have it.

The tables that the code reads with (``linkdata``, ``kinds``, ``bonds``) are part of this one; what is worked out
otherwise is listed here.  ``python -m skydive_probe_netlink.keys`` prints the section of README.md made from it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from skydive_probe_netlink import disciplines, team, wireguard
from skydive_probe_netlink.kinds import Document
from skydive_probe_netlink.linkdata import COMMON, KINDS, PORTS
from skydive_probe_netlink.metrics import NAMES

_ALL: Final = "all"


@attrs.frozen
class Key:
    """One key (dotted), the kernel's name of its source, its unit, and the kinds that have it."""

    name: str
    source: str
    unit: str = ""
    kinds: str = _ALL


COMPUTED: Final = (
    Key("Name", "IFLA_IFNAME"),
    Key("Type", "IFLA_INFO_KIND; `device` without one, `tuntap` for tun"),
    Key("EncapType", "ifi_type (ARPHRD_…), in iproute2's words"),
    Key("IfIndex", "ifi_index"),
    Key("Driver", "ETHTOOL_GDRVINFO; empty when there is none"),
    Key("MTU", "IFLA_MTU", "bytes"),
    Key("MAC", "IFLA_ADDRESS; absent when all zeros, and for L3 tunnels"),
    Key("State", "IFLA_OPERSTATE"),
    Key("LinkFlags", "ifi_flags: UP BROADCAST LOOPBACK POINTTOPOINT MULTICAST"),
    Key("MasterIndex", "IFLA_MASTER", "ifindex"),
    Key("ParentIndex", "IFLA_LINK: lower device, or the peer", "ifindex"),
    Key("PeerIfIndex", "IFLA_LINK", "ifindex", "netkit, veth, vxcan"),
    Key("LinkNetNsID", "IFLA_LINK_NETNSID: where ParentIndex counts"),
    Key("LinkNetNsName", "name of the node of that namespace, by RTM_GETNSID"),
    Key("IPV4", "RTM_NEWADDR: `address/length`, in the kernel's order"),
    Key("IPV6", "RTM_NEWADDR: `address/length`, in the kernel's order"),
    Key("Metric", f"IFLA_STATS64, running totals: {', '.join(NAMES)}; and Last", "counts and bytes; Last in ms"),
    Key("LastUpdateMetric", "what the last sample added to Metric; Start, Last", "the same; Start, Last in ms"),
    Key(
        "RoutingTables",
        "RTM_GETROUTE: by table ID the routes through this interface, each leg of a multipath; NexthopID when named",
    ),
    Key("Neighbors", "RTM_GETNEIGH, AF_INET and AF_INET6: Flags, MAC, IP, State, IfIndex"),
    Key("FDB", "RTM_GETNEIGH, AF_BRIDGE: Flags, MAC, IP, State, Vlan, VNI, IfIndex"),
    Key("Qdiscs", "RTM_GETQDISC: Kind, Handle, Parent, Options; without the kernel's own defaults"),
    Key("Classes", "RTM_GETTCLASS: Kind, Handle, Parent, Leaf, Options; those that somebody has made"),
    Key("Filters", "RTM_GETTFILTER: Kind, Parent, Handle, Priority, Protocol, Chain; Program of a bpf filter"),
    Key("Programs", "BPF_PROG_QUERY: Attach, ID, Name of tcx and netkit programs; read with each sample"),
    Key("BridgeVlans", "IFLA_BRIDGE_VLAN_INFO: ID, End of a range, PVID, Untagged", "", "bridge and its ports"),
    Key("MDB", "RTM_GETMDB: Group, Port, State, Flags, Vlan, Source, Protocol", "", "bridge, vxlan"),
    Key("Tunnel.Egress", "the device bound to, else RTM_GETROUTE to Remote", "ifindex", "tunnels"),
    Key("Tunnel.Source", "IFLA_…_LOCAL, else RTA_PREFSRC of that route", "", "tunnels"),
    Key("Tunnel.LowEnds", "the pair of ends where Source is the lower address", "", "tunnels"),
    Key("Tunnel.HighEnds", "the same where it is the higher; equal to LowEnds of the other end", "", "tunnels"),
    Key("Wireguard.PublicKey", "WGDEVICE_A_PUBLIC_KEY", "", "wireguard"),
    Key("Wireguard.ListenPort", "WGDEVICE_A_LISTEN_PORT", "", "wireguard"),
    Key("Wireguard.FwMark", "WGDEVICE_A_FWMARK", "", "wireguard"),
    Key("Wireguard.LowPeers", "the pairs of public keys where the own is the lower", "", "wireguard"),
    Key("Wireguard.HighPeers", "the same where it is the higher; equal to LowPeers of the peer", "", "wireguard"),
    Key(
        "Wireguard.Peers",
        "WGDEVICE_A_PEERS: PublicKey, Endpoint, AllowedIPs, Keepalive; never secrets",
        "Keepalive in s",
        "wireguard",
    ),
    Key(
        "Metric.Peers",
        f"WGDEVICE_A_PEERS, by public key: {', '.join(wireguard.COUNTED)}",
        "bytes; LastHandshake in ms since the epoch",
        "wireguard",
    ),
    *(
        Key(name, source, unit, "team" if name.startswith("Team.") else "ports of team")
        for name, (source, unit) in team.keys().items()
    ),
)
"""Keys that are worked out, or read otherwise than by the tables of attributes."""

NAMESPACE: Final = (
    Key(
        "Rules",
        "RTM_GETRULE: Family, Priority, Action, Table, From, To, IIf, OIf, FwMark, FwMask, Not, Goto, L3mdev, TOS, "
        "Protocol, IPProtocol, SourcePorts, DestinationPorts, UIDs, SuppressPrefixLength, SuppressGroup",
        "",
        "host, netns",
    ),
    Key(
        "Nexthops",
        "RTM_GETNEXTHOP: ID, Family, IfIndex, IP, Group (ID, Weight), GroupType, Resilience, Blackhole, FDB, Protocol, "
        "OnLink",
        "",
        "host, netns",
    ),
)
"""Keys of the namespace's own node."""


def _options() -> Iterator[Key]:
    for name, tables in (("Qdiscs", disciplines.QDISCS), ("Classes", disciplines.CLASSES)):
        kinds: dict[tuple[str, str, str], list[str]] = {}
        for kind, options in tables.items():
            for part in options.all_parts():
                kinds.setdefault((part.key, part.source, part.unit), []).append(kind)
        for (key, source, unit), found in kinds.items():
            yield Key(f"{name}.Options.{key}", source, unit, f"{name.lower()} {', '.join(found)}")


def _documents(tables: Mapping[str, tuple[Document, ...]], whose: str) -> Iterator[Key]:
    kinds: dict[int, tuple[Document, list[str]]] = {}
    for kind, documents in tables.items():
        for document in documents:
            kinds.setdefault(id(document), (document, []))[1].append(kind)
    for document, names in kinds.values():
        prefix = f"{document.key}." if document.key else ""
        for name, value in document.fixed:
            yield Key(prefix + name, f"`{value}`", "", whose + ", ".join(sorted(names)))
        for field in document.fields:
            yield Key(prefix + field.key, field.source, field.unit, whose + ", ".join(sorted(names)))


def all_keys() -> list[Key]:
    """Every key, those of interfaces first; one that several kinds fill comes once for each source."""
    common = [Key(field.key, field.source, field.unit) for field in COMMON.fields]
    return [*COMPUTED, *common, *_documents(KINDS, ""), *_documents(PORTS, "ports of "), *_options(), *NAMESPACE]


TOP_LEVEL: Final = frozenset(key.name.partition(".")[0] for key in all_keys())
"""The top-level metadata keys that the probe may say."""


def markdown() -> str:
    """The table for README.md."""
    lines = ["| Key | Source | Unit | Kinds |", "|---|---|---|---|"]
    for key in all_keys():
        lines.append(f"| `{key.name}` | {key.source} | {key.unit} | {key.kinds} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
