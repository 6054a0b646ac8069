"""Flows as they are stored: on WebSockets, and as `skycore flows` shows them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket

from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from tests.system.processes import SKYCORE, Process, until
from tests.system.test_captures import create, delete, send, states
from tests.system.test_flow_sources import allinone, host

pytestmark = pytest.mark.needs("root", "ip", "nsenter")
__all__ = ["allinone", "host"]  # fixtures

Messages = list[dict[str, Any]]


def listening(host: FakeHost, path: str, *namespaces: str) -> tuple[Messages, Callable[[], None]]:
    """What comes over a WebSocket from now on, and how to end it."""
    import threading  # noqa: PLC0415

    messages: Messages = []
    ready, over = threading.Event(), threading.Event()

    async def read() -> None:
        headers = [(b"X-Client-Type", b"test"), *((b"X-Websocket-Namespace", one.encode()) for one in namespaces)]
        async with trio_websocket.open_websocket("127.0.0.1", 8082, path, use_ssl=False, extra_headers=headers) as one:
            ready.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(until_over, nursery.cancel_scope)
                while True:
                    messages.append(json.loads(await one.get_message()))

    async def until_over(scope: trio.CancelScope) -> None:
        while not over.is_set():  # noqa: ASYNC110 - set by another thread
            await trio.sleep(0.02)
        scope.cancel()

    thread = threading.Thread(target=lambda: inside(host.netns_path, lambda: trio.run(read)))
    thread.start()
    assert ready.wait(10)

    def end() -> None:
        over.set()
        thread.join(10)
        assert not thread.is_alive()

    return messages, end


def test_flows_statistics_and_notices_reach_who_listens(host: FakeHost, allinone: Process) -> None:
    stored, end_stored = listening(host, "/ws/subscriber/flow")
    notices, end_notices = listening(host, "/ws/subscriber", "OnDemandCaptureNotification")
    first = create(allinone, "G.V().Has('Name', 'vb')", BPFFilter="udp port 7777")
    second = create(allinone, "G.V().Has('Name', 'vb')", BPFFilter="udp port 7778")
    until(lambda: states(allinone, "vb") == ["active"] * 2, why=allinone.log)
    one, end_one = listening(host, "/ws/subscriber/flow", f"flow/{second['UUID']}")
    send(host, 7777, 3)
    send(host, 7778, 2)

    def told(messages: Messages, type: str) -> list[Any]:
        return [message["Obj"] for message in messages if message["Type"] == type]

    until(
        lambda: (
            {flow["CaptureID"] for flows in told(stored, "store") for flow in flows} == {first["UUID"], second["UUID"]}
        )
    )
    until(lambda: told(one, "store"))
    assert {message["Namespace"] for message in one} == {f"flow/{second['UUID']}"}
    assert {flow["Metric"]["ABPackets"] for flows in told(one, "store") for flow in flows} == {2}
    until(
        lambda: (
            {
                stats["CaptureID"]: stats["PacketsReceived"]
                for stats in told(stored, "stats")
                if stats["PacketsReceived"]
            }
            == {first["UUID"]: 3, second["UUID"]: 2}
        ),
        30,
    )
    subscribers = allinone.status()["FlowSubscribers"]
    assert [client["Dropped"] for client in subscribers.values()] == [0, 0]

    delete(allinone, first["UUID"])
    host.run("ip", "link", "set", "vb", "down")
    until(lambda: states(allinone, "vb") == ["error"])
    until(lambda: [notice["UUID"] for notice in told(notices, "Deleted")] == [first["UUID"]])
    assert [notice["UUID"] for notice in told(notices, "Added")] == [first["UUID"], second["UUID"]]
    until(
        lambda: (
            [notice.get("Count") for notice in told(notices, "NodeUpdated") if notice["UUID"] == second["UUID"]][-1]
            == 0
        )
    )
    assert {message["Namespace"] for message in notices} == {"OnDemandCaptureNotification"}
    for end in (end_stored, end_notices, end_one):
        end()


def command(*arguments: str | Path, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [SKYCORE, "flows", *map(str, arguments)], input=data, capture_output=True, timeout=60, check=False
    )


def test_the_live_view_goes_on_over_a_restart_and_reads_its_own_lines_back(
    host: FakeHost, allinone: Process, tmp_path: Path
) -> None:
    create(allinone, "G.V().Has('Name', 'vb')", RawPacketLimit=1)
    until(lambda: states(allinone, "vb") == ["active"], why=allinone.log)
    written, seen = tmp_path / "flows.jsonl", tmp_path / "seen"
    with written.open("wb") as lines, seen.open("wb") as text:
        live = host.popen(SKYCORE, "flows", "-o", "json", "--ip", "10.9.0.0/24", output=lines)
        person = host.popen(SKYCORE, "flows", "--port", "7778", "--color", "always", output=text)
        until(lambda: len(allinone.status()["FlowSubscribers"]) == 2)

        def ports() -> set[int]:
            whole = written.read_bytes().rpartition(b"\n")[0].splitlines()
            return {json.loads(line)["Transport"]["B"] for line in whole if line.startswith(b"{")}

        send(host, 7777)
        send(host, 7778, 100)
        until(lambda: ports() == {7777, 7778}, why=written.read_text)
        allinone.kill9()
        allinone.start()
        until(lambda: len(allinone.status()["FlowSubscribers"]) == 2)
        until(lambda: states(allinone, "vb") == ["active"])
        send(host, 7779)
        until(lambda: ports() == {7777, 7778, 7779}, why=written.read_text)
        for one in (live, person):
            one.kill(signal.SIGINT)
            assert one.wait() == 130
    assert b"lost: " in written.read_bytes()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.read_text())
    assert "\x1b[" in seen.read_text()
    assert re.search(r"10\.9\.0\.1:\d+ → 10\.9\.0\.2:7778  UDP  ↑ \S+ \w?b/s ↓ 0 b/s  \S+ \w?p/s  \S", plain), plain
    assert "7777" not in plain

    only = tmp_path / "only.jsonl"
    only.write_bytes(b"".join(line for line in written.read_bytes().splitlines(True) if line.startswith(b"{")))
    again = command(only, "-o", "json")
    assert (again.returncode, again.stdout) == (0, only.read_bytes())
    some = command("-", "--port", "7779", "--protocol", "udp", "--to", "10.9.0.2", "-o", "json", data=only.read_bytes())
    assert [json.loads(line)["Transport"]["B"] for line in some.stdout.splitlines()] == [7779]
    assert command("-", "-n", "1", "-o", "json", data=only.read_bytes()).stdout.count(b"\n") == 1
    assert command("-", "--to", "10.9.0.1", data=only.read_bytes()).stdout == b""
    wrong = command("-", "-o", "json", data=b"{}\nno flow\n[]\n")
    assert (wrong.returncode, wrong.stdout) == (1, b"{}\n")
    assert b"line 2 is no flow" in wrong.stderr
    assert b"2 of the lines" in wrong.stderr
