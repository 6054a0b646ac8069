"""Bytes to messages: against pyroute2's encoder, against the kernel, and against garbage."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
from skydive_probe_netlink import codec, linkdata
from skydive_probe_netlink.codec import Address, Link, NamespaceId, Overrun

from skycore.plugin import netlink

TYPES = [
    netlink.NLMSG_NOOP,
    netlink.NLMSG_ERROR,
    netlink.NLMSG_DONE,
    netlink.NLMSG_OVERRUN,
    codec.RTM_NEWLINK,
    codec.RTM_DELLINK,
    codec.RTM_NEWADDR,
    codec.RTM_DELADDR,
    codec.RTM_NEWNSID,
    codec.RTM_DELNSID,
    999,
]


def message(type: int, payload: bytes, flags: int = 0, sequence: int = 7) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), type, flags, sequence, 42) + payload + bytes(-len(payload) % 4)


def attribute(type: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), type) + value + bytes(-len(value) % 4)


def encoded(kind: type[nlmsg], type: int, **fields: Any) -> bytes:
    """A message as pyroute2 writes it."""
    made = kind()
    attrs = fields.pop("attrs", [])
    made["header"]["type"] = type
    for name, value in fields.items():
        made[name] = value
    made["attrs"] = attrs
    made.encode()
    return bytes(made.data)


def decoded(buffer: bytes, **options: bool) -> list[codec.Body | None]:
    return [codec.decode(frame, **options) for frame in netlink.frames(buffer)]


def test_a_link_as_pyroute2_writes_it() -> None:
    buffer = encoded(
        ifinfmsg,
        codec.RTM_NEWLINK,
        family=0,
        ifi_type=1,
        index=5,
        flags=0x1043,
        attrs=[
            ("IFLA_IFNAME", "veth0"),
            ("IFLA_ADDRESS", "02:00:00:00:00:01"),
            ("IFLA_MTU", 1400),
            ("IFLA_LINK", 9),
            ("IFLA_LINK_NETNSID", 3),
            ("IFLA_MASTER", 2),
            ("IFLA_OPERSTATE", "UP"),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth")]}),
        ],
    )
    assert decoded(buffer) == [
        Link(
            gone=False,
            family=0,
            arphrd=1,
            index=5,
            flags=0x1043,
            name=b"veth0",
            address=bytes.fromhex("020000000001"),
            mtu=1400,
            lower=9,
            lower_nsid=3,
            master=2,
            operstate=6,
            kind="veth",
        )
    ]


def test_an_address_with_a_peer_is_the_local_one() -> None:
    attrs = [("IFA_ADDRESS", "10.0.0.2"), ("IFA_LOCAL", "10.0.0.1"), ("IFA_FLAGS", 0x280)]
    buffer = encoded(ifaddrmsg, codec.RTM_DELADDR, family=2, prefixlen=32, flags=0x80, scope=253, index=4, attrs=attrs)
    local, peer = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    assert decoded(buffer) == [Address(True, 2, 32, 0x280, 253, 4, local, peer)]


def test_namespace_numbers() -> None:
    buffer = encoded(nsidmsg, codec.RTM_NEWNSID, attrs=[("NETNSA_NSID", 3)])
    buffer += encoded(nsidmsg, codec.RTM_DELNSID, attrs=[("NETNSA_NSID", 0)])
    buffer += message(codec.RTM_NEWNSID, bytes(4) + attribute(codec.NETNSA_NSID, struct.pack("=i", -1)))
    assert decoded(buffer) == [NamespaceId(False, 3), NamespaceId(True, 0), NamespaceId(False, None)]


def test_overruns_and_what_is_no_content() -> None:
    buffer = message(netlink.NLMSG_OVERRUN, b"") + message(netlink.NLMSG_NOOP, b"")
    buffer += message(netlink.NLMSG_DONE, bytes(4))
    assert decoded(buffer) == [Overrun(), None, None]


def test_counters_are_read_when_asked_for() -> None:
    values = tuple(range(100, 125))
    payload = struct.pack("=BxHiII", 0, 1, 5, 0, 0) + attribute(codec.IFLA_STATS64, struct.pack("=25Q", *values))
    (without,) = decoded(message(codec.RTM_NEWLINK, payload))
    (with_them,) = decoded(message(codec.RTM_NEWLINK, payload), counters=True)
    assert isinstance(without, Link)
    assert isinstance(with_them, Link)
    assert without.counters is None
    assert with_them.counters == values[: codec.COUNTERS]


def test_any_bytes_are_an_interface_name() -> None:
    payload = struct.pack("=BxHiII", 0, 1, 5, 0, 0) + attribute(codec.IFLA_IFNAME, b"\xff\xfe\0rest")
    (link,) = decoded(message(codec.RTM_NEWLINK, payload))
    assert isinstance(link, Link)
    assert link.name == b"\xff\xfe"


@pytest.mark.parametrize(
    "buffer",
    [
        b"\0",
        struct.pack("=IHHII", 15, 16, 0, 0, 0),
        struct.pack("=IHHII", 17, 16, 0, 0, 0),
        message(codec.RTM_NEWLINK, bytes(15)),
        message(codec.RTM_NEWLINK, bytes(16) + struct.pack("=HH", 3, 1)),
        message(codec.RTM_NEWLINK, bytes(16) + struct.pack("=HH", 5, 1)),
        message(codec.RTM_NEWLINK, bytes(16) + attribute(codec.IFLA_MTU, b"\1\2")),
        message(codec.RTM_NEWLINK, bytes(16) + attribute(codec.IFLA_LINKINFO, b"\1\0\1\0")),
        message(codec.RTM_NEWADDR, struct.pack("=BBBBI", 2, 33, 0, 0, 1) + attribute(codec.IFA_LOCAL, bytes(4))),
        message(codec.RTM_NEWADDR, struct.pack("=BBBBI", 10, 64, 0, 0, 1) + attribute(codec.IFA_ADDRESS, bytes(4))),
    ],
)
def test_what_does_not_fit_is_refused(buffer: bytes) -> None:
    with pytest.raises(netlink.DecodeError):
        decoded(buffer)


attributes = st.lists(
    st.builds(attribute, st.integers(0, 64) | st.just(codec.IFLA_LINKINFO), st.binary(max_size=40)), max_size=6
).map(b"".join)
payloads = st.binary(max_size=80) | st.builds(
    lambda head, rest: head + rest, st.binary(min_size=16, max_size=16), attributes
)
buffers = st.binary(max_size=200) | st.lists(
    st.builds(message, st.sampled_from(TYPES), payloads, st.integers(0, 0xFFFF)), max_size=4
).map(b"".join)


@given(buffers, st.booleans())
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_bytes_raise_anything_else(buffer: bytes, counters: bool) -> None:
    frames: list[netlink.Frame] = []
    try:
        frames.extend(netlink.frames(buffer))
    except netlink.DecodeError:
        pass
    for frame in frames:
        try:
            codec.decode(frame, counters=counters)
        except netlink.DecodeError:
            continue


@given(
    st.builds(
        Link,
        gone=st.booleans(),
        family=st.integers(0, 255),
        arphrd=st.integers(0, 0xFFFF),
        index=st.integers(0, 2**31 - 1),
        flags=st.integers(0, 2**32 - 1),
        name=st.binary(min_size=1, max_size=15).map(lambda raw: raw.replace(b"\0", b"x")),
        address=st.binary(min_size=1, max_size=20),
        mtu=st.integers(0, 2**32 - 1),
        lower=st.integers(0, 2**31 - 1),
        lower_nsid=st.integers(0, 2**31 - 1),
        master=st.integers(0, 2**31 - 1),
        operstate=st.integers(0, 255),
        kind=st.sampled_from(["veth", "bridge", "tun"]),
    )
)
def test_what_is_written_is_read(link: Link) -> None:
    assert link.mtu is not None
    assert link.lower_nsid is not None
    info = attribute(linkdata.IFLA_INFO_KIND, link.kind.encode() + b"\0")
    payload = b"".join(
        [
            struct.pack("=BxHiII", link.family, link.arphrd, link.index, link.flags, 0),
            attribute(codec.IFLA_LINKINFO | 0x8000, info),
            attribute(codec.IFLA_IFNAME, link.name + b"\0"),
            attribute(codec.IFLA_ADDRESS, link.address),
            attribute(codec.IFLA_MTU, struct.pack("=I", link.mtu)),
            attribute(codec.IFLA_LINK, struct.pack("=I", link.lower)),
            attribute(codec.IFLA_LINK_NETNSID, struct.pack("=i", link.lower_nsid)),
            attribute(codec.IFLA_MASTER, struct.pack("=I", link.master)),
            attribute(codec.IFLA_OPERSTATE, bytes([link.operstate])),
            attribute(200, b"unknown"),
        ]
    )
    type = codec.RTM_DELLINK if link.gone else codec.RTM_NEWLINK
    assert decoded(message(type, payload)) == [link]


def test_requests_as_pyroute2_reads_them() -> None:
    (frame,) = netlink.frames(codec.link_dump_request(5))
    assert (frame.type, frame.flags, frame.sequence) == (codec.RTM_GETLINK, 0x301, 5)
    request = ifinfmsg(codec.link_dump_request(5))
    request.decode()
    assert request.get_attr("IFLA_EXT_MASK") == codec.RTEXT_FILTER_SKIP_STATS
    number = nsidmsg(codec.nsid_request(6, 11))
    number.decode()
    assert number.get_attr("NETNSA_FD") == 11
