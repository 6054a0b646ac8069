"""The Python client of Skydive's users, unchanged from PyPI, over REST against a real all-in-one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from uuid import uuid4

import pytest
from skydive.rest.client import BadRequest, RESTClient

from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from skycore.testing.pytest_plugin import require
from tests.system.processes import Process

ADDRESS = "127.0.0.1:8082"
GUARDED = "127.0.0.1:8083"

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "unshare")


class InsideClient:
    """The client, each of its calls made in the host's network namespace."""

    def __init__(self, host: FakeHost, address: str = ADDRESS, **options: Any) -> None:
        self._client = RESTClient(address, **options)
        self._host = host

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: inside(self._host.netns_path, lambda: method(*args, **kwargs))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """An all-in-one in a host with a bridge and a veth."""
    require("root", "ip", "nsenter", "unshare", "bash")
    with FakeHost() as host:
        host.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
        host.run("ip", "link", "add", "br0", "type", "bridge")
        host.run("ip", "link", "set", "one", "master", "br0", "up")
        settings = {
            "host_id": "box",
            "agent": {"listen": "127.0.0.1:8081", "topology": {"netlink": {"metrics_update": 0}}},
            "analyzer": {"listen": ADDRESS},
        }
        made = Process(host, "allinone", tmp_path_factory.mktemp("client"), settings, address=ADDRESS)
        with made:
            made.start()
            made.until(lambda: {"one", "two", "br0"} <= set(made.query("G.V().Values('Name')") or ()))
            yield made


@pytest.fixture
def client(process: Process) -> InsideClient:
    return InsideClient(process.host)


@pytest.fixture(scope="module")
def guarded(process: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """An analyzer in the same host that wants a name and password."""
    settings = {
        "host_id": "guarded",
        "auth": {"people": {"type": "basic", "users": {"admin": "right", "bob": "word"}}},
        "rbac": {"policy": ["g, bob, guest"]},
        "analyzer": {"listen": GUARDED, "auth": {"api": {"backend": "people"}}},
    }
    folder = tmp_path_factory.mktemp("guarded")
    with Process(process.host, "analyzer", folder, settings, address=GUARDED) as made:
        made.spawn()
        yield made


def test_with_a_name_and_password(process: Process, guarded: Process) -> None:
    def client(name: str, password: str) -> InsideClient:
        return InsideClient(process.host, GUARDED, username=name, password=password)

    def answers() -> bool:
        try:
            client("admin", "right").lookup("G.V()")
        except URLError:
            return False
        return True

    guarded.until(answers)
    admin = client("admin", "right")
    node = admin.node_create(metadata={"Name": "tor2", "Type": "fabric"})
    assert [one.id for one in client("bob", "word").lookup_nodes("G.V().Has('Name', 'tor2')")] == [node.id]
    with pytest.raises(BadRequest) as refused:
        client("bob", "word").node_delete(node.id)
    assert refused.value.args == (b"'bob' has no 'write' permission on 'node'\n",)
    with pytest.raises(HTTPError, match="401"):
        client("bob", "wrong").lookup("G.V()")
    with pytest.raises(BadRequest, match="No credentials provided"):
        InsideClient(process.host, GUARDED).lookup("G.V()")
    admin.node_delete(node.id)


def test_lookups(client: InsideClient) -> None:
    (bridge,) = client.lookup_nodes("G.V().Has('Name', 'br0')")
    assert bridge.metadata["Type"] == "bridge"
    assert bridge.host == "box"
    assert isinstance(bridge.created_at, int)
    edges = client.lookup_edges("G.V().Has('Name', 'br0').BothE('RelationType', 'layer2')")
    assert bridge.id in {end for edge in edges for end in (edge.parent, edge.child)}
    assert client.lookup("G.V().Has('Name', 'br0').Count()") == 1
    assert client.lookup("G.V().Has('Name', 'nothing')") == []
    with pytest.raises(BadRequest, match="Expected step function"):
        client.lookup("G.Nonsense()")


def test_a_node_from_its_making_to_its_end(client: InsideClient) -> None:
    made = client.node_create(metadata={"Name": "tor1", "Type": "fabric", "Rack": {"Row": 3}})
    assert made.metadata["Rack"] == {"Row": 3}
    assert [node.id for node in client.lookup_nodes("G.V().Has('Rack.Row', 3)")] == [made.id]
    assert made.id in [node.id for node in client.node_list()]
    updated = client.node_update(made.id, [{"op": "add", "path": "/Metadata/Site", "value": "here"}])
    assert (updated.id, updated.metadata["Site"]) == (made.id, "here")
    assert updated.revision > made.revision
    (found,) = client.lookup_nodes("G.V().Has('Site', 'here')")
    assert found.metadata == updated.metadata
    with pytest.raises(BadRequest) as unchanged:
        client.node_update(made.id, [{"op": "replace", "path": "/Metadata/Name", "value": "other"}])
    assert unchanged.value.args == (b"",)
    with pytest.raises(BadRequest) as nameless:
        client.node_update(made.id, [{"op": "remove", "path": "/Metadata/Name"}])
    assert nameless.value.args == (
        b"validating patched resource: invalid schema: (root): Must validate all the schemas (allOf)\n"
        b"Metadata: Must validate all the schemas (allOf)\nMetadata: Name is required\n"
        b"(root): Must validate at least one schema (anyOf)\n",
    )
    with pytest.raises(BadRequest) as unknown:
        client.node_update(str(uuid4()), [{"op": "add", "path": "/Metadata/x", "value": 1}])
    assert unknown.value.args == (b"",)
    client.node_delete(made.id)
    assert client.lookup("G.V().Has('Name', 'tor1')") == []
    assert made.id not in [node.id for node in client.node_list()]


def test_an_edge_from_its_making_to_its_end(client: InsideClient) -> None:
    (bridge,) = client.lookup_nodes("G.V().Has('Name', 'br0')")
    node = client.node_create(metadata={"Name": "port", "Type": "fabric"})
    made = client.edge_create(node.id, bridge.id, metadata={"RelationType": "layer2"})
    assert (made.parent, made.child) == (node.id, bridge.id)
    (found,) = client.lookup_edges("G.V().Has('Name', 'port').OutE()")
    assert (found.id, found.metadata["RelationType"]) == (made.id, "layer2")
    updated = client.edge_update(made.id, [{"op": "add", "path": "/Metadata/Speed", "value": 10}])
    assert updated.metadata["Speed"] == 10
    assert made.id in [edge.id for edge in client.edge_list()]
    client.edge_delete(made.id)
    assert made.id not in [edge.id for edge in client.edge_list()]
    client.node_delete(node.id)


def test_rules(client: InsideClient, process: Process) -> None:
    rule = client.noderule_create("create", {"Name": "switch", "Type": "fabric"})
    assert rule.uuid in [one.uuid for one in client.noderule_list()]
    process.until(lambda: client.lookup("G.V().Has('Name', 'switch').Count()") == 1)
    edge = client.edgerule_create("G.V().Has('Name', 'switch')", "G.V().Has('Name', 'br0')", {"RelationType": "layer2"})
    assert [one.uuid for one in client.edgerule_list()] == [edge.uuid]
    process.until(lambda: client.lookup("G.V().Has('Name', 'switch').Out().Values('Name')") == ["br0"])
    mark = client.noderule_create("update", {"Marked": "yes"}, "G.V().Has('Name', 'br0')")
    process.until(lambda: client.lookup("G.V().Has('Marked', 'yes').Count()") == 1)
    client.noderule_delete(mark.uuid)
    process.until(lambda: client.lookup("G.V().Has('Marked', 'yes').Count()") == 0)
    client.edgerule_delete(edge.uuid)
    client.noderule_delete(rule.uuid)
    process.until(lambda: client.lookup("G.V().Has('Name', 'switch').Count()") == 0)
    assert client.noderule_list() == client.edgerule_list() == []
    with pytest.raises(BadRequest, match="Gremlin"):
        client.edgerule_create("nonsense", "G.V()", {"RelationType": "layer2"})
