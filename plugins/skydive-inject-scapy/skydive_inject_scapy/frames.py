"""The packets of one injection, one after the other.

Layouts: RFC 791 and RFC 8200 (IP), RFC 792 and RFC 4443 (echo request), RFC 9293 (TCP), RFC 768 (UDP).  Lengths and
checksums are worked out by scapy.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from itertools import count
from typing import Final

from scapy.error import Scapy_Exception
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from skydive_inject_scapy.request import LONGEST_PAYLOAD, Request, WrongRequest

_DEFAULT_PAYLOAD: Final = 56
"""Letters, as many as ping(8) sends bytes."""
_FIRST_FREE_PORT: Final = 1024


def made(request: Request) -> Iterator[tuple[bytes, bool]]:
    """Frames, and whether each is the first of its flow.  Raises WrongRequest for addresses that are none."""
    # Not secret, and nobody is harmed by a guess.
    source = random.Random()
    payload = request.payload.encode() or _letters(source, _DEFAULT_PAYLOAD)
    id, src_port = request.icmp_id or 1, request.src_port or source.randint(_FIRST_FREE_PORT, 65534)
    dst_port = request.dst_port or source.randint(_FIRST_FREE_PORT, 65534)
    for number in count() if request.count == 0 else range(request.count):
        anew = number == 0
        if request.random and number:
            id = src_port = source.randint(1, 65534)
            anew = True
        above = _above(request, number, id, src_port, dst_port, source.getrandbits(32))
        try:
            frame = bytes(_below(request) / above / Raw(payload))
        except (OSError, ValueError, Scapy_Exception) as error:
            raise WrongRequest(f"no packet can be made of this: {error}") from error
        yield frame, anew
        if request.increment:
            payload += _letters(source, min(request.increment, LONGEST_PAYLOAD - len(payload)))


def _below(request: Request) -> Packet:
    ip: Packet
    if request.version == 4:
        ip = IP(src=request.src_ip, dst=request.dst_ip, ttl=request.ttl)
    else:
        ip = IPv6(src=request.src_ip, dst=request.dst_ip, hlim=request.ttl)
    return Ether(src=request.src_mac, dst=request.dst_mac) / ip if request.ethernet else ip


def _above(request: Request, number: int, id: int, src_port: int, dst_port: int, sequence: int) -> Packet:
    protocol = request.type[:-1]
    if protocol == "tcp":
        return TCP(sport=src_port, dport=dst_port, flags="S", seq=sequence)
    if protocol == "udp":
        return UDP(sport=src_port, dport=dst_port)
    if request.version == 4:
        return ICMP(type="echo-request", id=id, seq=number & 0xFFFF)
    return ICMPv6EchoRequest(id=id, seq=number & 0xFFFF)


def _letters(source: random.Random, number: int) -> bytes:
    return "".join(source.choices(string.ascii_letters, k=number)).encode()
