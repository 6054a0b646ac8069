"""Asks the kernel about interfaces, over netlink or by ioctl; everything here blocks and runs in a worker thread."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from skycore.plugin import netlink
from skydive_probe_ethtool import strings, transceiver
from skydive_probe_ethtool.aspects import (
    ASPECTS,
    BY_NAME,
    ETHTOOL_A_HEADER,
    ETHTOOL_A_HEADER_DEV_INDEX,
    ETHTOOL_A_HEADER_FLAGS,
    ETHTOOL_FLAG_COMPACT_BITSETS,
    ETHTOOL_MSG_MODULE_EEPROM_GET,
    ETHTOOL_MSG_STRSET_GET,
    Answer,
    Aspect,
    answer,
    fields,
)
from skydive_probe_ethtool.genetlink import body, nested
from skydive_probe_ethtool.ioctl import DriverInfo, Gone, Ioctl
from skydive_probe_ethtool.socket import RequestSocket

DUMP_FROM: Final = 24
"""From so many interfaces on, all are asked in one request."""

Wanted: TypeAlias = Mapping[int, Collection[str]] | Literal["all"]
"""Names of aspects by ifindex, or everything of every interface."""

DRIVER: Final = "driver"
TRANSCEIVER: Final = "transceiver"
EVERY: Final = frozenset({*(aspect.name for aspect in ASPECTS), DRIVER})
"""All that is asked of an interface again and again: the aspects and its driver.

The memory of a pluggable module (TRANSCEIVER) is asked only when named, as reading it is slow.
"""

_MODULE_EEPROM: Final = (2, 3, 4, 5, 6)  # offset, length, page, bank, I2C address
_MODULE_EEPROM_DATA: Final = 7


@attrs.define
class Reading:
    """What was learnt of one interface.  ``aspects``: name → values, empty where nothing is offered."""

    index: int
    name: bytes = b""
    aspects: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    driver: DriverInfo | None = None
    transceiver: dict[str, Any] | None = None


@attrs.frozen
class Readings:
    """``complete``: ``interfaces`` are all that there are.  ``gone``: asked for, and no longer there.

    ``broken``: a driver failed and hid others; the interfaces are to be asked one by one.
    """

    interfaces: dict[int, Reading]
    gone: frozenset[int]
    complete: bool
    broken: bool
    undecodable: int


class Reader:
    """Asks through one socket, and through ioctls where netlink has no answer.

    ``family`` is None on a kernel without ethtool netlink; ``present`` then gives (ifindex, name) of all interfaces.
    """

    def __init__(self, requests: RequestSocket, ioctl: Ioctl, family: netlink.Family | None) -> None:
        self._requests = requests
        self._ioctl = ioctl
        self._family = family
        self._undecodable = 0
        self._broken = False
        self._dump_from = DUMP_FROM

    def read(self, wanted: Wanted, present: Iterable[tuple[int, bytes]] = (), *, one_by_one: bool = False) -> Readings:
        """Ask what is wanted.  Raises OSError."""
        self._undecodable = 0
        self._broken = False
        self._dump_from = sys.maxsize if one_by_one else DUMP_FROM
        readings: dict[int, Reading] = {}
        gone: set[int] = set()
        if self._family is None:
            self._read_by_ioctl(wanted, dict(present), readings, gone)
        else:
            self._read_by_netlink(wanted, readings, gone)
        for reading in list(readings.values()):
            what = EVERY if wanted == "all" else wanted[reading.index]
            if DRIVER in what and reading.name:
                try:
                    reading.driver = self._ioctl.driver_info(reading.name)
                except Gone:
                    pass
            if TRANSCEIVER in what:
                reading.transceiver = self.module(reading.index)[0]
        return Readings(readings, frozenset(gone), wanted == "all", self._broken, self._undecodable)

    def names(self, stringset: int) -> tuple[str, ...]:
        """Names of a set that is the same for all interfaces (features, link modes)."""
        if self._family is None:
            try:
                return self._ioctl.strings(b"lo", stringset)
            except Gone:
                return ()
        payload = self._requests.get(
            self._family.id, ETHTOOL_MSG_STRSET_GET, nested(ETHTOOL_A_HEADER), strings.strings_parts(stringset)
        )
        return () if payload is None else strings.strings(payload, stringset)

    def module(self, index: int) -> tuple[dict[str, Any], dict[str, float]]:
        """(identity, diagnostics) of what is plugged into an interface; empty when nothing answers."""
        return transceiver.module(lambda *place: self._eeprom(index, *place)) if self._family else ({}, {})

    def _read_by_netlink(self, wanted: Wanted, readings: dict[int, Reading], gone: set[int]) -> None:
        for aspect in ASPECTS:
            if wanted == "all":
                answers = self._dump(aspect)
            else:
                asked = [index for index, names in wanted.items() if aspect.name in names and index not in gone]
                if len(asked) < self._dump_from:
                    answers = [found for index in asked if (found := self._get(aspect, index, gone)) is not None]
                else:
                    answers = [found for found in self._dump(aspect) if found.index in wanted]
                for index in asked:
                    readings.setdefault(index, Reading(index)).aspects[aspect.name] = {}
            for found in answers:
                reading = readings.setdefault(found.index, Reading(found.index))
                reading.name = found.name or reading.name
                reading.aspects[aspect.name] = found.values
        for index in gone:
            readings.pop(index, None)

    def _dump(self, aspect: Aspect) -> list[Answer]:
        assert self._family is not None
        try:
            payloads = self._requests.dump(self._family.id, aspect.get, _header(aspect))
        except netlink.NetlinkError as error:
            if error.errno == errno.ETIMEDOUT:
                raise
            self._broken = True
            return []
        return [found for payload in payloads if (found := self._answer(aspect, payload)) is not None]

    def _get(self, aspect: Aspect, index: int, gone: set[int]) -> Answer | None:
        assert self._family is not None
        try:
            payload = self._requests.get(self._family.id, aspect.get, _header(aspect, index))
        except netlink.NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise
            gone.add(index)
            return None
        return None if payload is None else self._answer(aspect, payload)

    def _answer(self, aspect: Aspect, payload: bytes) -> Answer | None:
        try:
            return answer(aspect, payload)
        except netlink.DecodeError:
            self._undecodable += 1
            return None

    def _read_by_ioctl(
        self, wanted: Wanted, present: Mapping[int, bytes], readings: dict[int, Reading], gone: set[int]
    ) -> None:
        features = len(self.names(strings.ETH_SS_FEATURES))
        for index in present if wanted == "all" else wanted:
            name = present.get(index)
            if name is None:
                gone.add(index)
                continue
            reading = Reading(index, name)
            try:
                for aspect in ASPECTS:
                    if wanted == "all" or aspect.name in wanted[index]:
                        reading.aspects[aspect.name] = self._ask_by_ioctl(name, aspect, features)
            except Gone:
                gone.add(index)
            else:
                readings[index] = reading

    def _ask_by_ioctl(self, name: bytes, aspect: Aspect, features: int) -> dict[str, Any]:
        try:
            return fields(aspect, self._ioctl.attributes(name, aspect, features) or {})
        except netlink.DecodeError:
            self._undecodable += 1
            return {}

    def _eeprom(self, index: int, i2c: int, page: int, offset: int) -> bytes | None:
        assert self._family is not None
        numbers = (
            struct.pack("=I", offset), struct.pack("=I", transceiver.PAGE), bytes([page]), bytes([0]), bytes([i2c]),
        )  # fmt: skip
        parts = [netlink.attribute(type, value) for type, value in zip(_MODULE_EEPROM, numbers, strict=True)]
        try:
            payload = self._requests.get(
                self._family.id, ETHTOOL_MSG_MODULE_EEPROM_GET, _header(BY_NAME["module"], index), *parts
            )
            if payload is None:
                return None
            return next((value for type, value in body(payload) if type == _MODULE_EEPROM_DATA), None)
        except (netlink.NetlinkError, netlink.DecodeError):
            # No module is plugged in (EIO, ENODEV …), or it has been pulled meanwhile.
            return None


def _header(aspect: Aspect, index: int | None = None) -> bytes:
    flags = ETHTOOL_FLAG_COMPACT_BITSETS if aspect.compact else 0
    parts = [netlink.attribute(ETHTOOL_A_HEADER_FLAGS, struct.pack("=I", flags))]
    if index is not None:
        parts.insert(0, netlink.attribute(ETHTOOL_A_HEADER_DEV_INDEX, struct.pack("=I", index)))
    return nested(ETHTOOL_A_HEADER, *parts)
