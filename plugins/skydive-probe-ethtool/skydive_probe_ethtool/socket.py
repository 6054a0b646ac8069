"""The socket that asks ethtool netlink, and what its answers mean."""

from __future__ import annotations

import errno
from typing import Final

from skycore.plugin import netlink
from skydive_probe_ethtool import genetlink

_NOT_OFFERED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENOENT})


class RequestSocket(netlink.RequestSocket):
    """Asks families of generic netlink; for worker threads."""

    def __init__(self, enter: netlink.Enter) -> None:
        super().__init__(enter, netlink.NETLINK_GENERIC)

    def get(self, family: int, command: int, *parts: bytes) -> bytes | None:
        """The payload of the answer; None when it is not offered, or the driver could not tell.

        Raises NetlinkError: ENODEV when there is no such interface, ETIMEDOUT when the kernel is silent.
        """
        try:
            frame = self.answer(lambda sequence: genetlink.request(family, command, sequence, *parts))
        except netlink.NetlinkError as error:
            if error.errno in {errno.ENODEV, errno.ETIMEDOUT}:
                raise
            return None
        return frame.payload if frame.type == family else None

    def dump(self, family: int, command: int, *parts: bytes) -> list[bytes]:
        """The payloads of the answers about all interfaces; none when it is not offered.

        Raises NetlinkError.  One driver that fails ends the kernel's answer, and hides the interfaces behind it.
        """
        try:
            buffers = self.ask(lambda sequence: genetlink.request(family, command, sequence, *parts, dump=True)).buffers
        except netlink.NetlinkError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            buffers = error.buffers
        return [frame.payload for buffer in buffers for frame in netlink.frames(buffer) if frame.type == family]
