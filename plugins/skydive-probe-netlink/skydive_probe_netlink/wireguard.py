"""WireGuard interfaces and their peers, by generic netlink; keys that are secret are never read.

Formats: linux/genetlink.h, linux/wireguard.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a

WG_CMD_GET_DEVICE: Final = 0
WG_GENL_VERSION: Final = 1
WGDEVICE_A_IFINDEX: Final = 1

_HEADER = struct.Struct("=BBxx")  # struct genlmsghdr
_TIME = struct.Struct("=qq")  # struct __kernel_timespec


def device_request(sequence: int, family: int, index: int) -> bytes:
    """WG_CMD_GET_DEVICE: everything about one interface."""
    body = _HEADER.pack(WG_CMD_GET_DEVICE, WG_GENL_VERSION) + a.attribute_u32(WGDEVICE_A_IFINDEX, index)
    return netlink.request(family, netlink.NLM_F_DUMP, sequence, body)


def _key(payload: bytes, start: int, end: int) -> str:
    return b64encode(payload[start:end]).decode() if any(payload[start:end]) else ""


def _endpoint(payload: bytes, start: int, end: int) -> str:
    """struct sockaddr_in or sockaddr_in6 as ``address:port``, ``[address]:port``."""
    kind = a.u16(payload, start, end)
    port = a.be16(payload, start + 2, end)
    if kind == socket.AF_INET and end - start >= 8:
        return f"{a.ip(payload, start + 4, start + 8)}:{port}"
    if kind == socket.AF_INET6 and end - start >= 24:
        return f"[{a.ip(payload, start + 8, start + 24)}]:{port}"
    return ""


def _milliseconds(payload: bytes, start: int, end: int) -> int:
    seconds, nanoseconds = a.unpack(_TIME, payload, start, end)
    return int(seconds * 1000 + nanoseconds // 1_000_000)


_ALLOWED: Final[a.Table] = {2: ("address", a.raw), 3: ("length", a.u8)}
"""WGALLOWEDIP_A_…"""


def _allowed(payload: bytes, start: int, end: int) -> str:
    found = a.read_attributes(_ALLOWED, payload, start, end)
    address = found.get("address", b"")
    return f"{a.ip(address, 0, len(address))}/{found.get('length', 0)}"


_PEER: Final[a.Table] = {
    1: ("PublicKey", _key),
    4: ("Endpoint", _endpoint),
    5: ("Keepalive", a.u16),
    6: ("LastHandshake", _milliseconds),
    7: ("RxBytes", a.u64),
    8: ("TxBytes", a.u64),
    9: ("AllowedIPs", a.each(_allowed)),
}
"""WGPEER_A_…, without PRESHARED_KEY"""

COUNTED: Final = ("RxBytes", "TxBytes", "LastHandshake")
"""What changes with the traffic of a peer: it is no part of the document, but of the metrics."""

_DEVICE: Final[a.Table] = {
    4: ("PublicKey", _key),
    6: ("ListenPort", a.u16),
    7: ("FwMark", a.u32),
    8: ("Peers", a.each(a.nested(_PEER))),
}
"""WGDEVICE_A_…, without PRIVATE_KEY"""


def read(buffers: Iterable[bytes], family: int) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """(the document ``Wireguard``, what is counted of each peer by its public key) of one interface.

    Its peers may come in several messages.  Raises DecodeError.
    """
    device: dict[str, Any] = {}
    peers: dict[str, dict[str, Any]] = {}
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != family:
                continue
            found = a.read_attributes(_DEVICE, frame.payload, _HEADER.size, len(frame.payload))
            for told in found.pop("Peers", ()):
                peer = {key: value for key, value in told.items() if value}
                known = peers.setdefault(peer.get("PublicKey", ""), peer)
                # A peer with many allowed addresses is continued in the next message, which then holds only those.
                if known is not peer:
                    known.setdefault("AllowedIPs", []).extend(peer.get("AllowedIPs", ()))
            device.update({key: value for key, value in found.items() if value})
    counted: dict[str, dict[str, int]] = {}
    for key, peer in peers.items():
        numbers: dict[str, int] = {name: peer.pop(name) for name in COUNTED if name in peer}
        if numbers:
            counted[key] = numbers
    if peers:
        for peer in peers.values():
            peer.get("AllowedIPs", []).sort(key=_order)
        device["Peers"] = sorted(peers.values(), key=lambda peer: str(peer.get("PublicKey", "")))
        own = device.get("PublicKey", "")
        pairs = [(own, key) for key in sorted(peers) if own and key]
        low = [" ".join(pair) for pair in pairs if pair[0] < pair[1]]
        high = [" ".join(reversed(pair)) for pair in pairs if pair[0] > pair[1]]
        # What both ends of a pair write alike, as those of tunnels do; see tunnels.
        device.update({name: ends for name, ends in (("LowPeers", low), ("HighPeers", high)) if ends})
    return device, counted


def _order(network: str) -> tuple[int, int, int]:
    parsed = ipaddress.ip_network(network, strict=False)
    return parsed.version, int(parsed.network_address), parsed.prefixlen
