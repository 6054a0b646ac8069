"""The memory of pluggable modules (SFP, QSFP, OSFP …): what is plugged in, and how it feels.

Sources: SFF-8024 (identifiers, connectors), SFF-8472 (SFP; A0h and A2h), SFF-8636 (QSFP; lower page and page 00h),
CMIS 5 (lower page and page 00h).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Final

import attrs

PAGE: Final = 128
"""Bytes of half a page: the kernel reads no more at once."""

I2C_IDENTITY: Final = 0x50
I2C_DIAGNOSTICS: Final = 0x51

_IDENTIFIERS: Final = {
    0x03: "SFP",
    0x0B: "DWDM-SFP",
    0x0C: "QSFP",
    0x0D: "QSFP+",
    0x11: "QSFP28",
    0x18: "QSFP-DD",
    0x19: "OSFP",
    0x1A: "SFP-DD",
    0x1B: "DSFP",
    0x1E: "QSFP+ CMIS",
    0x1F: "SFP-DD CMIS",
    0x20: "SFP+ CMIS",
}
_SFP: Final = frozenset({0x03, 0x0B})
_QSFP: Final = frozenset({0x0C, 0x0D, 0x11})
_CMIS: Final = frozenset({0x18, 0x19, 0x1A, 0x1B, 0x1E, 0x1F, 0x20})

_CONNECTORS: Final = {
    0x01: "SC",
    0x07: "LC",
    0x0B: "Optical pigtail",
    0x0C: "MPO 1x12",
    0x0D: "MPO 2x16",
    0x21: "Copper pigtail",
    0x22: "RJ45",
    0x23: "No separable connector",
}

Read = Callable[[int, int, int], bytes | None]
"""Reads PAGE bytes at (I2C address, page, offset), or less; None when the module does not answer."""


@attrs.frozen
class _Layout:
    """Where the texts stand: (offset, length) in the half page that holds the identity."""

    connector: int
    vendor: tuple[int, int]
    part: tuple[int, int]
    revision: tuple[int, int]
    serial: tuple[int, int]
    date: tuple[int, int]


_SFP_LAYOUT: Final = _Layout(2, (20, 16), (40, 16), (56, 4), (68, 16), (84, 8))
_QSFP_LAYOUT: Final = _Layout(2, (20, 16), (40, 16), (56, 2), (68, 16), (84, 8))
_CMIS_LAYOUT: Final = _Layout(75, (1, 16), (20, 16), (36, 2), (38, 16), (54, 8))


def module(read: Read) -> tuple[dict[str, Any], dict[str, float]]:
    """(identity, diagnostics) of a module; both empty when none answers.  Any bytes are taken."""
    lower = read(I2C_IDENTITY, 0, 0)
    if not lower:
        return {}, {}
    kind = lower[0]
    if kind in _SFP:
        # The last byte read says which diagnostics there are, so the first half page is enough.
        return identity(kind, lower, _SFP_LAYOUT), sfp_diagnostics(lower, read)
    if kind in _QSFP:
        upper = read(I2C_IDENTITY, 0, PAGE) or b""
        return identity(kind, upper, _QSFP_LAYOUT), _environment(lower, 22, 26)
    if kind in _CMIS:
        upper = read(I2C_IDENTITY, 0, PAGE) or b""
        return identity(kind, upper, _CMIS_LAYOUT), _environment(lower, 14, 16)
    return {"Identifier": f"0x{kind:02x}"}, {}


def identity(kind: int, data: bytes, layout: _Layout) -> dict[str, Any]:
    """What the half page ``data`` says of maker and model; blanks are left out."""
    found = {"Identifier": _IDENTIFIERS.get(kind, f"0x{kind:02x}")}
    if layout.connector < len(data) and data[layout.connector] in _CONNECTORS:
        found["Connector"] = _CONNECTORS[data[layout.connector]]
    for key, (start, length) in (
        ("Vendor", layout.vendor),
        ("PartNumber", layout.part),
        ("HardwareRevision", layout.revision),
        ("SerialNumber", layout.serial),
        ("DateCode", layout.date),
    ):
        text = data[start : start + length].decode("ascii", "replace").strip(" \0")
        if text:
            found[key] = text
    return found


def sfp_diagnostics(identity: bytes, read: Read) -> dict[str, float]:
    """Temperature, voltage, bias and power of an SFP that calibrates them itself (SFF-8472, table 9-11)."""
    if len(identity) < 93 or not identity[92] & 0x40 or not identity[92] & 0x20:
        return {}
    data = read(I2C_DIAGNOSTICS, 0, 0) or b""
    if len(data) < 106:
        return {}
    temperature, voltage, bias, sent, received = struct.unpack_from(">hHHHH", data, 96)
    found = {
        "Temperature": round(temperature / 256, 1),
        "Voltage": round(voltage / 10000, 2),
        "BiasCurrent": round(bias / 500, 1),
    }
    for key, power in (("TxPower", sent), ("RxPower", received)):
        if power:
            # In tenths of a microwatt; 1 mW is 0 dBm.
            found[key] = round(10 * math.log10(power / 10000), 1)
    return found


def _environment(data: bytes, temperature: int, voltage: int) -> dict[str, float]:
    if len(data) < max(temperature, voltage) + 2:
        return {}
    degrees = struct.unpack_from(">h", data, temperature)[0] / 256
    volts = struct.unpack_from(">H", data, voltage)[0] / 10000
    # A module without sensors reads as zeros.
    return {"Temperature": round(degrees, 1), "Voltage": round(volts, 2)} if volts else {}
