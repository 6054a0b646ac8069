"""inet_diag messages: what the kernel sends, what it might, and whatever else."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_socketinfo import codec
from skydive_probe_socketinfo.codec import Cookie, Sighting
from skydive_probe_socketinfo.diag import ListSocket

from skycore.plugin import netlink

ports = st.integers(0, 0xFFFF)
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6).filter(lambda address: not address.packed.startswith(bytes(10) + b"\xff\xff"))


def message(kind: int, sequence: int, body: bytes) -> bytes:
    whole = struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body
    return whole + bytes(-len(whole) % 4)


@st.composite
def sockets(draw: st.DrawFn) -> tuple[int, int, int, int, bytes, bytes, int, int]:
    """(family, state, local port, remote port, local address, remote address, cookie, inode)"""
    family, address = draw(st.sampled_from([(socket.AF_INET, v4), (socket.AF_INET6, v6)]))
    return (
        family,
        draw(st.integers(0, 255)),
        draw(ports),
        draw(ports),
        draw(address).packed,
        draw(address).packed,
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 2**32 - 1)),
    )


def encoded(one: tuple[int, int, int, int, bytes, bytes, int, int], attributes: bytes = b"") -> bytes:
    family, state, sport, dport, source, destination, cookie, inode = one
    id = struct.pack("!HH16s16s4x", sport, dport, source, destination)
    id += struct.pack("=II", cookie & 0xFFFFFFFF, cookie >> 32)
    return struct.pack("=BBxx", family, state) + id + struct.pack("=16xI", inode) + attributes


@given(st.lists(st.tuples(sockets(), st.binary(max_size=40)), unique_by=lambda pair: pair[0][6]))
def test_every_field_is_read(cases: list[tuple[tuple[int, int, int, int, bytes, bytes, int, int], bytes]]) -> None:
    buffer = b"".join(message(codec.SOCK_DIAG_BY_FAMILY, 7, encoded(one, attributes)) for one, attributes in cases)
    found: dict[Cookie, Sighting] = {}
    codec.collect(buffer, found)
    decoded = {item.age: item for item in (codec.decode("TCP", sighting) for sighting in found.values())}
    assert len(decoded) == len(cases)
    for (family, state, sport, dport, source, destination, cookie, inode), _ in cases:
        item = decoded[cookie]
        assert (item.local_port, item.remote_port, item.inode) == (sport, dport, inode)
        assert socket.inet_pton(family, item.local_address) == source
        assert socket.inet_pton(family, item.remote_address) == destination
        assert item.state == codec.STATES.get(state, "UNKNOWN")


def test_mapped_addresses_are_ipv4() -> None:
    mapped = bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
    found: dict[Cookie, Sighting] = {}
    body = encoded((socket.AF_INET6, 1, 80, 4000, mapped, mapped, 1, 9))
    codec.collect(message(codec.SOCK_DIAG_BY_FAMILY, 1, body), found)
    (sighting,) = found.values()
    assert codec.decode("TCP", sighting).remote_address == "127.0.0.1"


def test_each_state_has_its_name() -> None:
    # net/tcp_states.h; the reference calls 7 TIME_WAIT.
    assert codec.STATES[6] == "TIME_WAIT"
    assert codec.STATES[7] == "CLOSE"
    assert codec.STATES[10] == "LISTEN"


def test_what_is_no_socket_is_passed_over() -> None:
    found: dict[Cookie, Sighting] = {}
    codec.collect(message(netlink.NLMSG_DONE, 3, struct.pack("=i", 0)), found)
    assert found == {}


def attempt(buffer: bytes) -> None:
    found: dict[Cookie, Sighting] = {}
    with contextlib.suppress(netlink.DecodeError):
        codec.collect(buffer, found)
    for sighting in found.values():
        with contextlib.suppress(netlink.DecodeError):
            codec.decode("UDP", sighting)


@given(st.binary(max_size=400))
def test_any_bytes(buffer: bytes) -> None:
    attempt(buffer)


@given(st.data(), st.lists(sockets(), min_size=1, max_size=3))
def test_damaged_messages(data: st.DataObject, cases: list[tuple[int, int, int, int, bytes, bytes, int, int]]) -> None:
    whole = bytearray(b"".join(message(codec.SOCK_DIAG_BY_FAMILY, 0, encoded(one)) for one in cases))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    attempt(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


@pytest.mark.parametrize("size", range(1, 88))
def test_cut_off_messages_are_noticed(size: int) -> None:
    whole = message(codec.SOCK_DIAG_BY_FAMILY, 1, encoded((socket.AF_INET, 1, 1, 2, bytes(4), bytes(4), 5, 6)))
    with pytest.raises(netlink.DecodeError):
        codec.collect(whole[:size], {})
    if size >= 16:
        short = struct.pack("=I", size) + whole[4:size]
        with pytest.raises(netlink.DecodeError):
            codec.collect(short, {})


def test_an_unknown_family_is_refused() -> None:
    found: dict[Cookie, Sighting] = {}
    body = encoded((1, 1, 1, 2, bytes(4), bytes(4), 5, 6))
    codec.collect(message(codec.SOCK_DIAG_BY_FAMILY, 1, body), found)
    (sighting,) = found.values()
    with pytest.raises(netlink.DecodeError, match="family 1"):
        codec.decode("TCP", sighting)


def test_the_kernel_refuses_what_it_cannot_list() -> None:
    lists = ListSocket(lambda call: call())
    try:
        assert isinstance(lists.dump(socket.IPPROTO_TCP), dict)
        with pytest.raises(netlink.NetlinkError, match="No such file"):
            lists.dump(255)
        assert isinstance(lists.dump(socket.IPPROTO_UDP), dict)
    finally:
        lists.close()
