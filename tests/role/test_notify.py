"""What systemd is told, received as systemd receives it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from skycore.role.notify import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """NOTIFY_SOCKET, and the socket that it names."""
    name = f"@skycore-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        receiver.settimeout(5)
        yield name, receiver


def test_what_is_told_arrives_as_one_datagram(manager: tuple[str, socket.socket]) -> None:
    name, receiver = manager
    ServiceManager({"NOTIFY_SOCKET": name}).tell("READY=1", "STATUS=Running")
    assert receiver.recv(4096) == b"READY=1\nSTATUS=Running"


async def test_the_watchdog_is_fed_twice_in_its_time(
    manager: tuple[str, socket.socket], autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    name, receiver = manager
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
    nursery.start_soon(ServiceManager(environ).watched)
    await trio.sleep(21)
    receiver.setblocking(False)
    assert [receiver.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
    with pytest.raises(BlockingIOError):
        receiver.recv(100)


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
)
async def test_without_a_watchdog_nothing_is_repeated(
    environ: dict[str, str], manager: tuple[str, socket.socket], autojump_clock: trio.testing.MockClock
) -> None:
    name, receiver = manager
    with trio.move_on_after(100_000):
        await ServiceManager({**environ, "NOTIFY_SOCKET": name}).watched()
    receiver.setblocking(False)
    assert receiver.recv(100) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        receiver.recv(100)


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    ServiceManager({}).tell("READY=1")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "absent")}).tell("READY=1")
