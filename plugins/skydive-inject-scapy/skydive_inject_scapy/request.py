"""What is asked on stdin: one line of JSON, checked before anything is opened."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any, Final

TYPES: Final = ("icmp4", "icmp6", "tcp4", "tcp6", "udp4", "udp6")
LONGEST_PAYLOAD: Final = 65_000
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


class WrongRequest(Exception):
    """The request cannot be carried out as it is; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One injection.

    ``namespace`` is a path of the interface's network namespace, ``ethernet`` whether its frames begin with an Ethernet
    header.  ``interval_ms`` lies between two packets, and ``rate`` is the most packets a second whatever it says.
    ``random``: each packet after the first has another ICMP identifier or source port.  ``increment`` letters are
    added to the payload after each packet.  With ``pcap`` (base64) the frames of that file are sent as they are,
    ``count`` of them, from its beginning again when it has fewer; 0: each once.
    """

    namespace: str
    interface: str
    ethernet: bool
    type: str = "icmp4"
    src_ip: str = ""
    dst_ip: str = ""
    src_mac: str = ""
    dst_mac: str = ""
    src_port: int = 0
    dst_port: int = 0
    icmp_id: int = 0
    payload: str = ""
    increment: int = 0
    count: int = 1
    interval_ms: int = 0
    random: bool = False
    ttl: int = 64
    rate: float = 1000.0
    pcap: str = ""

    @property
    def version(self) -> int:
        """Of the Internet Protocol."""
        return int(self.type[-1])

    def recording(self) -> bytes:
        """The bytes of ``pcap``."""
        return base64.b64decode(self.pcap)


_BOUNDS: Final = {
    "src_port": 65535,
    "dst_port": 65535,
    "icmp_id": 65535,
    "increment": LONGEST_PAYLOAD,
    "count": 1 << 53,
    "interval_ms": 1 << 31,
    "ttl": 255,
}


def read(line: bytes) -> Request:
    """Raises WrongRequest."""
    try:
        given: Any = json.loads(line)
        known = {field.name: field.type for field in fields(Request)}
        if not isinstance(given, dict) or not known.keys() >= given.keys():
            raise WrongRequest(f"the request is an object with some of the keys {', '.join(known)}")
        for name, value in given.items():
            if type(value).__name__ != known[name] and not (known[name] == "float" and type(value) is int):
                raise WrongRequest(f"{name} must be of type {known[name]}")
        request = Request(**given)
    except (ValueError, TypeError, RecursionError) as error:
        raise WrongRequest(f"the request cannot be read: {error}") from error
    _check(request)
    return request


def _check(request: Request) -> None:
    if request.type not in TYPES:
        raise WrongRequest(f"type {request.type!r} is none of {', '.join(TYPES)}")
    for name, most in _BOUNDS.items():
        if not 0 <= getattr(request, name) <= most:
            raise WrongRequest(f"{name} must be from 0 to {most}")
    if not 0 < request.rate <= 1e6:
        raise WrongRequest("rate must be above 0, at most a million packets a second")
    if len(request.payload.encode()) > LONGEST_PAYLOAD:
        raise WrongRequest(f"payload has more than {LONGEST_PAYLOAD} bytes")
    if not request.pcap:
        _check_addresses(request)
    try:
        request.recording()
    except (binascii.Error, ValueError) as error:
        raise WrongRequest(f"pcap is not base64: {error}") from error


def _check_addresses(request: Request) -> None:
    """Here, for scapy would take names and networks, too, and ask others what they mean."""
    for name in ("src_ip", "dst_ip"):
        try:
            version = ip_address(getattr(request, name)).version
        except ValueError as error:
            raise WrongRequest(f"{name}: {error}") from error
        if version != request.version:
            raise WrongRequest(f"{name} is no address of IPv{request.version}, as {request.type} needs")
    for name in ("src_mac", "dst_mac"):
        if request.ethernet and not _MAC.fullmatch(getattr(request, name)):
            raise WrongRequest(f"{name} is no MAC address such as 02:00:00:00:00:01")
