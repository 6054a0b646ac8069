"""Tunnels: through which interface their packets leave, and what names both of their ends.

A tunnel's two ends do not know each other; but each can write down the pair of addresses, the kind and the numbers that
both have in common.  It does so as its side of the pair, the lower address or the higher, so that equality of
``Tunnel.LowEnds`` with ``Tunnel.HighEnds`` finds the other end, once.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from skycore.plugin import netlink
from skydive_probe_netlink import routes
from skydive_probe_netlink.codec import Link
from skydive_probe_netlink.linkdata import TUNNELS

_ANY_MAC: Final = "00:00:00:00:00:00"
_NO_WAY: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENODEV, errno.EADDRNOTAVAIL, errno.EAGAIN}
)

Answer = Callable[[Callable[[int], bytes]], netlink.Frame]
"""Asks the kernel in the namespace in which the tunnel was made: RequestSocket.answer."""


@attrs.frozen
class Way:
    """The interface through which a remote end is reached, and the address from which; 0 and "" when there is none."""

    egress: int = 0
    source: str = ""


def is_tunnel(link: Link) -> bool:
    return link.kind in TUNNELS and "Tunnel" in link.details


def way_of(link: Link, answer: Answer) -> Way:
    """By the device the tunnel is bound to, else by the route to its remote end."""
    tunnel: Mapping[str, Any] = link.details["Tunnel"]
    bound: int = tunnel.get("Link", 0)
    remote: str = tunnel.get("Remote", "")
    local: str = tunnel.get("Local", "")
    if not remote or ipaddress.ip_address(remote).is_multicast:
        return Way(bound, local)
    try:
        frame = answer(lambda sequence: routes.lookup_request(sequence, remote, local, tunnel.get("FwMark", 0)))
        route = routes.decode_lookup(frame.payload)
    except netlink.NetlinkError as error:
        if error.errno not in _NO_WAY:
            raise
        return Way(bound, local)
    except netlink.DecodeError:
        return Way(bound, local)
    index = route.legs[0].index if route.legs else 0
    return Way(bound or index, local or route.source or "")


def document(link: Link, way: Way, fdb: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is added to ``Tunnel``; ``fdb`` holds the addresses to which a VXLAN floods."""
    tunnel: Mapping[str, Any] = link.details["Tunnel"]
    added: dict[str, Any] = {}
    if way.egress:
        added["Egress"] = way.egress
    if way.source:
        added["Source"] = way.source
    remotes = {tunnel["Remote"]} if "Remote" in tunnel else set()
    remotes |= {entry["IP"] for entry in fdb if entry.get("MAC") == _ANY_MAC and "IP" in entry}
    low: list[str] = []
    high: list[str] = []
    for remote in sorted(remotes) if way.source else ():
        here, there = ipaddress.ip_address(way.source), ipaddress.ip_address(remote)
        if here.version != there.version or there.is_multicast or here == there:
            continue
        first = here.packed < there.packed
        numbers = [str(tunnel.get(key, "")) for key in ("OutKey", "InKey")]
        words = [
            link.kind,
            str(tunnel.get("ID", "")),
            *(numbers if first else reversed(numbers)),
            *map(str, (here, there) if first else (there, here)),
        ]
        (low if first else high).append("/".join(words))
    if low:
        added["LowEnds"] = low
    if high:
        added["HighEnds"] = high
    return added
