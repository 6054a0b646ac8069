"""What the kernel says of an interface, in the words of the graph."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

from skydive_probe_netlink.attributes import AF_INET, AF_INET6
from skydive_probe_netlink.codec import Address, Link

KINDS_OVER_LOWER: Final = frozenset(
    {
        "dsa",
        "ipoib",
        "ipvlan",
        "ipvtap",
        "lowpan",
        "macsec",
        "macvlan",
        "macvtap",
        "rmnet",
        "virt_wifi",
        "vlan",
        "xfrm",
    }
)
"""Kinds (IFLA_INFO_KIND) whose IFLA_LINK is the device that carries their frames."""

PAIRS: Final = frozenset({"netkit", "veth", "vxcan"})
"""Kinds whose IFLA_LINK is the other end of a pair."""

# linux/if.h, enum net_device_flags
_FLAGS: Final = ((0x1, "UP"), (0x2, "BROADCAST"), (0x8, "LOOPBACK"), (0x10, "POINTTOPOINT"), (0x1000, "MULTICAST"))

# linux/if.h, IF_OPER_…
_STATES: Final = ("UNKNOWN", "NOT-PRESENT", "DOWN", "LOWER-LAYER-DOWN", "TESTING", "DORMANT", "UP")

# linux/if_arp.h, ARPHRD_…; the names are iproute2's
_ENCAPSULATIONS: Final[Mapping[int, str]] = {
    0: "netrom",
    1: "ether",
    2: "eether",
    3: "ax25",
    4: "pronet",
    5: "chaos",
    6: "ieee802",
    7: "arcnet",
    8: "atalk",
    15: "dlci",
    19: "atm",
    23: "metricom",
    24: "ieee1394",
    27: "eui64",
    32: "infiniband",
    256: "slip",
    257: "cslip",
    258: "slip6",
    259: "cslip6",
    260: "rsrvd",
    264: "adapt",
    270: "rose",
    271: "x25",
    272: "hwx25",
    280: "can",
    290: "mctp",
    512: "ppp",
    513: "hdlc",
    516: "lapb",
    517: "ddcmp",
    518: "rawhdlc",
    519: "rawip",
    768: "ipip",
    769: "tunnel6",
    770: "frad",
    771: "skip",
    772: "loopback",
    773: "ltalk",
    774: "fddi",
    775: "bif",
    776: "sit",
    777: "ip/ddp",
    778: "gre",
    779: "pimreg",
    780: "hippi",
    781: "ash",
    782: "econet",
    783: "irda",
    784: "fcpp",
    785: "fcal",
    786: "fcpl",
    801: "ieee802.11",
    802: "ieee802.11/prism",
    803: "ieee802.11/radiotap",
    804: "ieee802.15.4",
    805: "ieee802.15.4/monitor",
    820: "phonet",
    821: "phonet_pipe",
    822: "caif",
    823: "gre6",
    824: "netlink",
    825: "6lowpan",
    826: "vsockmon",
    0xFFFE: "none",
    0xFFFF: "void",
}


def text(raw: bytes) -> str:
    """A name as text: UTF-8, and what is none of it as ``\\xNN``."""
    return raw.decode("utf-8", "backslashreplace")


def link_type(link: Link) -> str:
    """``Type`` of an interface: its kind, in two cases under the name that users know."""
    if not link.kind:
        return "device"
    return "tuntap" if link.kind == "tun" else link.kind


def cidr(address: Address) -> str:
    """``10.0.0.1/24``, ``fe80::1/64``."""
    family = socket.AF_INET if address.family == AF_INET else socket.AF_INET6
    return f"{socket.inet_ntop(family, address.local)}/{address.prefix_length}"


def interface_metadata(link: Link, addresses: Iterable[Address], driver: str, peer_name: str = "") -> dict[str, Any]:
    """Metadata of an interface's node, without what is measured (``Metric``) and what tables hold (``tables``).

    ``peer_name`` is the name of the node of the namespace behind ``link.lower_nsid``, "" for none.
    """
    metadata: dict[str, Any] = {
        "Name": text(link.name),
        "Type": link_type(link),
        "EncapType": _ENCAPSULATIONS.get(link.arphrd, f"unknown{link.arphrd}"),
        "IfIndex": link.index,
        "Driver": driver,
        "State": _STATES[link.operstate] if link.operstate < len(_STATES) else "UNKNOWN",
        "LinkFlags": [name for bit, name in _FLAGS if link.flags & bit],
    }
    metadata.update(link.details)
    if link.mtu:
        metadata["MTU"] = link.mtu
    # The address of an L3 tunnel is an IP address, which is in ``Tunnel``.
    if any(link.address) and len(link.address) not in {4, 16}:
        metadata["MAC"] = link.address.hex(":")
    if link.master:
        metadata["MasterIndex"] = link.master
    if link.lower:
        metadata["ParentIndex"] = link.lower
        if link.kind in PAIRS:
            metadata["PeerIfIndex"] = link.lower
    if link.lower_nsid is not None:
        metadata["LinkNetNsID"] = link.lower_nsid
        if peer_name:
            metadata["LinkNetNsName"] = peer_name
    by_family: dict[int, list[str]] = {AF_INET: [], AF_INET6: []}
    for address in addresses:
        by_family[address.family].append(cidr(address))
    for key, family in (("IPV4", AF_INET), ("IPV6", AF_INET6)):
        if by_family[family]:
            metadata[key] = by_family[family]
    return metadata
