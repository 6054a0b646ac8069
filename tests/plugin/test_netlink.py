"""Netlink sockets of plugins: what they read, against the kernel and against garbage."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from skycore.plugin import namespaces, netlink
from skycore.testing.lab import NamedNetns

pytestmark = pytest.mark.needs("root", "ip", "nsenter")
MakeNetns = Callable[[], NamedNetns]

# linux/rtnetlink.h
RTM_NEWLINK, RTM_GETLINK = 16, 18
LINK_GROUP = 1
NO_GROUP = 900


def enter(netns: NamedNetns) -> netlink.Enter:
    return partial(namespaces.inside, netns.path)


def links(sequence: int) -> bytes:
    return netlink.request(RTM_GETLINK, netlink.NLM_F_DUMP, sequence, struct.pack("=BxHiII", 0, 0, 0, 0, 0))


def one_link(index: int, sequence: int) -> bytes:
    return netlink.request(RTM_GETLINK, 0, sequence, struct.pack("=BxHiII", 0, 0, index, 0, 0))


def types(buffers: list[bytes]) -> list[int]:
    return [frame.type for buffer in buffers for frame in netlink.frames(buffer)]


def batch(netns: NamedNetns, text: str) -> None:
    descriptor = os.memfd_create("batch")
    try:
        os.write(descriptor, text.encode())
        netns.run("ip", "-batch", f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def message(type: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), type, flags, 7, 42) + payload + bytes(-len(payload) % 4)


def attribute(type: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), type) + value + bytes(-len(value) % 4)


def test_a_dump_of_several_buffers_comes_whole(netns: MakeNetns) -> None:
    here = netns()
    batch(here, "".join(f"link add v{i} type veth peer name w{i}\n" for i in range(60)))
    with netlink.RequestSocket(enter(here), netlink.NETLINK_ROUTE) as requests:
        dump = requests.ask(links)
        assert len(dump.buffers) > 1
        assert not dump.interrupted
        assert types(dump.buffers) == [RTM_NEWLINK] * 121 + [netlink.NLMSG_DONE]
        # The next question is not answered by what an earlier one left.
        assert requests.answer(partial(one_link, 1)).type == RTM_NEWLINK


def test_a_refusal_says_why(netns: MakeNetns) -> None:
    def strange(sequence: int) -> bytes:
        # Strict checking refuses a dump with a header field that makes no sense in it.
        return netlink.request(RTM_GETLINK, netlink.NLM_F_DUMP, sequence, struct.pack("=BxHiII", 0, 0, 0, 1, 0))

    with netlink.RequestSocket(enter(netns()), netlink.NETLINK_ROUTE) as requests:
        with pytest.raises(netlink.NetlinkError, match=r"[Ii]nvalid values in header") as caught:
            requests.ask(strange)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(netlink.NetlinkError, match="No such device") as caught:
            requests.answer(partial(one_link, 99))
        assert caught.value.errno == errno.ENODEV
        assert requests.ask(links).buffers


async def test_changes_are_heard_from_the_start(netns: MakeNetns) -> None:
    here = netns()
    with netlink.EventSocket(enter(here), netlink.NETLINK_ROUTE, [NO_GROUP, LINK_GROUP]) as events:
        assert events.read() == netlink.Events([], False)
        await here.arun("ip", "link", "add", "b0", "type", "bridge")
        with trio.fail_after(5):
            await events.wait()
        heard = events.read()
    assert set(types(heard.buffers)) == {RTM_NEWLINK}
    assert not heard.lost


async def test_a_loss_is_told_and_ends(netns: MakeNetns) -> None:
    here = netns()
    with netlink.EventSocket(enter(here), netlink.NETLINK_ROUTE, [LINK_GROUP], 1024) as events:
        await trio.to_thread.run_sync(batch, here, "".join(f"link set lo mtu {2000 + i}\n" for i in range(50)))
        assert events.read().lost
        await here.arun("ip", "link", "set", "lo", "mtu", "3000")
        heard = events.read()
        assert types(heard.buffers) == [RTM_NEWLINK]
        assert not heard.lost


async def test_only_the_kernel_is_believed(netns: MakeNetns) -> None:
    here = netns()
    with netlink.EventSocket(enter(here), netlink.NETLINK_ROUTE, [LINK_GROUP]) as events:
        port = events._socket.getsockname()[0]
        with enter(here)(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)) as forger:
            forger.sendto(links(1), (port, 0))
        with trio.fail_after(5):
            await events.wait()
        assert events.read().buffers == []


def test_ends_and_errors() -> None:
    header = struct.pack("=IHHII", 16, RTM_GETLINK, 1, 7, 42)
    text = attribute(netlink.NLMSGERR_ATTR_MSG, b"no such thing\0")
    flags = netlink.NLM_F_ACK_TLVS | netlink.NLM_F_CAPPED
    buffer = message(netlink.NLMSG_DONE, b"")
    buffer += message(netlink.NLMSG_DONE, struct.pack("=i", -errno.EBUSY))
    buffer += message(netlink.NLMSG_DONE, struct.pack("=i", -errno.EINVAL) + text, netlink.NLM_F_ACK_TLVS)
    buffer += message(netlink.NLMSG_ERROR, struct.pack("=i", -errno.ENODEV) + header + text, flags)
    buffer += message(netlink.NLMSG_ERROR, struct.pack("=i", 0) + header)
    assert [netlink.verdict(frame) for frame in netlink.frames(buffer)] == [
        (0, ""),
        (errno.EBUSY, ""),
        (errno.EINVAL, "no such thing"),
        (errno.ENODEV, "no such thing"),
        (0, ""),
    ]


@given(
    st.binary(max_size=80)
    | st.builds(message, st.sampled_from([2, 3]), st.binary(max_size=60), st.sampled_from([0, 0x200, 0x300]))
)
def test_no_bytes_raise_anything_but_decode_errors(buffer: bytes) -> None:
    try:
        found = list(netlink.frames(buffer))
    except netlink.DecodeError:
        return
    for frame in found:
        try:
            code, text = netlink.verdict(frame)
        except netlink.DecodeError:
            continue
        assert isinstance(code, int)
        assert isinstance(text, str)
