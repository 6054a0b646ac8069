"""Which tables a kind of link is read with, and the attributes that all links have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink import bonds, kinds
from skydive_probe_netlink.kinds import Document, Field

_GRES: Final = ("gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan")

KINDS: Final[Mapping[str, tuple[Document, ...]]] = {
    "bareudp": (kinds.BAREUDP,),
    "bond": (bonds.BOND_MODE, bonds.BOND),
    "bridge": (kinds.BRIDGE,),
    "dsa": (kinds.DSA,),
    "geneve": (kinds.GENEVE,),
    **dict.fromkeys(_GRES, (kinds.GRE,)),
    "gtp": (kinds.GTP,),
    "hsr": (kinds.HSR,),
    "ip6tnl": (kinds.IPTUNNEL,),
    "ipip": (kinds.IPTUNNEL,),
    "ipoib": (kinds.IPOIB,),
    "ipvlan": (kinds.IPVLAN,),
    "ipvtap": (kinds.IPVLAN,),
    "macsec": (kinds.MACSEC,),
    "macvlan": (kinds.MACVLAN,),
    "macvtap": (kinds.MACVLAN,),
    "netkit": (kinds.NETKIT,),
    "sit": (kinds.IPTUNNEL,),
    "tun": (kinds.TUN,),
    "vlan": (kinds.VLAN,),
    "vrf": (kinds.VRF,),
    "vti": (kinds.VTI,),
    "vti6": (kinds.VTI,),
    "vxlan": (kinds.VXLAN,),
    "xfrm": (kinds.XFRM,),
}
"""By IFLA_INFO_KIND, how IFLA_INFO_DATA is read; other kinds have no data that we know."""

PORTS: Final[Mapping[str, tuple[Document, ...]]] = {
    "bond": (bonds.BOND_SLAVE,),
    "bridge": (kinds.BRIDGE_PORT,),
    "vrf": (kinds.VRF_PORT,),
}
"""By IFLA_INFO_SLAVE_KIND, how IFLA_INFO_SLAVE_DATA is read."""

TUNNELS: Final = frozenset(
    kind for kind, documents in KINDS.items() if any(document.key == "Tunnel" for document in documents)
)
"""Kinds with the document ``Tunnel``."""

_XDP_MODES: Final = {1: "drv", 2: "skb", 3: "hw"}  # linux/if_link.h, XDP_ATTACHED_…
_XDP_MULTI: Final = 4
_XDP: Final[a.Table] = {
    2: ("attached", a.u8),
    4: ("id", a.u32),
    5: ("drv", a.u32),
    6: ("skb", a.u32),
    7: ("hw", a.u32),
}
_ALT_IFNAME: Final = 53


def _xdp(payload: bytes, start: int, end: int) -> list[dict[str, Any]]:
    """The programs attached: their modes and IDs."""
    found = a.read_attributes(_XDP, payload, start, end)
    attached = found.get("attached", 0)
    if attached == _XDP_MULTI:
        return [{"Mode": mode, "ID": found[mode]} for mode in ("drv", "skb", "hw") if found.get(mode)]
    return [{"Mode": _XDP_MODES[attached], "ID": found["id"]}] if attached in _XDP_MODES and "id" in found else []


def _alternative_names(payload: bytes, start: int, end: int) -> list[str]:
    return [
        a.text(payload, first, last)
        for type, first, last in a.each_attribute(payload, start, end)
        if type == _ALT_IFNAME
    ]


COMMON: Final = Document(
    "",
    (
        Field("TxQLen", "IFLA_TXQLEN", 13, a.u32, "packets"),
        Field("Qdisc", "IFLA_QDISC", 6, a.text),
        Field("Group", "IFLA_GROUP", 27, a.u32),
        Field("Alias", "IFLA_IFALIAS", 20, a.text),
        Field("AltNames", "IFLA_PROP_LIST", 52, _alternative_names),
        Field("NumTxQueues", "IFLA_NUM_TX_QUEUES", 31, a.u32),
        Field("NumRxQueues", "IFLA_NUM_RX_QUEUES", 32, a.u32),
        Field("Promiscuity", "IFLA_PROMISCUITY", 30, a.u32, "users"),
        Field("AllMulti", "IFLA_ALLMULTI", 61, a.u32, "users"),
        Field("CarrierChanges", "IFLA_CARRIER_CHANGES", 35, a.u32),
        Field("MinMTU", "IFLA_MIN_MTU", 50, a.u32, "bytes"),
        Field("MaxMTU", "IFLA_MAX_MTU", 51, a.u32, "bytes"),
        Field("GSOMaxSize", "IFLA_GSO_MAX_SIZE", 41, a.u32, "bytes"),
        Field("GSOMaxSegs", "IFLA_GSO_MAX_SEGS", 40, a.u32, "segments"),
        Field("GROMaxSize", "IFLA_GRO_MAX_SIZE", 58, a.u32, "bytes"),
        Field("TSOMaxSize", "IFLA_TSO_MAX_SIZE", 59, a.u32, "bytes"),
        Field("TSOMaxSegs", "IFLA_TSO_MAX_SEGS", 60, a.u32, "segments"),
        Field("ProtoDown", "IFLA_PROTO_DOWN", 39, a.u8),
        Field("PermMAC", "IFLA_PERM_ADDRESS", 54, a.mac),
        Field("PhysPortID", "IFLA_PHYS_PORT_ID", 34, a.hexadecimal),
        Field("PhysPortName", "IFLA_PHYS_PORT_NAME", 38, a.text),
        Field("PhysSwitchID", "IFLA_PHYS_SWITCH_ID", 36, a.hexadecimal),
        Field("ParentDevName", "IFLA_PARENT_DEV_NAME", 56, a.text),
        Field("ParentDevBus", "IFLA_PARENT_DEV_BUS_NAME", 57, a.text),
        Field("XDP", "IFLA_XDP", 43, _xdp),
    ),
)
"""What links of every kind say."""

IFLA_INFO_KIND: Final = 1
_INFO: Final[a.Table] = {
    IFLA_INFO_KIND: ("kind", a.text),
    2: ("data", lambda _payload, start, end: (start, end)),
    4: ("port_kind", a.text),
    5: ("port_data", lambda _payload, start, end: (start, end)),
}
"""IFLA_INFO_…"""


def read_bridge_port(payload: bytes, start: int, end: int) -> dict[str, Any]:
    """IFLA_PROTINFO as bridges send it about a port; nothing when it is of another form, as other families send it."""
    try:
        return kinds.BRIDGE_PORT.decode(payload, start, end)
    except netlink.DecodeError:
        return {}


def read_linkinfo(payload: bytes, start: int, end: int) -> tuple[str, dict[str, Any]]:
    """IFLA_LINKINFO: the kind, and the metadata that follows from it and from the master's kind.

    Data of a form that we do not know are left out: a driver from elsewhere may use a kind's name in its own way.
    """
    found = a.read_attributes(_INFO, payload, start, end)
    kind: str = found.get("kind", "")
    metadata: dict[str, Any] = {}
    for documents, place in (
        (KINDS.get(kind, ()), found.get("data", (0, 0))),
        (PORTS.get(found.get("port_kind", ""), ()), found.get("port_data", (0, 0))),
    ):
        for document in documents:
            try:
                metadata.update(document.decode(payload, *place))
            except netlink.DecodeError:
                continue
    return kind, metadata
