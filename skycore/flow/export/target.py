"""Where a capture sends what it sees instead of to the analyzer: its fields ``Target`` and ``TargetType``."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Final, Protocol, final

import attrs
import msgspec
import trio

from skycore.errors import CaptureError
from skycore.flow.batch import FlowBatch
from skycore.flow.export import ring
from skycore.flow.export.counted import Counted, Fresh, counted
from skycore.flow.export.erspan import PROTOCOL, Erspan
from skycore.flow.export.ipfix import Ipfix
from skycore.flow.export.netflow5 import NetFlow5
from skycore.flow.source import Bytes, Frame, Interface
from skycore.flow.spec import CaptureSpec

LOCAL: Final = ("", "local")
"""The analyzer."""
_FLOWS: Final = ("netflowv5", "ipfix")
_FRAMES: Final = {"erspanv0": 1, "erspanv1": 2}
"""Types of ERSPAN by the version that Linux and Skydive write: 0 is type I, 1 is type II."""
TARGET_TYPES: Final = ("local", *_FLOWS, *_FRAMES)
_ETHERNET: Final = 1
_CAPTURES: Final = ("afpacket", "pcap")
"""Types of captures that can have a target."""
# linux/in.h, linux/in6.h: let what is too long for the path be cut, as switches do.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT = 10, 23, 0


class Codec(Protocol):
    """Flows as the datagrams of one exporter."""

    def datagrams(self, flows: Iterable[Counted], now_ns: int) -> Iterable[bytes]: ...


@final
@attrs.frozen
class Place:
    """A host and a port (0: none) as users write them: ``collector:2055``, ``[2001:db8::1]:4739``, ``10.0.0.1``."""

    host: str
    port: int

    @classmethod
    def parse(cls, target: str, type: str) -> Place:
        """Raises CaptureError."""
        text = target.strip()
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":") if rest.startswith(":") or not rest else "?"
        elif text.count(":") > 1:
            host, port = text, ""
        else:
            host, _, port = text.partition(":")
        if not host:
            raise CaptureError(f"Target: {type} needs a host to send to, for example 10.0.0.1:2055")
        if port and (not port.isdecimal() or not port.isascii() or not 0 <= int(port) <= 65535):
            raise CaptureError(f"Target: {target!r} is no host:port")
        if type in _FLOWS and not int(port or 0):
            raise CaptureError(f"Target: {type} needs a port, for example {host}:2055")
        return cls(host, int(port or 0))


def check_target(type: str, target: str) -> None:
    """Raises CaptureError for what can never be right."""
    if type in LOCAL:
        if target:
            raise CaptureError(f"Target: needs a TargetType: {', '.join(TARGET_TYPES[1:])}")
        return
    if type not in TARGET_TYPES:
        raise CaptureError(f"TargetType: target type unknown; there are {', '.join(TARGET_TYPES)}")
    Place.parse(target, type)


@final
@attrs.frozen
class Address:
    """A target whose name was looked up."""

    family: int
    host: str
    port: int

    def exclude(self, type: str) -> str:
        """A filter (libpcap) that leaves out what is sent there."""
        return f"not (host {self.host} and {'ip proto 47' if type in _FRAMES else f'udp port {self.port}'})"


async def look_up(capture: CaptureSpec, type: str) -> Address | None:
    """Where a capture of this type sends to, None for the analyzer.  Raises CaptureError when it cannot."""
    if capture.TargetType in LOCAL:
        return None
    check_target(capture.TargetType, capture.Target)
    if type not in _CAPTURES:
        raise CaptureError(f"captures of type {type} have no targets; those of the types {', '.join(_CAPTURES)} have")
    place = Place.parse(capture.Target, capture.TargetType)
    try:
        found = await trio.socket.getaddrinfo(place.host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise CaptureError(f"the target {place.host} cannot be looked up: {error.strerror or error}") from error
    family, _, _, _, name = found[0]
    return Address(int(family), str(ip_address(str(name[0]).partition("%")[0])), place.port)


def spec_of_table(capture: CaptureSpec) -> CaptureSpec:
    """The capture as the table of a target needs it: no packets are kept, control bits of TCP are seen."""
    return msgspec.structs.replace(capture, RawPacketLimit=0, ExtraTCPMetric=True)


@final
class Exporter:
    """Sends what one capture sees to its target.  ``tell`` hears why something could not be sent, and "" when it can.

    ``packets`` is where the source's packets go, None when they go to the flow table as always.
    """

    def __init__(
        self,
        capture: CaptureSpec,
        interface: Interface,
        address: Address,
        sending: trio.socket.SocketType,
        tell: Callable[[str], None],
    ) -> None:
        type = capture.TargetType
        self._address = address
        self._socket = sending
        self._tell = tell
        self._failed = False
        self._fresh = Fresh()
        self._codec: Codec | None = None
        self.packets: FrameSender | None = None
        if type in _FRAMES:
            if interface.link_type != _ETHERNET:
                raise CaptureError(f"ERSPAN carries Ethernet frames; {interface.name} has none")
            self.packets = FrameSender(Erspan(_FRAMES[type], interface.index), self._send)
        elif type == "ipfix":
            self._codec = Ipfix(interface.index)
        else:
            self._codec = NetFlow5(time.time_ns() // 1_000_000, interface.index)

    async def put(self, batch: FlowBatch) -> None:
        """Flows of a tick.  What cannot be sent is lost, as is usual with UDP."""
        if self._codec is not None:
            for datagram in self._codec.datagrams(self._fresh.of(counted(batch.flows)), time.time_ns()):
                await self._send(datagram)

    async def _send(self, data: bytes) -> None:
        try:
            await self._socket.send(data)
        except OSError as error:
            self._failed = True
            self._tell(f"the target {self._address.host} cannot be reached: {error.strerror or error}")
        else:
            if self._failed:
                self._failed = False
                self._tell("")


@final
class FrameSender:
    """Implements skycore.flow.source.Packets: frames are sent on, none is counted as a flow."""

    def __init__(self, erspan: Erspan, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._erspan = erspan
        self._send = send

    async def block(self, block: Bytes) -> None:
        for frame, length in ring.frames(block):
            await self._forward(frame, length)

    async def frames(self, frames: Sequence[Frame], *, link_type: int | None = None) -> None:
        for _, length, frame in frames:
            await self._forward(bytes(frame), length)

    async def record(self, lines: bytes, *, replace: bool = False) -> int:
        """Counters are no frames."""
        return 0

    async def _forward(self, frame: bytes, length: int) -> None:
        await self._send(self._erspan.packet(frame, truncated=length > len(frame)))


@asynccontextmanager
async def exporting(
    capture: CaptureSpec, interface: Interface, address: Address, tell: Callable[[str], None]
) -> AsyncIterator[Exporter]:
    """An exporter for as long as a capture runs.  Raises CaptureError when its socket cannot be made."""
    raw = capture.TargetType in _FRAMES
    try:
        sending = trio.socket.socket(
            address.family, socket.SOCK_RAW if raw else socket.SOCK_DGRAM, PROTOCOL if raw else 0
        )
    except OSError as error:
        raise CaptureError(f"packets cannot be sent to {address.host}: {error.strerror or error}") from error
    with sending:
        if raw and address.family == socket.AF_INET:
            sending.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
        elif raw:
            sending.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
        try:
            await sending.connect((address.host, address.port))
        except OSError as error:
            raise CaptureError(f"the target {address.host} cannot be reached: {error.strerror or error}") from error
        yield Exporter(capture, interface, address, sending, tell)
