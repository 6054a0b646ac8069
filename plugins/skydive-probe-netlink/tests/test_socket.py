"""Sockets, against the kernel."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable

import pytest
import trio
from skydive_probe_netlink import codec
from skydive_probe_netlink.socket import RequestSocket

from skycore.plugin import netlink
from skycore.testing.lab import NamedNetns

MakeNetns = Callable[[], NamedNetns]
Enter = Callable[[NamedNetns], netlink.Enter]
LINKS = [codec.RTNLGRP_LINK]


def bodies(buffers: list[bytes]) -> list[codec.Body | None]:
    return [codec.decode(frame, counters=True) for buffer in buffers for frame in netlink.frames(buffer)]


async def test_a_dump_holds_what_ip_shows(netns: MakeNetns, enter: Enter) -> None:
    here = netns()
    await here.arun("ip", "link", "add", "bridge0", "type", "bridge")
    await here.arun("ip", "link", "set", "lo", "up")
    with RequestSocket(enter(here)) as requests:
        dump = await requests.dump(lambda sequence: codec.link_dump_request(sequence, counters=True))
        addresses = await requests.dump(codec.address_dump_request)
    links = {body.index: body for body in bodies(dump.buffers) if isinstance(body, codec.Link)}
    shown = {link["ifindex"]: link for link in json.loads(await here.arun("ip", "-j", "-s", "link"))}
    assert not dump.interrupted
    assert {index: link.name.decode() for index, link in links.items()} == {
        index: link["ifname"] for index, link in shown.items()
    }
    for index, link in links.items():
        counters = shown[index]["stats64"]
        assert link.counters is not None
        assert link.counters[:4] == tuple(counters[way][what] for what in ("packets", "bytes") for way in ("rx", "tx"))
    found = [body.local for body in bodies(addresses.buffers) if isinstance(body, codec.Address)]
    assert found == [bytes([127, 0, 0, 1]), bytes(15) + b"\1"]


async def test_a_large_dump_comes_whole(netns: MakeNetns, enter: Enter) -> None:
    here = netns()
    batch = "".join(f"link add v{i} type veth peer name w{i}\n" for i in range(60))
    await trio.to_thread.run_sync(lambda: batch_run(here, batch))
    with RequestSocket(enter(here)) as requests:
        dump = await requests.dump(codec.link_dump_request)
    assert len(dump.buffers) > 1
    assert sum(isinstance(body, codec.Link) for body in bodies(dump.buffers)) == 121


def batch_run(netns: NamedNetns, batch: str) -> None:
    descriptor = os.memfd_create("batch")
    try:
        os.write(descriptor, batch.encode())
        netns.run("ip", "-batch", f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


async def test_a_refused_request_says_why(netns: MakeNetns, enter: Enter) -> None:
    def strange(sequence: int) -> bytes:
        # Strict checking refuses a dump with a header field that makes no sense in it.
        body = struct.pack("=BxHiII", 0, 0, 0, 1, 0)
        return struct.pack("=IHHII", 16 + len(body), codec.RTM_GETLINK, 0x301, sequence, 0) + body

    with RequestSocket(enter(netns())) as requests:
        with pytest.raises(netlink.NetlinkError, match=r"[Ii]nvalid values in header") as caught:
            await requests.dump(strange)
        assert caught.value.errno == errno.EINVAL
        assert (await requests.dump(codec.link_dump_request)).buffers


async def test_numbers_of_namespaces(netns: MakeNetns, enter: Enter) -> None:
    here, other, unknown = netns(), netns(), netns()
    await here.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", other.name)
    (shown,) = json.loads(await here.arun("ip", "-j", "link", "show", "v0"))
    descriptors = [os.open(path, os.O_RDONLY) for path in (other.path, unknown.path, "/")]
    with RequestSocket(enter(here)) as requests:
        assert [await requests.nsid(fd) for fd in descriptors] == [shown["link_netnsid"], None, None]
    for fd in descriptors:
        os.close(fd)
