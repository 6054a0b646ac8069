"""What users say outlives everybody: agents and analyzers that are killed, and the fabric of the configuration."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from skycore.testing.pytest_plugin import require
from tests.system.processes import Process

AGENT, ANALYZER = "127.0.0.1:8081", "127.0.0.1:8082"

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "unshare")


@pytest.fixture(scope="module")
def host() -> Iterator[FakeHost]:
    """A host with a veth."""
    require("root", "ip", "nsenter", "unshare")
    with FakeHost() as made:
        made.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
        yield made


@pytest.fixture
def pair(host: FakeHost, tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """An analyzer and its agent."""
    settings = {
        "host_id": "box",
        "analyzers": [ANALYZER],
        "agent": {"listen": AGENT, "topology": {"netlink": {"metrics_update": 0}}},
        "analyzer": {
            "listen": ANALYZER,
            "topology": {"fabric": ["TOR[Name=tor] -> PORT", "PORT --> *[Type=host, Name=box]/two"]},
        },
    }
    with (
        Process(host, "analyzer", tmp_path / "analyzer", settings, address=ANALYZER) as analyzer,
        Process(host, "agent", tmp_path / "agent", settings, address=AGENT) as agent,
    ):
        yield analyzer.start(), agent.start()


def ask(host: FakeHost, method: str, path: str, body: Any = None) -> Any:
    """The decoded answer of the analyzer."""

    def go() -> Any:
        connection = http.client.HTTPConnection(ANALYZER, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
            assert response.status in (200, 201), (response.status, text)
            return json.loads(text) if text else None
        finally:
            connection.close()

    return inside(host.netns_path, go)


def test_what_users_say_outlives_agents_and_analyzers(host: FakeHost, pair: tuple[Process, Process]) -> None:
    analyzer, agent = pair
    (two,) = analyzer.until(lambda: analyzer.query("G.V().Has('Name', 'two')"))
    id = two["ID"]
    ask(host, "POST", "/api/noderule", {"Action": "create", "Metadata": {"Name": "rack", "Type": "rack"}})
    color = ask(
        host,
        "POST",
        "/api/noderule",
        {"Action": "update", "Query": f"G.V('{id}')", "Metadata": {"Color": "red"}},
    )
    ask(
        host,
        "POST",
        "/api/edgerule",
        {
            "Src": "G.V().Has('Type', 'rack')",
            "Dst": "G.V().Has('Color', 'red')",
            "Metadata": {"RelationType": "holds"},
        },
    )
    ask(host, "POST", "/api/usermetadata", {"GremlinQuery": "G.V().Has('Name', 'two')", "Key": "Owner", "Value": "me"})
    ask(host, "PATCH", f"/api/node/{id}", [{"op": "add", "path": "/Metadata/Note", "value": {"Text": ["x"]}}])
    ask(host, "POST", "/api/node", {"ID": "mine", "Metadata": {"Name": "mine", "Type": "device"}})
    ask(
        host,
        "POST",
        "/api/edge",
        {"ID": "cable", "Parent": "mine", "Child": id, "Metadata": {"RelationType": "layer2"}},
    )

    def said() -> dict[str, Any]:
        (found,) = analyzer.query("G.V().Has('Name', 'two')")
        keys = ("Color", "UserMetadata", "Note")
        return {
            "two": {key: found["Metadata"].get(key) for key in keys},
            "since": found["UpdatedAt"],
            "into": sorted(analyzer.query("G.V().Has('Name', 'two').In().Values('Name')")),
        }

    wanted = {"Color": "red", "UserMetadata": {"Owner": "me"}, "Note": {"Text": ["x"]}}
    into = sorted(["PORT", "box", "mine", "one", "rack"])
    both = (into, sorted(set(into) - {"one"}))
    before = analyzer.until(lambda: (now := said())["two"] == wanted and now["into"] in both and now)
    agent.kill9()
    agent.start()
    analyzer.until(lambda: analyzer.status()["Agents"])
    analyzer.until(lambda: not analyzer.status()["Graph"]["Stale"])
    # Not for a moment was it gone: the node has not been updated.
    assert said() == before
    analyzer.kill9()
    analyzer.start()
    assert said() == before
    analyzer.until(lambda: analyzer.status()["Agents"] and not analyzer.status()["Graph"]["Stale"])
    assert said() == before
    assert {rule["State"] for rule in analyzer.status()["Rules"]["Rules"]} == {"active"}
    ask(host, "DELETE", f"/api/noderule/{color['UUID']}")
    analyzer.until(lambda: said()["two"]["Color"] is None and "rack" not in said()["into"])
    ask(host, "DELETE", "/api/node/mine")
    assert "mine" not in said()["into"]
