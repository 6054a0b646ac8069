"""Clients that stop, never read, flood, or send nonsense: bounded, and without harm to the others."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from skycore.server.fanout import LONGEST_TICK
from skycore.server.websocket import KeepAlive
from tests.server.conftest import Client
from tests.server.test_websocket import masked
from tests.server.watching import World, until, watch, world

Log = list[dict[str, Any]]
HANDSHAKE = (
    "GET {path}x-client-type=test&x-host-id={name} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def raw(here: World, name: str, path: str = "/ws/subscriber?", receive_buffer: int = 0) -> Client:
    """A connection by hand, upgraded; with a small buffer in the kernel if asked for."""
    sock = trio.socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await sock.connect(("127.0.0.1", here.port))
    client = Client(trio.SocketStream(sock))
    head = await client.upgrade(HANDSHAKE.format(path=path, name=name).encode())
    assert head.startswith("HTTP/1.1 101")
    return client


async def changes_reach(here: World, watcher: Any, count: int, **metadata: Any) -> float:
    """Make changes one by one; the longest that one took to arrive, in seconds."""
    longest = 0.0
    for number in range(count):
        began = time.perf_counter()
        here.node("changing", Number=number, **metadata)
        while (await watcher.receive())["Obj"]["Metadata"].get("Number") != number:
            pass
        longest = max(longest, time.perf_counter() - began)
    return longest


def memory() -> int:
    """Bytes that this process holds at present."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def test_clients_that_never_read_are_bounded_and_given_up() -> None:
    """20 of them, while 50 MB of changes are made, which would be 1 GB for all; each is closed in the end."""
    async with world(send_timeout=2.0) as here, watch(here) as good:
        stuck = [await raw(here, f"stuck{number}", receive_buffer=4096) for number in range(20)]
        await until(lambda: len(here.hub.subscribers) == 21)
        filler = os.urandom(5000).hex()
        before = 0
        for number in range(25):
            for node in range(200):
                here.node(f"n{node}", Number=number, Filler=filler[: 10_000 - node])
            while (await good.receive())["Obj"]["Metadata"] != here.graph.nodes["n199"].metadata():
                pass
            # After the first round the graph, and what the good client has drawn, are as large as they get.
            before = before or memory()
        assert memory() - before < 25 << 20
        await until(lambda: len(here.hub.subscribers) == 1)
        for client in stuck:
            await client.stream.aclose()


@contextmanager
def stopped_reader(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a subscription, stopped as soon as it has one."""
    program = f"""if True:
        import socket, sys
        s = socket.create_connection(("127.0.0.1", {port}))
        s.sendall({HANDSHAKE.format(path="/ws/subscriber?", name="stopped").encode()!r})
        print(s.recv(12).decode(), flush=True)
        total = 0
        while data := s.recv(1 << 16): total += len(data)
    """
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.send_signal(signal.SIGCONT)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_a_stopped_subscriber_delays_nobody_and_is_given_up() -> None:
    async with world(keep_alive=KeepAlive(0.2, 0.8), send_timeout=1.0) as here, watch(here) as good:
        with stopped_reader(here.port) as process:
            assert process.stdout is not None
            assert await trio.to_thread.run_sync(process.stdout.read, 12) == b"HTTP/1.1 101"
            process.send_signal(signal.SIGSTOP)
            longest = await changes_reach(here, good, 200, Filler="x" * 20_000)
            assert longest < 1.0
            # Half-open: the peer is there for TCP, but silent.
            await until(lambda: "stopped" not in here.hub.subscribers)


async def test_a_slow_reader_gets_the_end_of_it_all() -> None:
    async with world() as here:
        client = await raw(here, "slow", receive_buffer=4096)
        for number in range(3000):
            here.node(f"n{number % 30}", Number=number, Filler="x" * 10_000)
            if number % 100 == 0:
                await trio.sleep(0.001)
        newest: dict[str, int] = {}
        messages = 0
        while len(newest) < 30 or min(newest.values()) < 2970:
            first, payload = await client.frame()
            if first == 0x81:
                obj = json.loads(payload)["Obj"]
                newest[obj["ID"]] = obj["Metadata"]["Number"]
                messages += 1
        assert messages < 3000
        assert here.hub.subscribers["slow"].coalesced > 0
        await client.stream.aclose()


@pytest.mark.parametrize("flood", ["messages", "tiny frames", "pings", "states", "publishing"])
async def test_a_flooding_client_does_not_delay_the_others(flood: str) -> None:
    message = json.dumps({"Namespace": "Graph", "Type": "Nothing", "UUID": "u"}).encode()
    state = json.dumps({"Namespace": "Graph", "Type": "SyncRequest", "UUID": "u"}).encode()
    node = {"ID": "f", "Metadata": {"Name": "f", "Type": "device"}}
    publishing = json.dumps({"Namespace": "Graph", "Type": "NodeAdded", "UUID": "u", "Obj": node}).encode()
    data = {
        "messages": masked(0x81, message) * 500,
        "tiny frames": masked(0x01, b"x") + masked(0x00, b"x") * 5000,
        "pings": masked(0x89, b"ping") * 500,
        "states": masked(0x81, state) * 500,
        "publishing": masked(0x81, publishing) * 500,
    }[flood]
    path = "/ws/publisher?" if flood == "publishing" else "/ws/subscriber?"
    async with world(message_size=1 << 20) as here, watch(here) as good, trio.open_nursery() as nursery:
        for number in range(500):
            here.node(f"n{number}", Filler="x" * 1000)
        client = await raw(here, "flood", path)

        async def pour() -> None:
            while True:
                try:
                    await client.send(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        async def swallow() -> None:
            while True:
                try:
                    if not await client.stream.receive_some(1 << 20):
                        return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        nursery.start_soon(pour)
        nursery.start_soon(swallow)
        await good.until(lambda: "n499" in good.elements)
        # The flood, the server and the good client share one process and one core here.
        assert await changes_reach(here, good, 50) < 2.0 + LONGEST_TICK
        nursery.cancel_scope.cancel()


async def test_a_thousand_subscribers_all_hear_and_all_go() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    async with world(keep_alive=KeepAlive(60, 60)) as here:
        clients = [await raw(here, f"c{number}") for number in range(1000)]
        await until(lambda: len(here.hub.subscribers) == 1000)
        for client in clients:
            # The first ping says that a client will hear of everything from now on.
            assert await client.frame() == (0x89, b"")
        here.node("news")
        for client in clients:
            _, payload = await client.frame()
            assert json.loads(payload)["Obj"]["ID"] == "news"
        for client in clients:
            await client.stream.aclose()
        await until(lambda: not here.hub.subscribers)
        await until(lambda: not here.acceptor.connections)


async def test_malformed_oversized_and_half_sent_frames(logged: Log) -> None:
    """Random damage to good conversations: nothing is logged as our fault, and others go on."""
    dice = random.Random(7)
    good_bytes = b"".join(
        masked(dice.choice((0x81, 0x82, 0x01, 0x80, 0x89, 0x88)), json.dumps(
            {"Namespace": "Graph", "Type": type, "UUID": "u", "Obj": {"ID": "x", "Ops": [{"Type": 1, "Key": "a"}]}}
        ).encode()[:120])
        for type in ("SyncRequest", "NodeAdded", "NodePartiallyUpdated", "Sync")
    )  # fmt: skip
    async with world(message_size=1 << 16) as here, watch(here) as good:
        for number in range(150):
            data = bytearray(good_bytes)
            for _ in range(dice.randrange(0, 20)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            del data[dice.randrange(len(data)) :]
            if number % 10 == 0:
                data = bytearray(struct.pack("!BBQ", 0x82, 0xFF, 1 << 40)) + os.urandom(100_000)
            client = await raw(here, f"bad{number}", dice.choice(("/ws/publisher?", "/ws/pubsub?")))
            try:
                await client.send(bytes(data))
            except trio.BrokenResourceError:
                pass
            await client.stream.aclose()
        await until(lambda: not here.hub.publishers and not here.hub.both)
        assert await changes_reach(here, good, 5) < 1.0
    assert logged == []
