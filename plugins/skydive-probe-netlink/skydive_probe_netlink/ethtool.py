"""The driver of an interface, by the one ethtool request that is needed."""

from __future__ import annotations

import array
import errno
import fcntl
import struct
from typing import Final

# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL: Final = 0x8946
ETHTOOL_GDRVINFO: Final = 3

_DRVINFO_SIZE: Final = 196  # struct ethtool_drvinfo
_DRIVER = slice(4, 36)
_IFREQ = struct.Struct("=16sQ16x")  # struct ifreq with ifr_data
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY})


def driver(fd: int, name: bytes) -> str | None:
    """Driver of the interface ``name`` in the namespace of the socket ``fd`` (any kind of socket).

    "" when it has none to tell; None when there is no interface of that name (any more).
    """
    request = array.array("B", struct.pack("=I", ETHTOOL_GDRVINFO) + bytes(_DRVINFO_SIZE - 4))
    try:
        fcntl.ioctl(fd, SIOCETHTOOL, _IFREQ.pack(name, request.buffer_info()[0]))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        if error.errno in _UNSUPPORTED:
            return ""
        raise
    return request[_DRIVER].tobytes().split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
