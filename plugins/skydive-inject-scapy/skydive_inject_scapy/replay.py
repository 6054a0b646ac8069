"""The frames of a recording, as they are: pcap and pcapng, read by scapy."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any, Final

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapReader

from skydive_inject_scapy.request import Request, WrongRequest

_ETHERNET: Final = 1
_RAW_IP: Final = (12, 14, 101, 228, 229)
"""LINKTYPE_ numbers of packets that begin with IP (tcpdump.org/linktypes.html); some systems write 12 and 14."""


def recorded(request: Request) -> Iterator[tuple[bytes, bool]]:
    """Frames, and whether each stands in the first round.

    Raises WrongRequest for what is no recording, is damaged, or has no frames of the interface's kind.
    """
    rounds = chain([True], repeat(False)) if request.count else [True]
    sent = 0
    for first in rounds:
        before = sent
        for frame in _frames(request):
            yield frame, first
            sent += 1
            if sent == request.count:
                return
        if sent == before:
            raise WrongRequest("the recording holds no packets")


def _frames(request: Request) -> Iterator[bytes]:
    wanted = (_ETHERNET,) if request.ethernet else _RAW_IP
    try:
        recording: Any = io.BytesIO(request.recording())
        with RawPcapReader(recording) as reader:
            while True:
                try:
                    frame, about = reader._read_packet()
                except EOFError:
                    return
                kind = _link_type(reader, about)
                if kind not in wanted:
                    what = "Ethernet frames" if request.ethernet else "packets that begin with IP"
                    raise WrongRequest(f"{request.interface} takes {what}, the recording has link type {kind}")
                yield frame
    except (Scapy_Exception, OSError, ValueError, IndexError, KeyError) as error:
        raise WrongRequest(f"the recording cannot be read: {error or type(error).__name__}") from error


def _link_type(reader: Any, about: Any) -> int:
    # In pcapng each packet has the link type of its own interface.
    return int(getattr(about, "linktype", getattr(reader, "linktype", 0)))
