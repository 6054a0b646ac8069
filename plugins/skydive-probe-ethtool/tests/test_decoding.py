"""Bytes to values: what the kernel's headers describe, and garbage.

No machine of the tests has a network card with pluggable modules, forward error correction or standard statistics:
the bytes named ``synthetic_…`` are written after the specifications and were never seen from a real system.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skydive_probe_ethtool import aspects, counters, genetlink, ioctl, strings, transceiver
from skydive_probe_ethtool.aspects import ASPECTS, BY_NAME, FEC, PAUSE
from skydive_probe_ethtool.genetlink import nested
from skydive_probe_ethtool.metadata import Interface, Names, interface_metadata

from skycore.plugin import netlink


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def message(*parts: bytes, command: int = 1) -> bytes:
    """The payload of a message about the interface 7, eth7."""
    return bytes([command, 1, 0, 0]) + b"".join(parts)


HEADER = nested(1, netlink.attribute(1, u32(7)), netlink.attribute(2, b"eth7\0"))


def framed(type: int, payload: bytes, sequence: int = 5) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), type, 0, sequence, 0) + payload + bytes(-len(payload) % 4)


def verbose(*bits: tuple[int, str, bool]) -> bytes:
    listed = [
        nested(
            1,
            netlink.attribute(1, u32(index)),
            netlink.attribute(2, name.encode() + b"\0"),
            *([netlink.attribute(3, b"")] if on else []),
        )
        for index, name, on in bits
    ]
    return netlink.attribute(2, u32(64)) + nested(3, *listed)


def compact(value: int, mask: int | None = None, words: int = 2) -> bytes:
    def spread(number: int) -> bytes:
        return b"".join(u32(number >> 32 * word & 0xFFFFFFFF) for word in range(words))

    parts = netlink.attribute(2, u32(32 * words)) + netlink.attribute(4, spread(value))
    return parts if mask is None else parts + netlink.attribute(5, spread(mask))


def test_both_forms_of_a_set_of_bits() -> None:
    names = ["a", "b", "", "d"]
    told = strings.bits(verbose((0, "a", True), (33, "z", False)))
    assert told.switches(()) == {"a": True, "z": False}
    dense = strings.bits(compact(0b1001, 0b1011))
    assert dense.named(names) == ["a", "d"]
    assert dense.switches(names) == {"a": True, "b": False, "d": True}
    assert strings.bits(compact(1 << 40)).value == 1 << 40
    listed = strings.bits(netlink.attribute(1, b"") + verbose((3, "d", False)))
    assert (listed.named(names), listed.mask) == (["d"], None)


def test_link_modes_speed_and_duplex() -> None:
    parts = (
        HEADER,
        netlink.attribute(2, b"\1"),
        nested(3, compact(0b010, 0b110)),
        nested(4, compact(0b100)),
        netlink.attribute(5, u32(25000)),
        netlink.attribute(6, b"\1"),
    )
    found = aspects.answer(BY_NAME["linkmodes"], message(*parts))
    interface = Interface(b"eth7", {"linkmodes": found.values})
    assert (found.index, found.name) == (7, b"eth7")
    assert interface_metadata(interface, Names((), ("m0", "m1", "m2"))) == {
        "Speed": 25000,
        "Ethtool": {
            "AutoNegotiation": True,
            "Duplex": "Full",
            "LinkModes": {"Supported": ["m1", "m2"], "Advertised": ["m1"], "Peer": ["m2"]},
        },
    }


@pytest.mark.parametrize("speed", [0, 0xFFFFFFFF])
def test_an_unknown_speed_is_absent(speed: int) -> None:
    found = aspects.answer(
        BY_NAME["linkmodes"], message(HEADER, netlink.attribute(5, u32(speed)), netlink.attribute(6, b"\xff"))
    )
    assert found.values == {}


def test_features_that_wait() -> None:
    bits = {"Hw": 0b0111, "Wanted": 0b0101, "Active": 0b1010, "NoChange": 0}
    values = {key: strings.bits(compact(value)) for key, value in bits.items()}
    metadata = interface_metadata(Interface(b"x", {"features": values}), Names(("a", "b", "c", "d"), ()))
    assert metadata["Features"] == {"a": False, "b": True, "c": False, "d": True}
    assert metadata["Ethtool"]["RequestedFeatures"] == {"a": True, "b": False, "c": True}


def test_synthetic_forward_error_correction() -> None:
    names = ("m0", "None", "RS", "BASER")
    parts = (HEADER, nested(2, compact(0b0110)), netlink.attribute(3, b"\0"), netlink.attribute(4, u32(2)))
    values = aspects.answer(FEC, message(*parts)).values
    metadata = interface_metadata(Interface(b"x", {"fec": values}), Names((), names))
    assert metadata["Ethtool"]["Fec"] == {"Modes": ["Off", "RS"], "Auto": False, "Active": "RS"}


def test_synthetic_standard_statistics() -> None:
    eight = struct.pack("=Q", 2**63 + 9)
    group = nested(
        4,
        netlink.attribute(2, u32(1)),
        netlink.attribute(3, u32(18)),
        nested(4, netlink.attribute(0, eight)),
        nested(4, netlink.attribute(1, bytes(8))),
    )
    payload = message(nested(2, netlink.attribute(1, u32(7))), group)
    assert counters.group_counters(payload, {1: ("FramesTransmittedOK", "SingleCollisionFrames")}) == (
        7,
        {"EthMac": {"FramesTransmittedOK": 2**63 + 9}},
    )
    lanes = struct.pack("=3Q", 5, 2, 3)
    payload = message(HEADER, nested(5, netlink.attribute(2, lanes), netlink.attribute(3, b"")))
    assert counters.nested_counters(payload, 5, "Fec", counters.FEC_COUNTERS) == (7, {"Fec": {"Corrected": 5}})


def test_synthetic_fec_and_features_by_ioctl() -> None:
    found = ioctl.fec_attributes(struct.pack("=IIII", 0x50, 1 << 3, 1 << 1 | 1 << 3 | 1 << 2, 0))
    values = aspects.fields(FEC, found)
    assert (values["Modes"].value, values["Auto"], values["Active"]) == (1 << 50 | 1 << 49, True, 50)
    blocks = struct.pack("=10I", 0x3A, 2, 1, 2, 3, 4, 5, 6, 7, 8)
    values = aspects.fields(BY_NAME["features"], ioctl.feature_attributes(blocks, 2))
    assert {key: bits.value for key, bits in values.items()} == {
        "Hw": 1 | 5 << 32, "Wanted": 2 | 6 << 32, "Active": 3 | 7 << 32, "NoChange": 4 | 8 << 32,
    }  # fmt: skip


def synthetic_sfp() -> dict[int, bytes]:
    """A0h and A2h of an SFP, after SFF-8472."""
    identity = bytearray(128)
    identity[0], identity[2], identity[92] = 0x03, 0x07, 0x68
    identity[20:36], identity[40:56], identity[56:60] = b"ACME            ", b"SFP-10G-LR      ", b"A1  "
    identity[68:84], identity[84:92] = b"SN123           ", b"240131  "
    state = bytearray(128)
    struct.pack_into(">hHHHH", state, 96, 31 * 256 + 128, 33000, 3500, 5012, 10000)
    return {transceiver.I2C_IDENTITY: bytes(identity), transceiver.I2C_DIAGNOSTICS: bytes(state)}


def test_synthetic_sfp() -> None:
    memory = synthetic_sfp()
    assert transceiver.module(lambda i2c, page, offset: memory[i2c] if page == offset == 0 else None) == (
        {
            "Identifier": "SFP",
            "Connector": "LC",
            "Vendor": "ACME",
            "PartNumber": "SFP-10G-LR",
            "HardwareRevision": "A1",
            "SerialNumber": "SN123",
            "DateCode": "240131",
        },
        {"Temperature": 31.5, "Voltage": 3.3, "BiasCurrent": 7.0, "TxPower": -3.0, "RxPower": 0.0},
    )


@pytest.mark.parametrize(
    ("kind", "name", "vendor", "temperature", "voltage"), [(0x11, "QSFP28", 20, 22, 26), (0x18, "QSFP-DD", 1, 14, 16)]
)
def test_synthetic_qsfp(kind: int, name: str, vendor: int, temperature: int, voltage: int) -> None:
    lower, upper = bytearray(128), bytearray(128)
    lower[0] = kind
    struct.pack_into(">h", lower, temperature, -2 * 256)
    struct.pack_into(">H", lower, voltage, 32950)
    upper[vendor : vendor + 4] = b"ACME"
    told = transceiver.module(lambda i2c, page, offset: bytes(upper if offset else lower))
    assert told == ({"Identifier": name, "Vendor": "ACME"}, {"Temperature": -2.0, "Voltage": 3.29})


def test_a_link_comes_and_goes_but_not_for_a_port_of_a_bridge() -> None:
    def link(type: int, family: int) -> genetlink.LinkEvent | None:
        payload = struct.pack("=BxHiII", family, 1, 7, 0x1043, 0) + netlink.attribute(3, b"eth7\0")
        (frame,) = netlink.frames(framed(type, payload))
        return genetlink.link_event(frame)

    assert link(16, 0) == genetlink.LinkEvent(7, False, 0x1043, b"eth7")
    assert link(17, 0) == genetlink.LinkEvent(7, True, 0x1043, b"eth7")
    assert link(17, 7) is None
    assert link(20, 0) is None


@pytest.mark.parametrize(
    "decode",
    [
        lambda: aspects.answer(PAUSE, message(netlink.attribute(2, b"\1"))),
        lambda: aspects.answer(PAUSE, message(HEADER, netlink.attribute(2, b""))),
        lambda: strings.bits(netlink.attribute(4, b"\0\0\0")),
        lambda: strings.bits(verbose((1 << 30, "x", True))),
        lambda: ioctl.driver_info(bytes(195)),
        lambda: ioctl.link_settings(struct.pack("=II8B", 0, 0, 0, 0, 0, 0, 0, 0, 0, 9) + bytes(40)),
    ],
)
def test_what_does_not_fit_is_refused(decode: Callable[[], Any]) -> None:
    with pytest.raises(netlink.DecodeError):
        decode()


trees = st.recursive(
    st.binary(max_size=24),
    lambda inner: st.lists(st.builds(netlink.attribute, st.integers(0, 12), inner), max_size=5).map(b"".join),
    max_leaves=12,
)
payloads = st.binary(max_size=60) | trees.map(lambda tree: message(HEADER, tree)) | trees.map(message)

DECODERS: list[Callable[[bytes], Any]] = [
    lambda raw: [genetlink.link_event(frame) for frame in netlink.frames(raw)],
    lambda raw: genetlink.link_event(netlink.Frame(16, 0, 0, raw)),
    strings.bits,
    lambda raw: strings.strings(raw, 4),
    *(lambda raw, aspect=aspect: aspects.answer(aspect, raw) for aspect in ASPECTS),
    lambda raw: counters.group_counters(raw, {0: ("a", "b"), 1: ("c",)}),
    lambda raw: counters.nested_counters(raw, 5, "Pause", counters.PAUSE_COUNTERS),
    ioctl.driver_info,
    lambda raw: ioctl.sset_count(raw, 4),
    ioctl.strings,
    ioctl.counters,
    lambda raw: ioctl.feature_attributes(raw, 2),
    ioctl.link_settings,
    ioctl.fec_attributes,
    *(lambda raw, aspect=aspect: ioctl.plain_attributes(aspect, raw) for aspect in ASPECTS),
    lambda raw: transceiver.module(lambda *_: raw),
]


@given(payloads, st.sampled_from(DECODERS))
@settings(max_examples=3000, deadline=None)
def test_no_bytes_raise_anything_else(raw: bytes, decode: Callable[[bytes], Any]) -> None:
    try:
        decode(raw)
    except netlink.DecodeError:
        pass


@given(st.lists(payloads, min_size=len(ASPECTS), max_size=len(ASPECTS)))
@settings(max_examples=300, deadline=None)
def test_whatever_was_decoded_can_be_said(raw: list[bytes]) -> None:
    values = {}
    for aspect, payload in zip(ASPECTS, raw, strict=True):
        try:
            values[aspect.name] = aspects.answer(aspect, payload).values
        except netlink.DecodeError:
            continue
    interface_metadata(Interface(b"x", values), Names(("a", "", "c"), ("m0",)))


@given(st.sets(st.integers(0, 127)), st.sets(st.integers(0, 127)))
def test_sets_of_bits_survive_both_forms(value: set[int], mask: set[int]) -> None:
    number, covered = (sum(1 << bit for bit in bits) for bits in (value & mask, mask))
    names = [f"n{bit}" for bit in range(128)]
    dense = strings.bits(compact(number, covered, words=4))
    told = strings.bits(verbose(*((bit, f"n{bit}", bit in value) for bit in sorted(mask))))
    assert dense.switches(names) == told.switches(()) == {f"n{bit}": bit in value for bit in sorted(mask)}
