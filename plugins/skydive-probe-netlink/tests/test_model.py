"""What is known of interfaces: partial messages, moves, the kernel's order of addresses."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable
from ipaddress import ip_interface

import pytest
import trio
from skydive_probe_netlink import codec
from skydive_probe_netlink.codec import Address, Link
from skydive_probe_netlink.metadata import cidr
from skydive_probe_netlink.model import Interfaces

from skycore.plugin import netlink
from skycore.testing.lab import LabError, NamedNetns


def link(index: int, name: str = "", **fields: object) -> Link:
    return Link(False, 0, 1, index, 0, name=(name or f"i{index}").encode(), mtu=1500, **fields)  # type: ignore[arg-type]


def gone(index: int, **fields: object) -> Link:
    return Link(True, 0, 1, index, 0, name=b"x", mtu=1500, **fields)  # type: ignore[arg-type]


def address(text: str, index: int = 1, *, gone: bool = False, scope: int = 0, flags: int = 0) -> Address:
    interface = ip_interface(text)
    family = 2 if interface.version == 4 else 10
    packed = interface.ip.packed
    return Address(gone, family, interface.network.prefixlen, flags, scope, index, packed, packed)


def model(*bodies: codec.Body) -> Interfaces:
    interfaces = Interfaces()
    for body in bodies:
        interfaces.apply(body)
    return interfaces


def texts(addresses: Iterable[Address]) -> list[str]:
    return [cidr(address) for address in addresses]


def test_what_came_and_went_leaves_nothing_but_its_index() -> None:
    interfaces = model(link(2), address("10.0.0.1/24", 2), gone(2))
    assert interfaces.links == {}
    assert interfaces.addresses(2) == []
    assert interfaces.take_dirty() == {2}
    assert interfaces.take_dirty() == set()


@pytest.mark.parametrize(
    "partial",
    [
        Link(False, 7, 1, 2, 0, name=b"i2", mtu=1500, master=9),
        Link(False, 0, 1, 2, 0, name=b"i2"),
        Link(True, 7, 1, 2, 0, name=b"i2", mtu=1500),
    ],
    ids=["a bridge of its port", "a wireless event", "a bridge of a port it lost"],
)
def test_messages_about_one_aspect_change_nothing(partial: Link) -> None:
    interfaces = model(link(2))
    interfaces.take_dirty()
    interfaces.apply(partial)
    assert interfaces.links == {2: link(2)}
    assert interfaces.take_dirty() == set()


def test_a_veth_learns_of_its_peer_that_came_later() -> None:
    interfaces = model(link(2, kind="veth"))
    assert interfaces.half_veths() == {2}
    interfaces.apply(link(3, kind="veth", lower=2))
    assert interfaces.links[2].lower == 3
    assert interfaces.half_veths() == set()


def test_a_veth_follows_its_peer_to_another_namespace_and_back() -> None:
    interfaces = model(link(2, kind="veth", lower=3), link(3, kind="veth", lower=2))
    interfaces.take_dirty()
    interfaces.apply(gone(3, new_nsid=5, new_index=12))
    assert (interfaces.links[2].lower, interfaces.links[2].lower_nsid) == (12, 5)
    assert interfaces.take_dirty() == {2, 3}
    interfaces.apply(link(4, kind="veth", lower=2))
    assert (interfaces.links[2].lower, interfaces.links[2].lower_nsid) == (4, None)


def test_an_inventory_replaces_everything() -> None:
    interfaces = model(link(2), link(3), address("10.0.0.1/24", 3))
    interfaces.take_dirty()
    interfaces.replace([link(3, "new"), link(4)], [address("10.0.0.2/24", 4)])
    assert sorted(interfaces.links) == [3, 4]
    assert interfaces.addresses(3) == []
    assert texts(interfaces.addresses(4)) == ["10.0.0.2/24"]
    assert interfaces.take_dirty() == {2, 3, 4}


def test_an_inventory_with_gaps_takes_nothing_back() -> None:
    interfaces = model(link(2), address("10.0.0.1/24", 2), link(3), address("10.0.0.2/24", 3))
    interfaces.replace([link(3, "new")], [address("10.0.0.3/24", 3)], complete=False)
    assert sorted(interfaces.links) == [2, 3]
    assert interfaces.links[3].name == b"new"
    assert texts(interfaces.addresses(2)) == ["10.0.0.1/24"]
    assert texts(interfaces.addresses(3)) == ["10.0.0.3/24"]


def test_a_refresh_does_not_undo_what_was_heard_meanwhile() -> None:
    interfaces = model(link(2, "old"), link(3, "old"))
    since = interfaces.clock
    interfaces.apply(link(3, "heard"))
    interfaces.apply(gone(9))
    interfaces.take_dirty()
    interfaces.refresh([link(2, "read"), link(3, "late"), link(9, "gone")], since)
    assert {index: link.name for index, link in interfaces.links.items()} == {2: b"read", 3: b"heard"}
    assert interfaces.take_dirty() == {2}


def test_a_refresh_begun_before_an_inventory_is_of_no_use() -> None:
    interfaces = model(link(2, "old"))
    since = interfaces.clock
    interfaces.replace([link(2, "new")], [])
    interfaces.refresh([link(2, "late")], since)
    assert interfaces.links[2].name == b"new"


def test_addresses_keep_their_place_when_they_change() -> None:
    one, two = address("10.0.0.1/24"), address("10.0.1.1/24")
    interfaces = model(one, two, address("fe80::1/64"), address("10.0.0.1/24", flags=0x80))
    assert texts(interfaces.addresses(1)) == ["10.0.0.1/24", "10.0.1.1/24", "fe80::1/64"]
    interfaces.apply(address("10.0.0.1/24", gone=True))
    interfaces.apply(address("10.9.9.9/24", gone=True))
    assert texts(interfaces.addresses(1)) == ["10.0.1.1/24", "fe80::1/64"]


def steps(dice: random.Random) -> list[str]:
    """Random changes of the addresses of one interface, as words for ``ip address``."""
    lines = []
    for _ in range(40):
        if dice.random() < 0.5:
            text = f"10.0.{dice.randrange(3)}.{dice.randrange(1, 5)}/{dice.choice([24, 24, 16])}"
            scope = dice.choice(["global", "global", "link", "host"])
            peer = "" if dice.random() < 0.9 else f"peer 10.1.0.{dice.randrange(1, 4)}/32"
            text = text.split("/", maxsplit=1)[0] if peer else text
        else:
            text, peer = f"fd00::{dice.randrange(1, 5):x}/64", "nodad"
            scope = "global"
            if dice.random() < 0.3:
                text, scope = f"fe80::{dice.randrange(1, 5):x}/64", "link"
        if dice.random() < 0.65:
            lines.append(f"address add {text} {peer} dev i0 scope {scope}")
        else:
            lines.append(f"address del {text} {peer.replace('nodad', '')} dev i0")
    return lines


@pytest.mark.parametrize("promote", ["0", "1"])
@pytest.mark.parametrize("seed", range(3))
async def test_addresses_stand_in_the_kernels_order(
    netns: Callable[[], NamedNetns], enter: Callable[[NamedNetns], netlink.Enter], seed: int, promote: str
) -> None:
    here = netns()
    await here.arun("ip", "link", "add", "i0", "type", "ifb")
    await here.arun("ip", "link", "set", "i0", "up")
    await here.arun("sysctl", "-q", f"net.ipv4.conf.i0.promote_secondaries={promote}")
    interfaces = Interfaces()
    groups = [codec.RTNLGRP_LINK, codec.RTNLGRP_IPV4_IFADDR, codec.RTNLGRP_IPV6_IFADDR]
    # What is there already, such as the link-local address, is set aside: only what is heard is known.
    await here.arun("ip", "address", "flush", "dev", "i0")
    with netlink.EventSocket(enter(here), netlink.NETLINK_ROUTE, groups) as events:
        descriptor = os.memfd_create("batch")
        os.write(descriptor, "\n".join(steps(random.Random(seed))).encode())
        try:
            await here.arun("ip", "-force", "-batch", f"/proc/{os.getpid()}/fd/{descriptor}")
        except LabError:
            # Some of the changes are impossible (twice the same address); -force goes on with the next.
            pass
        finally:
            os.close(descriptor)
        (shown,) = json.loads(await here.arun("ip", "-j", "address", "show", "i0"))
        expected = [f"{entry['local']}/{entry['prefixlen']}" for entry in shown["addr_info"]]
        assert len(expected) > 3
        # The kernel announces IPv6 addresses a little later, from its work queue.
        with trio.move_on_after(5):
            while texts(interfaces.addresses(shown["ifindex"])) != expected:
                await events.wait()
                heard = events.read()
                assert not heard.lost
                for buffer in heard.buffers:
                    for frame in netlink.frames(buffer):
                        body = codec.decode(frame)
                        assert body is not None
                        interfaces.apply(body)
    assert texts(interfaces.addresses(shown["ifindex"])) == expected
