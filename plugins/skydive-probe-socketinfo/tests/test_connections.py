"""Whose sockets belong together."""

from __future__ import annotations

from skydive_probe_socketinfo.codec import Socket
from skydive_probe_socketinfo.connections import Conversation, conversations
from skydive_probe_socketinfo.processes import Process

from skycore.plugin import Key

HERE, THERE, ELSEWHERE = Key("host", "h"), Key("netns", "1"), Key("netns", "2")
CLIENT, SERVER, OTHER = (Process(pid, 1, name, "", 0) for pid, name in ((1, "client"), (2, "server"), (3, "other")))
OWNERS = {1: CLIENT, 2: SERVER, 3: OTHER}


def connected(inode: int, local: str, remote: str, protocol: str = "TCP", state: str = "ESTABLISHED") -> Socket:
    (local_address, _, local_port), (remote_address, _, remote_port) = local.rpartition(":"), remote.rpartition(":")
    return Socket(0, protocol, state, local_address, int(local_port), remote_address, int(remote_port), inode)


def test_a_pair_in_one_namespace() -> None:
    sockets = [connected(1, "127.0.0.1:5000", "127.0.0.1:80"), connected(2, "127.0.0.1:80", "127.0.0.1:5000")]
    assert conversations([(HERE, sockets)], OWNERS) == {(CLIENT, SERVER): Conversation({80}, {"TCP"})}


def test_who_listens_is_the_server_whatever_the_ports() -> None:
    sockets = [
        connected(1, "::1:500", "::1:8080"),
        connected(2, "::1:8080", "::1:500"),
        connected(2, "::1:8080", "::1:0", state="LISTEN"),
    ]
    assert conversations([(HERE, sockets)], OWNERS) == {(CLIENT, SERVER): Conversation({8080}, {"TCP"})}


def test_several_conversations_are_one_edge() -> None:
    sockets = [
        connected(1, "10.0.0.1:5000", "10.0.0.1:80"),
        connected(2, "10.0.0.1:80", "10.0.0.1:5000"),
        connected(1, "10.0.0.1:5001", "10.0.0.1:53", "UDP"),
        connected(2, "10.0.0.1:53", "10.0.0.1:5001", "UDP"),
    ]
    assert conversations([(HERE, sockets)], OWNERS) == {(CLIENT, SERVER): Conversation({53, 80}, {"TCP", "UDP"})}


def test_between_namespaces() -> None:
    client, server = connected(1, "10.0.0.1:5000", "10.0.0.2:80"), connected(2, "10.0.0.2:80", "10.0.0.1:5000")
    assert list(conversations([(HERE, [client]), (THERE, [server])], OWNERS)) == [(CLIENT, SERVER)]
    # A third namespace has such a socket too: which of them is meant cannot be known.
    twin = connected(3, "10.0.0.2:80", "10.0.0.1:5000")
    assert conversations([(HERE, [client]), (THERE, [server]), (ELSEWHERE, [twin])], OWNERS) == {}


def test_the_loopback_ends_at_the_namespace() -> None:
    client, server = connected(1, "127.0.0.1:5000", "127.0.0.1:80"), connected(2, "127.0.0.1:80", "127.0.0.1:5000")
    assert conversations([(HERE, [client]), (THERE, [server])], OWNERS) == {}


def test_each_namespace_has_its_own_pair_of_the_same_addresses() -> None:
    here = [connected(1, "10.0.0.1:5000", "10.0.0.2:80"), connected(2, "10.0.0.2:80", "10.0.0.1:5000")]
    there = [connected(3, "10.0.0.1:5000", "10.0.0.2:80")]
    assert list(conversations([(HERE, here), (THERE, there)], OWNERS)) == [(CLIENT, SERVER)]


def test_nobody_is_linked_to_himself_or_to_nobody() -> None:
    alone = [connected(1, "127.0.0.1:5000", "127.0.0.1:80"), connected(1, "127.0.0.1:80", "127.0.0.1:5000")]
    unowned = [connected(1, "127.0.0.1:6000", "127.0.0.1:80"), connected(9, "127.0.0.1:80", "127.0.0.1:6000")]
    # A TCP socket can be connected to itself.
    itself = [connected(2, "127.0.0.1:7000", "127.0.0.1:7000")]
    assert conversations([(HERE, [*alone, *unowned, *itself])], OWNERS) == {}
