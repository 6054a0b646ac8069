"""The older way to ask: SIOCETHTOOL, for what netlink does not offer and for kernels without ethtool netlink.

Structs and numbers: linux/sockios.h, linux/ethtool.h.  What fits the table of ``aspects`` is returned as the
attributes that netlink would have sent, so that one decoder serves both.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import struct
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import attrs

from skycore.plugin import netlink
from skydive_probe_ethtool.aspects import PAUSE, Aspect
from skydive_probe_ethtool.genetlink import text

SIOCETHTOOL: Final = 0x8946
ETHTOOL_GDRVINFO: Final = 0x03
ETHTOOL_GLINK: Final = 0x0A
ETHTOOL_GSTRINGS: Final = 0x1B
ETHTOOL_GSTATS: Final = 0x1D
ETHTOOL_GSSET_INFO: Final = 0x37
ETHTOOL_GFEATURES: Final = 0x3A
ETHTOOL_GLINKSETTINGS: Final = 0x4C
ETHTOOL_GFECPARAM: Final = 0x50

_STRING: Final = 32  # ETH_GSTRING_LEN
_ARENA: Final = 8 << 20
_MOST: Final = 1 << 16
"""Counters or names of one interface that are read; a driver that has more is left alone."""

_IFREQ = struct.Struct("=16sQ16x")  # struct ifreq with ifr_data
_DRVINFO = struct.Struct("=I32s32s32s32s32s12sIIIII")
_LINKSETTINGS = struct.Struct("=IIBBBBBBBbBBBB28x")
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EPERM})

_BITSET_SIZE, _BITSET_VALUE, _BITSET_MASK = 2, 4, 5
_FEC_OF_LINK_MODE: Final = ((1 << 1, 49), (1 << 2, 49), (1 << 3, 50), (1 << 4, 51), (1 << 5, 74))
"""ETHTOOL_FEC_… (none, off, RS, BaseR, LLRS) and the bit of the link mode that netlink uses for it."""
_FEC_AUTO: Final = 1 << 1
_BOUNDED: Final = frozenset({"rings", "channels"})


class Gone(Exception):
    """There is no interface of this name (any more)."""


@attrs.frozen
class DriverInfo:
    """struct ethtool_drvinfo; "" for what the driver does not tell."""

    driver: str
    version: str
    firmware: str
    bus: str
    rom: str


class Ioctl:
    """Asks through ``fd``, any kind of socket of the interfaces' namespace.  Blocks as long as the kernel's RTNL lock.

    The kernel writes as many counters and names as the driver has at that moment, whatever room the caller
    says to have; so the answers go to an arena that is larger than any of them.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._arena = mmap.mmap(-1, _ARENA)
        self._view = (ctypes.c_char * _ARENA).from_buffer(self._arena)
        self._address = ctypes.addressof(self._view)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._view
        self._arena.close()

    def call(self, name: bytes, request: bytes, size: int) -> bytes | None:
        """The first ``size`` bytes of the answer; None when this is not offered.  Raises Gone, OSError."""
        size = max(size, len(request))
        self._arena[:size] = request + bytes(size - len(request))
        try:
            fcntl.ioctl(self._fd, SIOCETHTOOL, _IFREQ.pack(name, self._address))
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise Gone from None
            if error.errno in _UNSUPPORTED:
                return None
            raise
        return self._arena[:size]

    def driver_info(self, name: bytes) -> DriverInfo | None:
        """Driver, versions and bus address."""
        answer = self.call(name, struct.pack("=I", ETHTOOL_GDRVINFO), _DRVINFO.size)
        return None if answer is None else driver_info(answer)

    def count(self, name: bytes, stringset: int) -> int:
        """How many names a set has for this interface."""
        answer = self.call(name, struct.pack("=IIQI", ETHTOOL_GSSET_INFO, 0, 1 << stringset, 0), 20)
        return 0 if answer is None else sset_count(answer, stringset)

    def strings(self, name: bytes, stringset: int) -> tuple[str, ...]:
        """The names of a set."""
        count = self.count(name, stringset)
        if not 0 < count <= _MOST:
            return ()
        head = struct.pack("=III", ETHTOOL_GSTRINGS, stringset, count)
        answer = self.call(name, head, 12 + _STRING * count)
        return () if answer is None else strings(answer)

    def counters(self, name: bytes, count: int) -> tuple[int, ...]:
        """The driver's counters, of which it is known to have ``count``."""
        if not 0 < count <= _MOST:
            return ()
        answer = self.call(name, struct.pack("=II", ETHTOOL_GSTATS, count), 8 + 8 * count)
        return () if answer is None else counters(answer)

    def attributes(self, name: bytes, aspect: Aspect, features: int) -> dict[int, bytes] | None:
        """What netlink would have answered, apart from zeros.  ``features`` is the number of feature bits."""
        if aspect.ioctl:
            answer = self.call(name, struct.pack("=I", aspect.ioctl), 256)
            return None if answer is None else plain_attributes(aspect, answer)
        reader = _READERS.get(aspect.name)
        return None if reader is None else reader(self, name, features)

    def _features(self, name: bytes, count: int) -> dict[int, bytes] | None:
        blocks = (count + 31) // 32
        answer = self.call(name, struct.pack("=II", ETHTOOL_GFEATURES, blocks), 8 + 16 * blocks)
        return None if answer is None else feature_attributes(answer, blocks)

    def _linksettings(self, name: bytes) -> tuple[Any, ...] | None:
        """The fields of struct ethtool_link_settings, and its masks as bytes."""
        size = _LINKSETTINGS.size
        first = self.call(name, struct.pack("=I", ETHTOOL_GLINKSETTINGS), size)
        if first is None:
            return None
        # Asked with a wrong number of words, the kernel answers with the right one, negated.
        words = -_LINKSETTINGS.unpack_from(first)[9]
        if not 0 < words < 128:
            return None
        head = struct.pack("=IIBBBBBBBb", ETHTOOL_GLINKSETTINGS, 0, 0, 0, 0, 0, 0, 0, 0, words)
        answer = self.call(name, head, size + 12 * words)
        return None if answer is None else link_settings(answer)

    def _linkmodes(self, name: bytes, _features: int) -> dict[int, bytes] | None:
        fields = self._linksettings(name)
        if fields is None:
            return None
        _, speed, duplex, _, _, autoneg, *_ = fields
        supported, advertised, peer = fields[-3:]
        found = {
            2: bytes([autoneg]),
            3: _bitset(advertised, supported),
            5: struct.pack("=I", speed),
            6: bytes([duplex]),
        }
        if any(peer):
            found[4] = _bitset(peer, None)
        return found

    def _linkinfo(self, name: bytes, _features: int) -> dict[int, bytes] | None:
        fields = self._linksettings(name)
        if fields is None:
            return None
        _, _, _, port, phy, _, _, mdix, _, _, transceiver, *_ = fields
        return {2: bytes([port]), 3: bytes([phy]), 4: bytes([mdix]), 6: bytes([transceiver])}

    def _linkstate(self, name: bytes, _features: int) -> dict[int, bytes] | None:
        answer = self.call(name, struct.pack("=I", ETHTOOL_GLINK), 8)
        return None if answer is None else {2: answer[4:5] if sys.byteorder == "little" else answer[7:8]}

    def _fec(self, name: bytes, _features: int) -> dict[int, bytes] | None:
        answer = self.call(name, struct.pack("=I", ETHTOOL_GFECPARAM), 16)
        return None if answer is None else fec_attributes(answer)


def driver_info(answer: bytes) -> DriverInfo:
    """Decode struct ethtool_drvinfo."""
    _, driver, version, firmware, bus, rom, *_ = _unpack(_DRVINFO, answer)
    return DriverInfo(*(text(part) for part in (driver, version, firmware, bus, rom)))


def sset_count(answer: bytes, stringset: int) -> int:
    """Decode struct ethtool_sset_info that asked for one set."""
    _, _, mask, count = _unpack(struct.Struct("=IIQI"), answer)
    return count if mask >> stringset & 1 else 0


def strings(answer: bytes) -> tuple[str, ...]:
    """Decode struct ethtool_gstrings; what does not fit into the answer is left out."""
    _, _, count = _unpack(struct.Struct("=III"), answer)
    count = min(count, (len(answer) - 12) // _STRING)
    return tuple(sys.intern(text(answer[12 + _STRING * n : 12 + _STRING * (n + 1)])) for n in range(count))


def counters(answer: bytes) -> tuple[int, ...]:
    """Decode struct ethtool_stats; what does not fit into the answer is left out."""
    _, count = _unpack(struct.Struct("=II"), answer)
    return struct.unpack_from(f"={min(count, (len(answer) - 8) // 8)}Q", answer, 8)


def plain_attributes(aspect: Aspect, answer: bytes) -> dict[int, bytes]:
    """A struct of 32-bit numbers in the order of the aspect's attributes, without the zeros that say nothing.

    Rings and channels have four bounds and then four sizes; a size counts when its bound is not zero.
    """
    numbers = dict(enumerate(struct.unpack_from(f"={max(len(answer) - 4, 0) // 4}I", answer, min(4, len(answer))), 2))
    found = {}
    for field in aspect.fields:
        number = numbers.get(field.attribute, 0)
        bound = numbers.get(field.attribute - 4, 0) if aspect.name in _BOUNDED and 6 <= field.attribute < 10 else 0
        if field.attribute in numbers and (number or bound or aspect is PAUSE):
            found[field.attribute] = bytes([number & 0xFF]) if field.size == 1 else struct.pack("=I", number)
    return found


def feature_attributes(answer: bytes, blocks: int) -> dict[int, bytes]:
    """Decode struct ethtool_gfeatures of so many blocks (available, requested, active, never changed)."""
    if len(answer) < 8 + 16 * blocks:
        raise netlink.DecodeError(f"{len(answer)} bytes are too few for {blocks} blocks of features")
    columns = [b"", b"", b"", b""]
    for block in range(blocks):
        for column in range(4):
            start = 8 + 16 * block + 4 * column
            columns[column] += answer[start : start + 4]
    available, requested, active, never = columns
    return {2: _bitset(available, None), 3: _bitset(requested, None), 4: _bitset(active, None), 5: _bitset(never, None)}


def link_settings(answer: bytes) -> tuple[Any, ...]:
    """Decode struct ethtool_link_settings: its fields, then the masks supported, advertised and the peer's."""
    fields = _unpack(_LINKSETTINGS, answer)
    words = fields[9]
    size = _LINKSETTINGS.size
    if words < 0 or len(answer) < size + 12 * words:
        raise netlink.DecodeError(f"{len(answer)} bytes are too few for link settings with {words} words")
    masks = [answer[size + 4 * words * n : size + 4 * words * (n + 1)] for n in range(3)]
    return (*fields, *masks)


def fec_attributes(answer: bytes) -> dict[int, bytes]:
    """Decode struct ethtool_fecparam."""
    _, active, configured, _ = _unpack(struct.Struct("=IIII"), answer)
    modes = sum({1 << bit for flag, bit in _FEC_OF_LINK_MODE if configured & flag})
    words = struct.pack("=4I", *(modes >> 32 * n & 0xFFFFFFFF for n in range(4)))
    found = {2: _bitset(words, None), 3: bytes([bool(configured & _FEC_AUTO)])}
    for flag, bit in _FEC_OF_LINK_MODE:
        if active & flag:
            found[4] = struct.pack("=I", bit)
    return found


def _bitset(value: bytes, mask: bytes | None) -> bytes:
    parts = netlink.attribute(_BITSET_SIZE, struct.pack("=I", len(value) * 8)) + netlink.attribute(_BITSET_VALUE, value)
    return parts if mask is None else parts + netlink.attribute(_BITSET_MASK, mask)


def _unpack(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) < layout.size:
        raise netlink.DecodeError(f"{len(data)} bytes where {layout.size} were expected")
    return layout.unpack_from(data)


_READERS: Final[Mapping[str, Any]] = {
    "features": Ioctl._features,
    "linkmodes": Ioctl._linkmodes,
    "linkinfo": Ioctl._linkinfo,
    "linkstate": Ioctl._linkstate,
    "fec": Ioctl._fec,
}
