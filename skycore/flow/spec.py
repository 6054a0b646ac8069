"""What a capture is: its fields, the types that there are, and on which nodes each can be made.

Names, types and defaults are those of Skydive's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias, final

import attrs
import msgspec

from skycore.errors import CaptureError

MAX_RAW_PACKETS: Final = 10
"""Most packets of each flow that are kept as they are."""
MIN_HEADER, MAX_HEADER, DEFAULT_HEADER = 14, 4096, 256
"""Bytes of each packet that are read."""
EXTRA_LAYERS: Final[Mapping[str, int]] = {"VRRP": 1, "DNS": 2, "DHCPv4": 4}

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=65536)]


@final
class CaptureSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One capture, as the API has it; see docs/captures.md for the fields."""

    UUID: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    GremlinQuery: Text = ""
    BPFFilter: Text = ""
    Name: Text = ""
    Description: Text = ""
    Type: Text = ""
    Port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    SamplingRate: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)] = 0
    PollingInterval: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)] = 0
    RawPacketLimit: Annotated[int, msgspec.Meta(ge=0, le=MAX_RAW_PACKETS)] = 0
    HeaderSize: Annotated[int, msgspec.Meta(ge=0, le=MAX_HEADER)] = 0
    ExtraTCPMetric: bool = False
    IPDefrag: bool = False
    ReassembleTCP: bool = False
    LayerKeyMode: Annotated[str, msgspec.Meta(pattern="^(L2|L3)?$")] = ""
    ExtraLayers: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    Target: Text = ""
    TargetType: Text = ""

    @property
    def header_size(self) -> int:
        """Bytes of each packet that are read."""
        return self.HeaderSize or DEFAULT_HEADER


@final
@attrs.frozen
class Ability:
    """What a type of capture can do; ``several``: more than one of it on the same node."""

    bpf: bool = True
    raw_packets: bool = True
    tcp_metric: bool = True
    several: bool = False


TYPES: Final[Mapping[str, Ability]] = {
    "ovssflow": Ability(),
    "pcapsocket": Ability(),
    "ovsmirror": Ability(),
    "dpdk": Ability(),
    "afpacket": Ability(several=True),
    "pcap": Ability(several=True),
    "ebpf": Ability(bpf=False, raw_packets=False),
    "sflow": Ability(),
    "ovsnetflow": Ability(),
}
"""Types of captures by the word in ``Type``."""

_INTERFACE: Final = ("afpacket", "pcap", "pcapsocket", "sflow", "ebpf")
_INTERFACES: Final = [
    "internal",
    "veth",
    "tun",
    "tuntap",
    "bridge",
    "dummy",
    "gre",
    "bond",
    "can",
    "hsr",
    "ifb",
    "macvlan",
    "macvtap",
    "vlan",
    "vxlan",
    "gretap",
    "ip6gretap",
    "geneve",
    "ipoib",
    "vcan",
    "ipip",
    "ipvlan",
    "lowpan",
    "ip6tnl",
    "ip6gre",
    "sit",
    "device",
]

NODES: Final[Mapping[str, tuple[str, ...]]] = {
    "ovsbridge": ("ovssflow", "pcapsocket", "ovsnetflow"),
    "ovsport": ("ovsmirror",),
    "dpdkport": ("dpdk",),
    **dict.fromkeys(_INTERFACES, _INTERFACE),
}
"""Which types of captures a type of node can have; the first is meant when a capture names none."""


def several(type: str) -> bool:
    """Whether captures of this type stand beside others of the same type and query, told apart by their filters."""
    return not type or TYPES[type].several


def type_on(type: str, node_type: str) -> str:
    """The type that a capture has on a node; ``type`` is the one it names, "" for none.  Raises CaptureError."""
    possible = NODES.get(node_type, ())
    if not possible:
        raise CaptureError(f"a node of type {node_type!r} cannot be captured")
    if not type:
        return possible[0]
    if type not in possible:
        raise CaptureError(
            f"a node of type {node_type!r} cannot have a capture of type {type!r}; it can have {', '.join(possible)}"
        )
    return type
