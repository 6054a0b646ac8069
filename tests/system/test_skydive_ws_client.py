"""The WebSocket client of Skydive's users (`skydive-ws-client`, autobahn), unchanged from PyPI, against an analyzer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skycore.testing.lab import FakeHost
from skycore.testing.pytest_plugin import require
from tests.system.processes import Process, until

ADDRESS = "127.0.0.1:8082"
CLIENT = str(Path(sys.executable).with_name("skydive-ws-client"))

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "unshare")


@pytest.fixture
def analyzer(tmp_path: Path) -> Iterator[Process]:
    require("root", "ip", "nsenter", "unshare", "bash")
    with FakeHost() as host:
        settings = {"host_id": "box", "analyzer": {"listen": ADDRESS, "agent_timeout": 1}}
        with Process(host, "analyzer", tmp_path / "analyzer", settings, address=ADDRESS) as process:
            yield process.start()


def graph(**metadata: Any) -> dict[str, Any]:
    nodes = [{"ID": id, "Host": "", "Metadata": {"Name": id, "Type": "device", **metadata}} for id in ("one", "two")]
    edge = {"ID": "e", "Host": "", "Parent": "one", "Child": "two", "Metadata": {"RelationType": "layer2"}}
    return {"Nodes": nodes, "Edges": [edge]}


def publish(analyzer: Process, mode: str, what: dict[str, Any]) -> None:
    file = analyzer.folder / f"{mode}.json"
    file.write_text(json.dumps(what))
    with (analyzer.folder / "publish.log").open("ab") as log:
        client = analyzer.host.popen(CLIENT, "--analyzer", ADDRESS, "--host", "me", mode, str(file), output=log)
        assert client.wait() == 0, (analyzer.folder / "publish.log").read_text()


def test_add_listen_update_and_delete_over_a_restart(analyzer: Process) -> None:
    heard = analyzer.folder / "heard"
    arguments = ["--analyzer", ADDRESS, "--host", "ear", "listen", "--sync-request"]
    filter = ["--gremlin", "G.V().Has('Name', 'one').SubGraph()"]
    with heard.open("wb") as log:
        listener = analyzer.host.popen(CLIENT, *arguments, *filter, output=log)
    try:
        until(lambda: "SyncReply" in heard.read_text())
        publish(analyzer, "add", graph())
        analyzer.until(lambda: len(analyzer.elements()) == 3)
        assert {one["Origin"] for one in analyzer.elements().values()} == {"skydive-python-client.me"}
        until(lambda: "NodeAdded" in heard.read_text())
        publish(analyzer, "update", graph(MTU=9000))
        analyzer.until(lambda: analyzer.query("G.V().Has('MTU', 9000).Count()") == 2)
        until(lambda: "NodeUpdated" in heard.read_text())
        assert '"two"' not in heard.read_text()
        assert analyzer.status()["Subscribers"]["ear"]["Sent"] == 2
    finally:
        listener.kill()
        listener.wait()
    # What is persistent is so over a crash, and no agent that stays away takes it along.
    analyzer.until(lambda: analyzer.status()["History"]["Backlog"] == 0)
    analyzer.kill9()
    analyzer.start()
    assert len(analyzer.elements()) == 3
    assert analyzer.status()["Graph"]["Stale"] == []
    publish(analyzer, "delete", graph())
    analyzer.until(lambda: not analyzer.elements())
