"""A database that is away, hangs, comes and goes, talks nonsense or tells of hostile things."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
import trio
from ovs_helpers import elements, only, settings, stale
from skydive_probe_ovsdb import client as client_module
from skydive_probe_ovsdb import probe as probe_module

from skycore.testing import run_probes
from skycore.testing.openvswitch import OpenVSwitch


async def test_a_killed_server_makes_stale_and_changes_nothing(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    ovs.vsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=internal")
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:
        await lab.until(lambda: all(node.get("OfPort", 1) for node in lab.nodes(Name="i0")))
        before = elements(lab).keys()
        await trio.to_thread.run_sync(ovs.stop_database)
        reason = await lab.until(lambda: stale(lab))
        assert "db.sock" in str(reason)
        assert lab.report("ovsdb").fields["database"] == reason
        assert elements(lab).keys() == before
        await trio.to_thread.run_sync(ovs.start_database)
        await lab.until(lambda: stale(lab) is None, 10)
        assert elements(lab).keys() == before
        assert "database" not in lab.report("ovsdb").fields
        # The switch itself comes back a second later.
        await ovs.avsctl("set", "bridge", "br0", "external_ids:after=1")
        await only(lab, Type="ovsbridge", ExtID__after="1")


async def test_what_was_deleted_while_the_server_was_away_goes(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    ovs.bridge("br1")
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:
        kept = await only(lab, Type="ovsbridge", Name="br0")
        await trio.to_thread.run_sync(ovs.stop_database)
        await lab.until(lambda: stale(lab))
        # Nobody serves the database: it is changed in its file.
        question = '{"op": "select", "table": "Bridge", "where": [["name", "==", "br1"]], "columns": ["_uuid"]}'
        query = ("ovsdb-tool", "query", "/run/openvswitch/conf.db", f'["Open_vSwitch", {question}]')
        printed = await ovs.host.arun(*query)
        uuid = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", printed)[0]
        await ovs.host.arun(
            "ovsdb-tool", "transact", "/run/openvswitch/conf.db",
            f'["Open_vSwitch", {{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": '
            f'[["bridges", "delete", ["uuid", "{uuid}"]]]}}]',
        )  # fmt: skip
        assert lab.nodes(Name="br1")
        await trio.to_thread.run_sync(ovs.start_database)
        await lab.until(lambda: not lab.nodes(Name="br1"), 10)
        left = await only(lab, Type="ovsbridge")
        assert (left["@ID"], left["UUID"]) == (kept["@ID"], kept["UUID"])


async def test_a_server_that_comes_later(ovs: OpenVSwitch) -> None:
    await trio.to_thread.run_sync(ovs.stop_database)
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path, started=0.3) as lab:
        assert lab.report("ovsdb").state == "starting"
        assert await lab.until(lambda: stale(lab))
        await trio.to_thread.run_sync(ovs.start_database)
        await lab.until(lambda: lab.report("ovsdb").state == "running", 10)


async def test_a_frozen_server_is_lost_until_it_answers(ovs: OpenVSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(client_module, "IDLE_SECONDS", 0.1)
    ovs.bridge("br0")
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:
        ovs.freeze()
        try:
            assert "no answer" in str(await lab.until(lambda: stale(lab)))
        finally:
            ovs.thaw()
        await lab.until(lambda: stale(lab) is None, 10)
        assert lab.nodes(Type="ovsbridge", Name="br0")


async def test_a_server_that_is_started_again_and_again(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    with structlog.testing.capture_logs() as logs:
        async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:
            before = elements(lab).keys()
            for _ in range(3):
                await trio.to_thread.run_sync(ovs.start_database)
                await trio.sleep(0.5)
                assert elements(lab).keys() == before
            await lab.until(lambda: stale(lab) is None, 10)
            assert lab.report("ovsdb").restarts == 0
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) <= 1


async def test_a_server_that_talks_nonsense_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "LONGEST_PAUSE", 0.01)
    asked = 0

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        nonlocal asked
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(str(tmp_path / "s"))
            listener.listen()
            task_status.started()
            while True:
                connection, _ = await listener.accept()
                asked += 1
                with connection, suppress(OSError):
                    await connection.recv(4096)
                    await connection.send(b'{"id": 1, "result": [1, 2')

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        with structlog.testing.capture_logs() as logs:
            async with run_probes({"ovsdb": {"ovsdb": f"unix://{tmp_path}/s"}}, started=0) as lab:
                await lab.until(lambda: asked >= 10)
                report = lab.report("ovsdb")
                assert "closed the connection" in report.fields["database"]
                assert (report.state, report.restarts) == ("starting", 0)
        nursery.cancel_scope.cancel()
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) == 1


async def test_hostile_names_and_texts(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:
        texts = {"a": "1", "a.b": "2", "q": '"\\\n\t\x01', "x" * 5000: "y", "." * 3000: "deep", "big": "v" * 1_000_000}
        await trio.to_thread.run_sync(_set_external, ovs, texts)
        bridge = (await lab.until(lambda: [n for n in lab.nodes(Type="ovsbridge") if "big" in n.get("ExtID", {})]))[0]
        found = bridge["ExtID"]
        assert (found["a"], found["a.b"], found["q"]) == ("1", "2", '"\\\n\t\x01')
        assert len(found["big"]) == 1_000_000
        await trio.to_thread.run_sync(_set_external, ovs, {f"big{number}": "v" * 1_000_000 for number in range(5)})
        await lab.until(lambda: "refused" in lab.report("ovsdb").fields)
        assert {"Name", "Type", "UUID"} <= lab.nodes(Type="ovsbridge")[0].keys()
        await ovs.avsctl("clear", "bridge", "br0", "external_ids")
        await lab.until(lambda: "refused" not in lab.report("ovsdb").fields)
        assert lab.report("ovsdb").restarts == 0


def _set_external(ovs: OpenVSwitch, texts: dict[str, str]) -> None:
    """By the protocol: a command line would not hold so much."""
    operation = {
        "op": "mutate", "table": "Bridge", "where": [],
        "mutations": [["external_ids", "insert", ["map", [[key, value] for key, value in texts.items()]]]],
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(ovs.socket)
        connection.sendall(json.dumps({"id": 1, "method": "transact", "params": ["Open_vSwitch", operation]}).encode())
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(1 << 16)
    assert json.loads(answer)["result"] == [{"count": 1}]
