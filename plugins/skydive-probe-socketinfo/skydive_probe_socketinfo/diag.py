"""sock_diag sockets: one that lists the sockets of a namespace, one that hears which of them are closed.

The namespace lives for as long as such a socket does.
"""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Final

from skycore.plugin import netlink
from skydive_probe_socketinfo import codec

RECEIVE_BUFFER: Final = 1 << 20
"""Bytes of news that the kernel may keep for us; it uses them only as needed."""

UNSUPPORTED: Final = frozenset({errno.ENOENT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP})
"""What the kernel answers when it cannot list the sockets of a protocol."""


class ListSocket(netlink.RequestSocket):
    """Asks which sockets there are; one question at a time."""

    def __init__(self, enter: netlink.Enter) -> None:
        super().__init__(enter, netlink.NETLINK_SOCK_DIAG)

    def dump(self, protocol: int) -> dict[codec.Cookie, codec.Sighting]:
        """The IPv4 and IPv6 sockets of a protocol; blocks for as long as the kernel takes, at most seconds.

        Raises NetlinkError (one of UNSUPPORTED when the kernel cannot tell of this protocol) and DecodeError.
        """
        found: dict[codec.Cookie, codec.Sighting] = {}
        for family in codec.FAMILIES:
            try:
                dump = self.ask(partial(codec.dump_request, family=family, protocol=protocol))
            except netlink.NetlinkError as error:
                if error.errno in UNSUPPORTED and family == socket.AF_INET6:
                    continue
                raise
            for buffer in dump.buffers:
                codec.collect(buffer, found)
        return found


class CloseSocket(netlink.EventSocket):
    """Hears which sockets are closed, from the moment it is made."""

    def __init__(self, enter: netlink.Enter) -> None:
        super().__init__(enter, netlink.NETLINK_SOCK_DIAG, codec.DESTROY_GROUPS, RECEIVE_BUFFER)

    def closed(self, limit: int) -> tuple[dict[codec.Cookie, codec.Sighting], bool]:
        """The sockets closed since the last call, at most ``limit`` of them, and whether news was lost; never waits.

        Raises DecodeError.
        """
        events = self.read(limit)
        found: dict[codec.Cookie, codec.Sighting] = {}
        for buffer in events.buffers:
            codec.collect(buffer, found)
        return found, events.lost
