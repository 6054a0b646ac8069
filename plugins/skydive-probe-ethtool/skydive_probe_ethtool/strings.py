"""Names that the kernel gives to bits and counters, and sets of bits.

Source: linux/ethtool_netlink.h (ETHTOOL_A_STRSET_…, ETHTOOL_A_BITSET_…), linux/ethtool.h (enum ethtool_stringset),
and the kernel's Documentation/networking/ethtool-netlink.rst, "Bit sets".
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from skycore.plugin import netlink
from skydive_probe_ethtool.genetlink import body, nested, text, u32

# enum ethtool_stringset
ETH_SS_STATS: Final = 1
ETH_SS_FEATURES: Final = 4
ETH_SS_LINK_MODES: Final = 9
ETH_SS_STATS_ETH_PHY: Final = 17
ETH_SS_STATS_ETH_MAC: Final = 18
ETH_SS_STATS_ETH_CTRL: Final = 19
ETH_SS_STATS_RMON: Final = 20

_STRSET_STRINGSETS: Final = 2
_STRINGSETS_STRINGSET: Final = 1
_STRINGSET_ID: Final = 1
_STRINGSET_STRINGS: Final = 3
_STRING_INDEX: Final = 1
_STRING_VALUE: Final = 2

_BITSET_NOMASK: Final = 1
_BITSET_SIZE: Final = 2
_BITSET_BITS: Final = 3
_BITSET_VALUE: Final = 4
_BITSET_MASK: Final = 5
_BIT_INDEX: Final = 1
_BIT_NAME: Final = 2
_BIT_VALUE: Final = 3

MAX_BITS: Final = 4096
"""Sets of more bits, or of more names, are refused; the largest of the kernel have some 130."""


@attrs.frozen
class Bits:
    """A set of bits: ``value`` of those that ``mask`` covers (None: of all), bit 0 lowest.

    ``names`` are those that came with the set; the compact form has none.
    """

    value: int
    mask: int | None
    names: dict[int, str]

    def named(self, names: Sequence[str], bits: int | None = None) -> list[str]:
        """Names of the bits that are set (or of those in ``bits``), in their order."""
        chosen = self.value if bits is None else bits
        return [name for index, name in self._all(names) if chosen >> index & 1]

    def switches(self, names: Sequence[str]) -> dict[str, bool]:
        """Name → is it set, for all bits that the set is about."""
        mask = -1 if self.mask is None else self.mask
        return {name: bool(self.value >> index & 1) for index, name in self._all(names) if mask >> index & 1}

    def _all(self, names: Sequence[str]) -> Iterator[tuple[int, str]]:
        for index in range(max(len(names), max(self.names, default=-1) + 1)):
            name = self.names.get(index) or (names[index] if index < len(names) else "")
            if name:
                yield index, name


def bits(value: bytes) -> Bits:
    """Decode a bit set, in its compact form (words) or the verbose one (a list of bits with names)."""
    fields = dict(netlink.attributes(value))
    if _BITSET_VALUE in fields:
        mask = fields.get(_BITSET_MASK)
        return Bits(_words(fields[_BITSET_VALUE]), None if mask is None else _words(mask), {})
    number, names = 0, {}
    mask_of_listed = 0
    for _, entry in netlink.attributes(fields.get(_BITSET_BITS, b"")):
        bit = dict(netlink.attributes(entry))
        if _BIT_INDEX not in bit:
            raise netlink.DecodeError("a bit without index in a set of bits")
        index = _bounded(u32(bit[_BIT_INDEX]))
        names[index] = sys.intern(text(bit.get(_BIT_NAME, b"")))
        mask_of_listed |= 1 << index
        if _BITSET_NOMASK in fields or _BIT_VALUE in bit:
            number |= 1 << index
    return Bits(number, None if _BITSET_NOMASK in fields else mask_of_listed, names)


def strings_parts(stringset: int) -> bytes:
    """What a request for one set of names holds beside its header."""
    return nested(
        _STRSET_STRINGSETS,
        nested(_STRINGSETS_STRINGSET, netlink.attribute(_STRINGSET_ID, struct.pack("=I", stringset))),
    )


def strings(payload: bytes, stringset: int) -> tuple[str, ...]:
    """The names of a set, from the answer to such a request; empty when it holds none."""
    for type, sets in body(payload):
        if type != _STRSET_STRINGSETS:
            continue
        for _, entry in netlink.attributes(sets):
            fields = dict(netlink.attributes(entry))
            if _STRINGSET_ID in fields and u32(fields[_STRINGSET_ID]) == stringset:
                return _strings(fields.get(_STRINGSET_STRINGS, b""))
    return ()


def _strings(value: bytes) -> tuple[str, ...]:
    found: dict[int, str] = {}
    for _, entry in netlink.attributes(value):
        fields = dict(netlink.attributes(entry))
        if _STRING_INDEX in fields:
            found[_bounded(u32(fields[_STRING_INDEX]))] = sys.intern(text(fields.get(_STRING_VALUE, b"")))
    return tuple(found.get(index, "") for index in range(max(found, default=-1) + 1))


def _words(value: bytes) -> int:
    """Words of 32 bits in the machine's byte order, lowest first."""
    if len(value) % 4 or len(value) > MAX_BITS // 8:
        raise netlink.DecodeError(f"{len(value)} bytes where words of a set of bits were expected")
    number = 0
    for place, word in enumerate(struct.unpack(f"={len(value) // 4}I", value)):
        number |= word << 32 * place
    return number


def _bounded(index: int) -> int:
    if index >= MAX_BITS:
        raise netlink.DecodeError(f"index {index} in a set of bits or names; at most {MAX_BITS} were expected")
    return index
