"""What each kind of link says of itself beyond what all links say: tables of attributes and the keys they become.

IFLA_INFO_DATA holds the attributes of the link's own kind, IFLA_INFO_SLAVE_DATA those of its master's kind about this
port.  Numbers and meanings are those of linux/if_link.h and linux/if_tunnel.h.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import Read


@attrs.frozen
class Field:
    """One attribute: the key under which it is kept, its name in the kernel's header, its number and its unit.

    A number that is 0, an empty text and an empty list are left out, unless ``zero``.
    """

    key: str
    source: str
    type: int
    read: Read
    unit: str = ""
    zero: bool = False


@attrs.frozen
class Document:
    """The fields of some kinds, kept together under one key ("": each under its own); ``fixed`` goes with them."""

    key: str
    fields: tuple[Field, ...]
    fixed: tuple[tuple[str, str], ...] = ()
    table: a.Table = attrs.field(init=False, repr=False, eq=False)
    zeros: frozenset[str] = attrs.field(init=False, repr=False, eq=False)

    @table.default
    def _table(self) -> a.Table:
        return {field.type: (field.key, field.read) for field in self.fields}

    @zeros.default
    def _zeros(self) -> frozenset[str]:
        return frozenset(field.key for field in self.fields if field.zero)

    def decode(self, payload: bytes, start: int, end: int) -> dict[str, Any]:
        """Metadata from the attributes of ``payload[start:end]``; raises DecodeError."""
        found = {**self.tidy(a.read_attributes(self.table, payload, start, end)), **dict(self.fixed)}
        if not self.key:
            return found
        return {self.key: found} if found else {}

    def tidy(self, found: dict[str, Any]) -> dict[str, Any]:
        """Without what is left out."""
        return {key: value for key, value in found.items() if value or value is False or key in self.zeros}


def _identifier(payload: bytes, start: int, end: int) -> str:
    """struct ifla_bridge_id: ``8000.02:00:00:00:00:01``, priority and address."""
    if end - start < 8:
        raise netlink.DecodeError(f"a bridge ID of {end - start} bytes where 8 were expected")
    return f"{payload[start : start + 2].hex()}.{payload[start + 2 : start + 8].hex(':')}"


def _ports(payload: bytes, start: int, end: int) -> list[int]:
    """struct ifla_vxlan_port_range: first and last; empty for the system's own choice."""
    low, high = a.be16(payload, start, end), a.be16(payload, start + 2, end)
    return [low, high] if high else []


_ETHERTYPES: Final = {0x8100: "802.1Q", 0x88A8: "802.1ad"}  # linux/if_ether.h
_DF: Final = {0: "unset", 1: "set", 2: "inherit"}
_MULTICAST_ROUTER: Final = {0: "disabled", 1: "learn", 2: "permanent", 3: "temporary"}
_GRE_FLAGS: Final = {0x8000: "csum", 0x2000: "key", 0x1000: "seq"}  # linux/if_tunnel.h, GRE_CSUM …
_ENCAPSULATIONS: Final = {0: "", 1: "fou", 2: "gue", 3: "mpls"}
_CENTISECONDS: Final = a.scaled(a.u32, 100)
_CENTISECONDS64: Final = a.scaled(a.u64, 100)

BRIDGE: Final = Document(
    "Bridge",
    (
        Field("ForwardDelay", "IFLA_BR_FORWARD_DELAY", 1, _CENTISECONDS, "s"),
        Field("HelloTime", "IFLA_BR_HELLO_TIME", 2, _CENTISECONDS, "s"),
        Field("MaxAge", "IFLA_BR_MAX_AGE", 3, _CENTISECONDS, "s"),
        Field("AgeingTime", "IFLA_BR_AGEING_TIME", 4, _CENTISECONDS, "s"),
        Field("STP", "IFLA_BR_STP_STATE", 5, a.one_of(a.u32, {0: "off", 1: "kernel", 2: "user"})),
        Field("Priority", "IFLA_BR_PRIORITY", 6, a.u16),
        Field("VlanFiltering", "IFLA_BR_VLAN_FILTERING", 7, a.boolean),
        Field("VlanProtocol", "IFLA_BR_VLAN_PROTOCOL", 8, a.one_of(a.be16, _ETHERTYPES)),
        Field("GroupForwardMask", "IFLA_BR_GROUP_FWD_MASK", 9, a.u16),
        Field("RootID", "IFLA_BR_ROOT_ID", 10, _identifier),
        Field("BridgeID", "IFLA_BR_BRIDGE_ID", 11, _identifier),
        Field("RootPort", "IFLA_BR_ROOT_PORT", 12, a.u16),
        Field("RootPathCost", "IFLA_BR_ROOT_PATH_COST", 13, a.u32),
        Field("TopologyChange", "IFLA_BR_TOPOLOGY_CHANGE", 14, a.boolean),
        Field("MulticastRouter", "IFLA_BR_MCAST_ROUTER", 22, a.one_of(a.u8, _MULTICAST_ROUTER)),
        Field("MulticastSnooping", "IFLA_BR_MCAST_SNOOPING", 23, a.boolean),
        Field("MulticastQuerier", "IFLA_BR_MCAST_QUERIER", 25, a.boolean),
        Field("MulticastHashMax", "IFLA_BR_MCAST_HASH_MAX", 27, a.u32),
        Field("MulticastQueryInterval", "IFLA_BR_MCAST_QUERY_INTVL", 33, _CENTISECONDS64, "s"),
        Field("CallIptables", "IFLA_BR_NF_CALL_IPTABLES", 36, a.boolean),
        Field("CallIp6tables", "IFLA_BR_NF_CALL_IP6TABLES", 37, a.boolean),
        Field("CallArptables", "IFLA_BR_NF_CALL_ARPTABLES", 38, a.boolean),
        Field("VlanDefaultPVID", "IFLA_BR_VLAN_DEFAULT_PVID", 39, a.u16),
        Field("IGMPVersion", "IFLA_BR_MCAST_IGMP_VERSION", 43, a.u8),
        Field("MLDVersion", "IFLA_BR_MCAST_MLD_VERSION", 44, a.u8),
    ),
)

_PORT_STATES: Final = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
BRIDGE_PORT: Final = Document(
    "BridgePort",
    (
        Field("State", "IFLA_BRPORT_STATE", 1, a.one_of(a.u8, _PORT_STATES)),
        Field("Priority", "IFLA_BRPORT_PRIORITY", 2, a.u16, zero=True),
        Field("Cost", "IFLA_BRPORT_COST", 3, a.u32),
        Field("Hairpin", "IFLA_BRPORT_MODE", 4, a.boolean),
        Field("Guard", "IFLA_BRPORT_GUARD", 5, a.boolean),
        Field("RootBlock", "IFLA_BRPORT_PROTECT", 6, a.boolean),
        Field("FastLeave", "IFLA_BRPORT_FAST_LEAVE", 7, a.boolean),
        Field("Learning", "IFLA_BRPORT_LEARNING", 8, a.boolean),
        Field("Flood", "IFLA_BRPORT_UNICAST_FLOOD", 9, a.boolean),
        Field("ProxyARP", "IFLA_BRPORT_PROXYARP", 10, a.boolean),
        Field("ID", "IFLA_BRPORT_ID", 17, a.u16),
        Field("Number", "IFLA_BRPORT_NO", 18, a.u16),
        Field("DesignatedPort", "IFLA_BRPORT_DESIGNATED_PORT", 15, a.u16),
        Field("DesignatedCost", "IFLA_BRPORT_DESIGNATED_COST", 16, a.u16),
        Field("DesignatedRoot", "IFLA_BRPORT_ROOT_ID", 13, _identifier),
        Field("DesignatedBridge", "IFLA_BRPORT_BRIDGE_ID", 14, _identifier),
        Field("MulticastRouter", "IFLA_BRPORT_MULTICAST_ROUTER", 25, a.one_of(a.u8, _MULTICAST_ROUTER)),
        Field("MulticastFlood", "IFLA_BRPORT_MCAST_FLOOD", 27, a.boolean),
        Field("BroadcastFlood", "IFLA_BRPORT_BCAST_FLOOD", 30, a.boolean),
        Field("VlanTunnel", "IFLA_BRPORT_VLAN_TUNNEL", 29, a.boolean),
        Field("GroupForwardMask", "IFLA_BRPORT_GROUP_FWD_MASK", 31, a.u16),
        Field("NeighSuppress", "IFLA_BRPORT_NEIGH_SUPPRESS", 32, a.boolean),
        Field("Isolated", "IFLA_BRPORT_ISOLATED", 33, a.boolean),
        Field("BackupPort", "IFLA_BRPORT_BACKUP_PORT", 34, a.u32, "ifindex"),
        Field("Locked", "IFLA_BRPORT_LOCKED", 39, a.boolean),
    ),
)

VLAN: Final = Document(
    "",
    (
        Field("Vlan", "IFLA_VLAN_ID", 1, a.u16, zero=True),
        Field("VlanProtocol", "IFLA_VLAN_PROTOCOL", 5, a.one_of(a.be16, _ETHERTYPES)),
        Field(
            "VlanFlags",
            "IFLA_VLAN_FLAGS",
            2,
            a.bits_of(a.u32, {1: "reorder-hdr", 2: "gvrp", 4: "loose-binding", 8: "mvrp", 16: "bridge-binding"}),
        ),
    ),
)

VXLAN: Final = Document(
    "Tunnel",
    (
        Field("ID", "IFLA_VXLAN_ID", 1, a.u32, zero=True),
        Field("Remote", "IFLA_VXLAN_GROUP", 2, a.endpoint),
        Field("Remote", "IFLA_VXLAN_GROUP6", 16, a.endpoint),
        Field("Local", "IFLA_VXLAN_LOCAL", 4, a.endpoint),
        Field("Local", "IFLA_VXLAN_LOCAL6", 17, a.endpoint),
        Field("Link", "IFLA_VXLAN_LINK", 3, a.u32, "ifindex"),
        Field("TTL", "IFLA_VXLAN_TTL", 5, a.u8),
        Field("TTLInherit", "IFLA_VXLAN_TTL_INHERIT", 28, a.boolean),
        Field("TOS", "IFLA_VXLAN_TOS", 6, a.u8),
        Field("Label", "IFLA_VXLAN_LABEL", 26, a.be32),
        Field("DF", "IFLA_VXLAN_DF", 29, a.one_of(a.u8, _DF)),
        Field("Port", "IFLA_VXLAN_PORT", 15, a.be16),
        Field("SourcePorts", "IFLA_VXLAN_PORT_RANGE", 10, _ports),
        Field("Learning", "IFLA_VXLAN_LEARNING", 7, a.boolean),
        Field("Ageing", "IFLA_VXLAN_AGEING", 8, a.u32, "s"),
        Field("Limit", "IFLA_VXLAN_LIMIT", 9, a.u32, "entries"),
        Field("Proxy", "IFLA_VXLAN_PROXY", 11, a.boolean),
        Field("L2Miss", "IFLA_VXLAN_L2MISS", 13, a.boolean),
        Field("L3Miss", "IFLA_VXLAN_L3MISS", 14, a.boolean),
        Field("Csum", "IFLA_VXLAN_UDP_CSUM", 18, a.boolean),
        Field("GBP", "IFLA_VXLAN_GBP", 23, a.present),
        Field("GPE", "IFLA_VXLAN_GPE", 27, a.present),
        Field("External", "IFLA_VXLAN_COLLECT_METADATA", 25, a.boolean),
        Field("VNIFilter", "IFLA_VXLAN_VNIFILTER", 30, a.boolean),
    ),
)

GENEVE: Final = Document(
    "Tunnel",
    (
        Field("ID", "IFLA_GENEVE_ID", 1, a.u32, zero=True),
        Field("Remote", "IFLA_GENEVE_REMOTE", 2, a.endpoint),
        Field("Remote", "IFLA_GENEVE_REMOTE6", 7, a.endpoint),
        Field("TTL", "IFLA_GENEVE_TTL", 3, a.u8),
        Field("TTLInherit", "IFLA_GENEVE_TTL_INHERIT", 12, a.boolean),
        Field("TOS", "IFLA_GENEVE_TOS", 4, a.u8),
        Field("Label", "IFLA_GENEVE_LABEL", 11, a.be32),
        Field("DF", "IFLA_GENEVE_DF", 13, a.one_of(a.u8, _DF)),
        Field("Port", "IFLA_GENEVE_PORT", 5, a.be16),
        Field("Csum", "IFLA_GENEVE_UDP_CSUM", 8, a.boolean),
        Field("External", "IFLA_GENEVE_COLLECT_METADATA", 6, a.present),
    ),
)

GRE: Final = Document(
    "Tunnel",
    (
        Field("Local", "IFLA_GRE_LOCAL", 6, a.endpoint),
        Field("Remote", "IFLA_GRE_REMOTE", 7, a.endpoint),
        Field("Link", "IFLA_GRE_LINK", 1, a.u32, "ifindex"),
        Field("InFlags", "IFLA_GRE_IFLAGS", 2, a.bits_of(a.be16, _GRE_FLAGS)),
        Field("OutFlags", "IFLA_GRE_OFLAGS", 3, a.bits_of(a.be16, _GRE_FLAGS)),
        Field("InKey", "IFLA_GRE_IKEY", 4, a.be32),
        Field("OutKey", "IFLA_GRE_OKEY", 5, a.be32),
        Field("TTL", "IFLA_GRE_TTL", 8, a.u8),
        Field("TOS", "IFLA_GRE_TOS", 9, a.u8),
        Field("PMTUDiscovery", "IFLA_GRE_PMTUDISC", 10, a.boolean),
        Field("EncapLimit", "IFLA_GRE_ENCAP_LIMIT", 11, a.u8),
        Field("Encap", "IFLA_GRE_ENCAP_TYPE", 14, a.one_of(a.u16, _ENCAPSULATIONS)),
        Field("EncapSourcePort", "IFLA_GRE_ENCAP_SPORT", 16, a.be16),
        Field("EncapPort", "IFLA_GRE_ENCAP_DPORT", 17, a.be16),
        Field("External", "IFLA_GRE_COLLECT_METADATA", 18, a.present),
        Field("IgnoreDF", "IFLA_GRE_IGNORE_DF", 19, a.boolean),
        Field("FwMark", "IFLA_GRE_FWMARK", 20, a.u32),
        Field("ErspanIndex", "IFLA_GRE_ERSPAN_INDEX", 21, a.u32),
        Field("ErspanVersion", "IFLA_GRE_ERSPAN_VER", 22, a.u8),
        Field("ErspanHardware", "IFLA_GRE_ERSPAN_HWID", 24, a.u16),
    ),
)

_INNER: Final = {0: "any", 4: "ip", 41: "ipv6", 137: "mpls"}  # linux/in.h, IPPROTO_…
IPTUNNEL: Final = Document(
    "Tunnel",
    (
        Field("Local", "IFLA_IPTUN_LOCAL", 2, a.endpoint),
        Field("Remote", "IFLA_IPTUN_REMOTE", 3, a.endpoint),
        Field("Link", "IFLA_IPTUN_LINK", 1, a.u32, "ifindex"),
        Field("TTL", "IFLA_IPTUN_TTL", 4, a.u8),
        Field("TOS", "IFLA_IPTUN_TOS", 5, a.u8),
        Field("EncapLimit", "IFLA_IPTUN_ENCAP_LIMIT", 6, a.u8),
        Field("Protocol", "IFLA_IPTUN_PROTO", 9, a.one_of(a.u8, _INNER)),
        Field("PMTUDiscovery", "IFLA_IPTUN_PMTUDISC", 10, a.boolean),
        Field("Encap", "IFLA_IPTUN_ENCAP_TYPE", 15, a.one_of(a.u16, _ENCAPSULATIONS)),
        Field("EncapSourcePort", "IFLA_IPTUN_ENCAP_SPORT", 17, a.be16),
        Field("EncapPort", "IFLA_IPTUN_ENCAP_DPORT", 18, a.be16),
        Field("External", "IFLA_IPTUN_COLLECT_METADATA", 19, a.present),
        Field("FwMark", "IFLA_IPTUN_FWMARK", 20, a.u32),
    ),
)

VTI: Final = Document(
    "Tunnel",
    (
        Field("Local", "IFLA_VTI_LOCAL", 4, a.endpoint),
        Field("Remote", "IFLA_VTI_REMOTE", 5, a.endpoint),
        Field("Link", "IFLA_VTI_LINK", 1, a.u32, "ifindex"),
        Field("InKey", "IFLA_VTI_IKEY", 2, a.be32),
        Field("OutKey", "IFLA_VTI_OKEY", 3, a.be32),
        Field("FwMark", "IFLA_VTI_FWMARK", 6, a.u32),
    ),
)

XFRM: Final = Document(
    "Xfrm",
    (
        Field("InterfaceID", "IFLA_XFRM_IF_ID", 2, a.u32),
        Field("Link", "IFLA_XFRM_LINK", 1, a.u32, "ifindex"),
        Field("External", "IFLA_XFRM_COLLECT_METADATA", 3, a.present),
    ),
)

_MACVLAN_MODES: Final = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
MACVLAN: Final = Document(
    "Macvlan",
    (
        Field("Mode", "IFLA_MACVLAN_MODE", 1, a.one_of(a.u32, _MACVLAN_MODES)),
        Field("Flags", "IFLA_MACVLAN_FLAGS", 2, a.bits_of(a.u16, {1: "nopromisc", 2: "nodst"})),
        Field("Sources", "IFLA_MACVLAN_MACADDR_DATA", 5, a.each(a.mac)),
        Field("BroadcastQueueLength", "IFLA_MACVLAN_BC_QUEUE_LEN", 7, a.u32, "packets"),
    ),
)

IPVLAN: Final = Document(
    "Ipvlan",
    (
        Field("Mode", "IFLA_IPVLAN_MODE", 1, a.one_of(a.u16, {0: "l2", 1: "l3", 2: "l3s"})),
        Field("Flags", "IFLA_IPVLAN_FLAGS", 2, a.one_of(a.u16, {0: "bridge", 1: "private", 2: "vepa"})),
    ),
)

VRF: Final = Document("Vrf", (Field("Table", "IFLA_VRF_TABLE", 1, a.u32),))
VRF_PORT: Final = Document("VrfPort", (Field("Table", "IFLA_VRF_PORT_TABLE", 1, a.u32),))

TUN: Final = Document(
    "Tun",
    (
        Field("Mode", "IFLA_TUN_TYPE", 3, a.one_of(a.u8, {1: "tun", 2: "tap"})),
        Field("Owner", "IFLA_TUN_OWNER", 1, a.u32, "user ID", zero=True),
        Field("Group", "IFLA_TUN_GROUP", 2, a.u32, "group ID", zero=True),
        Field("PacketInformation", "IFLA_TUN_PI", 4, a.boolean),
        Field("VnetHeader", "IFLA_TUN_VNET_HDR", 5, a.boolean),
        Field("Persist", "IFLA_TUN_PERSIST", 6, a.boolean),
        Field("MultiQueue", "IFLA_TUN_MULTI_QUEUE", 7, a.boolean),
        Field("Queues", "IFLA_TUN_NUM_QUEUES", 8, a.u32),
        Field("DisabledQueues", "IFLA_TUN_NUM_DISABLED_QUEUES", 9, a.u32),
    ),
)

HSR: Final = Document(
    "Hsr",
    (
        Field("Slave1", "IFLA_HSR_SLAVE1", 1, a.u32, "ifindex"),
        Field("Slave2", "IFLA_HSR_SLAVE2", 2, a.u32, "ifindex"),
        Field("SupervisionAddress", "IFLA_HSR_SUPERVISION_ADDR", 4, a.mac),
        Field("Version", "IFLA_HSR_VERSION", 6, a.u8, zero=True),
        Field("Protocol", "IFLA_HSR_PROTOCOL", 7, a.one_of(a.u8, {0: "hsr", 1: "prp"})),
    ),
)

MACSEC: Final = Document(
    "Macsec",
    (
        Field("SCI", "IFLA_MACSEC_SCI", 1, a.hexadecimal),
        Field("IcvLength", "IFLA_MACSEC_ICV_LEN", 3, a.u8, "bytes"),
        Field("Window", "IFLA_MACSEC_WINDOW", 5, a.u32, "packets"),
        Field("EncodingSA", "IFLA_MACSEC_ENCODING_SA", 6, a.u8, zero=True),
        Field("Encrypt", "IFLA_MACSEC_ENCRYPT", 7, a.boolean),
        Field("Protect", "IFLA_MACSEC_PROTECT", 8, a.boolean),
        Field("ReplayProtect", "IFLA_MACSEC_REPLAY_PROTECT", 12, a.boolean),
        Field("Validation", "IFLA_MACSEC_VALIDATION", 13, a.one_of(a.u8, {0: "disabled", 1: "check", 2: "strict"})),
    ),
)

IPOIB: Final = Document(
    "Ipoib",
    (
        Field("PKey", "IFLA_IPOIB_PKEY", 1, a.u16),
        Field("Mode", "IFLA_IPOIB_MODE", 2, a.one_of(a.u16, {0: "datagram", 1: "connected"})),
    ),
)

NETKIT: Final = Document(
    "Netkit",  # linux/if_link.h since Linux 6.7
    (
        Field("Primary", "IFLA_NETKIT_PRIMARY", 2, a.boolean),
        Field("Policy", "IFLA_NETKIT_POLICY", 3, a.one_of(a.s32, {0: "forward", 2: "blackhole"})),
        Field("Mode", "IFLA_NETKIT_MODE", 5, a.one_of(a.u32, {0: "l2", 1: "l3"})),
    ),
)

BAREUDP: Final = Document(
    "Bareudp",
    (
        Field("Port", "IFLA_BAREUDP_PORT", 1, a.be16),
        Field("EtherType", "IFLA_BAREUDP_ETHERTYPE", 2, a.be16),
        Field("FirstSourcePort", "IFLA_BAREUDP_SRCPORT_MIN", 3, a.u16),
    ),
)

DSA: Final = Document("Dsa", (Field("Conduit", "IFLA_DSA_CONDUIT", 1, a.u32, "ifindex"),))
GTP: Final = Document("Gtp", (Field("Role", "IFLA_GTP_ROLE", 4, a.one_of(a.u32, {0: "ggsn", 1: "sgsn"})),))
