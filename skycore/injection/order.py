"""What an analyzer asks of the agent that has a node, and what the agent says of it (docs/injection.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, final

import attrs
import msgspec

TYPES: Final = ("icmp4", "icmp6", "tcp4", "tcp6", "udp4", "udp6")
MAX_PAYLOAD: Final = 65_000
"""Bytes of a packet's payload, as asked; what an interface takes is less."""
MAX_PCAP: Final = 4 << 20
"""Bytes of a recording that is sent."""
MAX_COUNT: Final = 1 << 53

State: TypeAlias = Literal["active", "done", "error"]
Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Ids: TypeAlias = list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]
Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Amount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


@final
class Injection(msgspec.Struct, frozen=True):
    """What is sent from one node: an injection of the API in which everything is resolved.

    Addresses are texts; ``Count`` 0 is each packet of ``Pcap`` (base64) once; ``Interval`` is in milliseconds.
    """

    UUID: Id
    Type: Annotated[str, msgspec.Meta(max_length=16)]
    SrcIP: Text = ""
    SrcMAC: Text = ""
    SrcPort: Port = 0
    DstIP: Text = ""
    DstMAC: Text = ""
    DstPort: Port = 0
    ICMPID: Port = 0
    Count: Amount = 1
    Interval: Amount = 0
    Mode: Text = ""
    IncrementPayload: Amount = 0
    Payload: Annotated[str, msgspec.Meta(max_length=MAX_PAYLOAD)] = ""
    Pcap: str | None = None
    TTL: Annotated[int, msgspec.Meta(ge=0, le=255)] = 64


@final
class Inject(msgspec.Struct, frozen=True, tag="inject"):
    """Analyzer → agent: send this from one of your nodes, once.  It ends with the link over which it was asked."""

    injection: Injection
    node: Id


@final
class Withdraw(msgspec.Struct, frozen=True, tag="withdraw"):
    """Analyzer → agent: end an injection on all your nodes."""

    uuid: Id


@final
class Injected(msgspec.Struct, frozen=True, tag="injected"):
    """Agent → analyzer: how far an injection is on a node.

    ``tracking`` and ``l3`` are the TrackingIDs and L3TrackingIDs of flows that began since the last report.
    """

    uuid: Id
    node: Id
    state: State
    count: Amount = 0
    tracking: Ids = []
    l3: Ids = []
    reason: Annotated[str, msgspec.Meta(max_length=4096)] = ""


@final
@attrs.frozen
class InjectionLimits:
    """What an agent lets others send from its nodes: packets a second of one injection, and how many run at once."""

    enabled: bool = True
    max_rate: float = 1000.0
    max_active: int = 16
