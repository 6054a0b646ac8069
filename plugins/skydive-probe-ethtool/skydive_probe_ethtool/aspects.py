"""What ethtool tells of an interface: one table of messages, attributes, keys and units.

The readers, the documentation and the tests all use ``ASPECTS``.  Numbers: linux/ethtool_netlink.h (messages and
attributes) and linux/ethtool.h (values, ioctl commands).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from skycore.plugin import netlink
from skydive_probe_ethtool.genetlink import body, u8, u32
from skydive_probe_ethtool.strings import bits

# linux/ethtool_netlink.h
ETHTOOL_MSG_STRSET_GET: Final = 1
ETHTOOL_MSG_MODULE_EEPROM_GET: Final = 31
ETHTOOL_MSG_STATS_GET: Final = 32
ETHTOOL_A_HEADER: Final = 1
ETHTOOL_A_HEADER_DEV_INDEX: Final = 1
ETHTOOL_A_HEADER_DEV_NAME: Final = 2
ETHTOOL_A_HEADER_FLAGS: Final = 3
ETHTOOL_FLAG_COMPACT_BITSETS: Final = 1
ETHTOOL_FLAG_STATS: Final = 4

SPEED_UNKNOWN: Final = 0xFFFFFFFF


@attrs.frozen
class Field:
    """One attribute: its number, the key under which it is shown, how it is read and what it counts.

    ``read`` returns None for a value that says nothing; the key is then absent.
    """

    attribute: int
    key: str
    read: Callable[[bytes], Any]
    unit: str
    size: int = 4


@attrs.frozen
class Aspect:
    """One question and what its answer holds.

    ``key`` is where the fields stand below ``Ethtool`` ("": in it).  ``get``, ``reply`` and ``notify`` are messages
    (ETHTOOL_MSG_…); ``ioctl`` is the older command (ETHTOOL_G…) whose struct holds the fields in their order, or 0.
    ``by_link``: the answer may change with the link, which ethtool does not announce.
    ``compact``: bit sets may come without names.
    """

    name: str
    key: str
    get: int
    reply: int
    notify: int
    fields: tuple[Field, ...]
    ioctl: int = 0
    by_link: bool = False
    compact: bool = True


def _switch(value: bytes) -> bool:
    return bool(u8(value))


def _word(words: Mapping[int, str]) -> Callable[[bytes], str | None]:
    return lambda value: words.get(u8(value))


def _speed(value: bytes) -> int | None:
    speed = u32(value)
    return None if speed in (0, SPEED_UNKNOWN) else speed


_PORTS: Final = {0: "TP", 1: "AUI", 2: "MII", 3: "FIBRE", 4: "BNC", 5: "DA", 0xEF: "NONE", 0xFF: "OTHER"}
_LINK_STATES: Final = {
    0: "Autoneg",
    1: "Link training failure",
    2: "Link logical mismatch",
    3: "Bad signal integrity",
    4: "No cable",
    5: "Cable issue",
    6: "EEPROM issue",
    7: "Calibration failure",
    8: "Power budget exceeded",
    9: "Overheat",
    10: "Module",
}


def _counts(*names: tuple[str, str], first: int = 2) -> tuple[Field, ...]:
    return tuple(Field(first + place, key, u32, unit) for place, (key, unit) in enumerate(names))


def _coalesce() -> Iterable[Field]:
    frames, time = "frames", "µs"
    plain = [
        ("RxUsecs", time),
        ("RxFrames", frames),
        ("RxUsecsIrq", time),
        ("RxFramesIrq", frames),
        ("TxUsecs", time),
        ("TxFrames", frames),
        ("TxUsecsIrq", time),
        ("TxFramesIrq", frames),
        ("StatsBlockUsecs", time),
        ("AdaptiveRx", "yes or no"),
        ("AdaptiveTx", "yes or no"),
        ("PacketRateLow", "packets/s"),
        ("RxUsecsLow", time),
        ("RxFramesLow", frames),
        ("TxUsecsLow", time),
        ("TxFramesLow", frames),
        ("PacketRateHigh", "packets/s"),
        ("RxUsecsHigh", time),
        ("RxFramesHigh", frames),
        ("TxUsecsHigh", time),
        ("TxFramesHigh", frames),
        ("SampleInterval", "s"),
        ("CqeModeTx", "yes or no"),
        ("CqeModeRx", "yes or no"),
    ]
    for place, (key, unit) in enumerate(plain):
        switch = unit == "yes or no"
        yield Field(2 + place, key, _switch if switch else u32, unit, 1 if switch else 4)


_RING = "descriptors"
_CHANNEL = "queues"

FEATURES: Final = Aspect(
    "features",
    "",
    11,
    11,
    13,
    tuple(Field(2 + place, key, bits, "bit set") for place, key in enumerate(("Hw", "Wanted", "Active", "NoChange"))),
)
LINKMODES: Final = Aspect(
    "linkmodes",
    "",
    4,
    4,
    5,
    (
        Field(2, "AutoNegotiation", _switch, "yes or no", 1),
        Field(3, "Ours", bits, "bit set"),
        Field(4, "Peer", bits, "bit set"),
        Field(5, "Speed", _speed, "Mb/s"),
        Field(6, "Duplex", _word({0: "Half", 1: "Full"}), "`Half`, `Full`", 1),
        Field(9, "Lanes", u32, "lanes"),
    ),
    by_link=True,
)
FEC: Final = Aspect(
    "fec",
    "Fec",
    29,
    30,
    31,
    (
        Field(2, "Modes", bits, "bit set"),
        Field(3, "Auto", _switch, "yes or no", 1),
        Field(4, "Active", u32, "bit of a link mode"),
    ),
    by_link=True,
)
PRIVATE_FLAGS: Final = Aspect(
    "privflags", "", 13, 14, 15, (Field(2, "PrivateFlags", bits, "name → yes or no"),), compact=False
)
PAUSE: Final = Aspect(
    "pause",
    "Pause",
    21,
    22,
    23,
    (
        Field(2, "AutoNegotiation", _switch, "yes or no", 1),
        Field(3, "Rx", _switch, "yes or no", 1),
        Field(4, "Tx", _switch, "yes or no", 1),
    ),
    ioctl=0x12,
    by_link=True,
)

ASPECTS: Final[tuple[Aspect, ...]] = (
    FEATURES,
    LINKMODES,
    Aspect(
        "linkinfo",
        "",
        2,
        2,
        3,
        (
            Field(2, "Port", _word(_PORTS), "`TP AUI MII FIBRE BNC DA NONE OTHER`", 1),
            Field(3, "PhyAddress", u8, "MDIO address", 1),
            Field(4, "Mdix", _word({1: "MDI", 2: "MDI-X"}), "`MDI`, `MDI-X`", 1),
            Field(6, "Transceiver", _word({0: "internal", 1: "external"}), "`internal`, `external`", 1),
        ),
        by_link=True,
    ),
    Aspect(
        "linkstate",
        "",
        6,
        6,
        0,
        (
            Field(2, "LinkDetected", _switch, "yes or no", 1),
            Field(3, "Sqi", u32, "signal quality, 0 is bad"),
            Field(4, "SqiMax", u32, "best signal quality"),
            Field(5, "LinkState", _word(_LINK_STATES), "why there is no link", 1),
            Field(7, "LinkDownCount", u32, "times"),
        ),
        by_link=True,
    ),
    PRIVATE_FLAGS,
    Aspect(
        "rings",
        "Rings",
        15,
        16,
        17,
        (
            *_counts(
                ("RxMax", _RING),
                ("RxMiniMax", _RING),
                ("RxJumboMax", _RING),
                ("TxMax", _RING),
                ("Rx", _RING),
                ("RxMini", _RING),
                ("RxJumbo", _RING),
                ("Tx", _RING),
            ),
            Field(10, "RxBufferLength", u32, "bytes"),
            Field(12, "CqeSize", u32, "bytes"),
        ),
        ioctl=0x10,
    ),
    Aspect(
        "channels",
        "Channels",
        17,
        18,
        19,
        _counts(
            ("RxMax", _CHANNEL),
            ("TxMax", _CHANNEL),
            ("OtherMax", _CHANNEL),
            ("CombinedMax", _CHANNEL),
            ("Rx", _CHANNEL),
            ("Tx", _CHANNEL),
            ("Other", _CHANNEL),
            ("Combined", _CHANNEL),
        ),
        ioctl=0x3C,
    ),
    Aspect("coalesce", "Coalesce", 19, 20, 21, tuple(_coalesce()), ioctl=0x0E),
    PAUSE,
    FEC,
    Aspect(
        "module",
        "Module",
        34,
        35,
        36,
        (
            Field(2, "PowerModePolicy", _word({1: "high", 2: "auto"}), "`high`, `auto`", 1),
            Field(3, "PowerMode", _word({1: "low", 2: "high"}), "`low`, `high`", 1),
        ),
        by_link=True,
    ),
)

BY_NAME: Final = {aspect.name: aspect for aspect in ASPECTS}
BY_NOTIFICATION: Final = {aspect.notify: aspect for aspect in ASPECTS if aspect.notify}
LINK_ASPECTS: Final = frozenset(aspect.name for aspect in ASPECTS if aspect.by_link)
"""What may change with the link."""


@attrs.frozen
class Answer:
    """What a message says of one interface; ``values`` are the fields of its aspect, by key."""

    index: int
    name: bytes
    values: dict[str, Any]


def answer(aspect: Aspect, payload: bytes) -> Answer:
    """Decode a reply or a notification of an aspect; raises DecodeError."""
    header, found = b"", {}
    for type, value in body(payload):
        if type == ETHTOOL_A_HEADER:
            header = value
        else:
            found[type] = value
    index, name = device(header)
    return Answer(index, name, fields(aspect, found))


def fields(aspect: Aspect, found: Mapping[int, bytes]) -> dict[str, Any]:
    """The values of an aspect's fields, from its attributes."""
    values: dict[str, Any] = {}
    for field in aspect.fields:
        raw = found.get(field.attribute)
        if raw is not None:
            value = field.read(raw)
            if value is not None:
                values[field.key] = value
    return values


def device(header: bytes) -> tuple[int, bytes]:
    """(ifindex, name) of the interface that a message's header names."""
    entries = dict(netlink.attributes(header))
    if ETHTOOL_A_HEADER_DEV_INDEX not in entries:
        raise netlink.DecodeError("a message of ethtool that names no interface")
    name = entries.get(ETHTOOL_A_HEADER_DEV_NAME, b"")
    return u32(entries[ETHTOOL_A_HEADER_DEV_INDEX]), name.split(b"\0", 1)[0]
