"""Containers of a real docker daemon, as agent and analyzer see them: three probes, one graph.

The daemon and the agent share a fake host, the analyzer has one of its own.  Each analyzer is asked over REST while it
runs, and its store is read when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from skycore.graph.element import Revision
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.dockerd import Dockerd
from skycore.testing.lab import FakeHost, Underlay
from tests.system.processes import Process, content, revisions, steady

AGENT = "127.0.0.1:8081"
SANDBOXES = "/var/run/docker/netns"

pytestmark = pytest.mark.needs("root", "dockerd", "docker", "busybox")


@attrs.frozen
class Place:
    """``analyzer`` runs; ``agent`` is configured by ``probes`` and not yet started."""

    dockerd: Dockerd
    agent: Process
    analyzer: Process
    at: str

    def probes(self, *names: str, watch: str | None = None) -> None:
        """Have the agent's next start run these besides netlink and netns; ``watch`` is what netns watches."""
        netns = {} if watch is None else {"netns": {"run_path": watch}}
        topology = {"probes": list(names), "netlink": {"metrics_update": 0}, **netns}
        self.agent.configure(
            {"host_id": "box", "analyzers": [self.at], "agent": {"listen": AGENT, "topology": topology}}
        )

    def both(self, condition: Callable[[Process], Any], seconds: float = 15.0) -> None:
        """Wait until it is true of the agent, then of the analyzer."""
        for process in (self.agent, self.analyzer):
            process.until(lambda process=process: condition(process), seconds)  # type: ignore[misc]

    def agreed(self) -> dict[str, str]:
        """What agent and analyzer both say, as soon as they do."""
        agreement: dict[str, str] = {}

        def same() -> bool:
            nonlocal agreement
            agreement = content(self.agent.elements())
            return content(self.analyzer.elements()) == agreement

        self.agent.until(same)
        return agreement

    def becomes(self, expected: Mapping[str, Any]) -> None:
        """Wait until agent and analyzer both say this, traffic apart."""
        found: dict[str, Any] = {}

        def same() -> bool:
            found.clear()
            found.update(without_traffic(self.agreed()))
            return found == expected

        with contextlib.suppress(AssertionError):
            self.agent.until(same, 5)
        assert list(differences(found, expected)) == []

    def history(self, ids: set[str]) -> dict[str, list[Revision]]:
        """Stop the analyzer and read all revisions of these elements from its store."""
        assert self.analyzer.stop() == 0
        store = EmbeddedStore(EmbeddedStore.Settings(path=str(self.analyzer.state)))
        store.open()
        try:
            return {id: store.revisions(id) for id in ids}
        finally:
            store.close()


@pytest.fixture
def place(dockerd: Dockerd, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        centre = stack.enter_context(FakeHost("centre"))
        underlay = stack.enter_context(Underlay([dockerd.host, centre]))
        # Link-local addresses come a second or two after everything else, and would make every picture a half one.
        for scope in ("all", "default"):
            dockerd.host.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        at = f"{underlay.addresses['centre']}:8082"
        configuration = {"analyzer": {"listen": at}}
        analyzer = Process(centre, "analyzer", tmp_path / "analyzer", configuration, "--insecure-listen", address=at)
        stack.enter_context(analyzer).spawn()
        agent = stack.enter_context(Process(dockerd.host, "agent", tmp_path / "agent", {}, address=AGENT))
        place = Place(dockerd, agent, analyzer, at)
        place.probes("docker")
        analyzer.answered()
        # The daemon and its host serve the next test too.
        stack.callback(dockerd.host.run, "ip", "-all", "netns", "delete")
        yield place


def nodes(process: Process, **metadata: Any) -> list[dict[str, Any]]:
    """The nodes that have these values."""
    found = process.query("G.V()")
    return [node for node in found if all(node["Metadata"].get(key) == value for key, value in metadata.items())]


def below(process: Process, owner: str) -> dict[str, dict[str, Any]]:
    """The nodes that a node owns, by name."""
    owned = process.query(f"G.V('{owner}').OutE('RelationType', 'ownership').OutV()")
    return {node["Metadata"]["Name"]: node for node in owned}


def stale(process: Process, prefix: str = "G", kinds: str = "VE") -> set[str]:
    """IDs of the elements that nobody can vouch for: nodes (``V``), edges (``E``) or both."""
    found = [element for kind in kinds for element in process.query(f"{prefix}.{kind}().Has('@Stale', true)")]
    return {element["ID"] for element in found}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def run_shop(dockerd: Dockerd) -> None:
    """A container, its second network, and a second container in its namespace."""
    dockerd.container("shop", "--label", "com.example.role=front")
    dockerd.docker("network", "create", "second")
    dockerd.docker("network", "connect", "second", "shop")
    dockerd.container("sidecar", "--network", "container:shop")


SHOP = {"shop", "sidecar", "lo", "eth0", "eth1"}


def complete(process: Process) -> bool:
    """Whether the whole shop is shown: one namespace with all that is in it, and a wire to each of its interfaces."""
    namespaces = nodes(process, Type="netns", Name="shop")
    if len(namespaces) != 1 or set(below(process, namespaces[0]["ID"])) != SHOP:
        return False
    inside = below(process, namespaces[0]["ID"])
    if any(node["Metadata"]["State"] != "UP" for kind in ("veth", "bridge") for node in nodes(process, Type=kind)):
        return False
    return all(len(wires(process, inside[name]["ID"])) == 1 for name in ("eth0", "eth1"))


def wires(process: Process, id: str) -> list[dict[str, Any]]:
    edges: list[dict[str, Any]] = process.query(f"G.V('{id}').BothE('RelationType', 'layer2', 'Type', 'veth')")
    return edges


def of_docker(process: Process) -> set[str]:
    """IDs of the elements that the docker probe owns alone: containers, their namespace, and the edges to them."""
    (namespace,) = nodes(process, Type="netns", Name="shop")
    containers = {node["ID"] for node in nodes(process, Type="container")}
    edges = process.query("G.E().Has('RelationType', 'ownership')")
    owned = {*containers, namespace["ID"]}
    return owned | {edge["ID"] for edge in edges if edge["Child"] in owned}


def check_the_shop(place: Place) -> None:
    """The metadata of each element come from the probe whose business they are."""
    docker = place.dockerd.docker
    (namespace,) = nodes(place.analyzer, Type="netns", Name="shop")
    said = namespace["Metadata"]
    sandbox = docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", "shop")
    inode = place.dockerd.host.run("stat", "-L", "--format", "%i", sandbox).strip()
    assert (said["Manager"], said["Inode"]) == ("docker", int(inode))
    assert said["Path"] == f"{SANDBOXES}/{sandbox.rpartition('/')[2]}"
    inside = below(place.analyzer, namespace["ID"])
    for name in ("shop", "sidecar"):
        container = inside[name]["Metadata"]
        assert (container["Type"], container["Manager"]) == ("container", "docker")
        assert container["Container"]["ID"] == docker("inspect", "--format", "{{.Id}}", name)
        assert container["Container"]["InitProcessPID"] == int(docker("inspect", "--format", "{{.State.Pid}}", name))
    assert inside["shop"]["Metadata"]["Container"]["Labels"] == {"com": {"example": {"role": "front"}}}
    for name in ("eth0", "eth1"):
        shown = docker("exec", "shop", "cat", f"/sys/class/net/{name}/address", f"/sys/class/net/{name}/ifindex")
        mac, index = shown.split()
        interface = inside[name]["Metadata"]
        assert (interface["Type"], interface["MAC"], interface["IfIndex"]) == ("veth", mac, int(index))
        (wire,) = wires(place.analyzer, inside[name]["ID"])
        (outer,) = {wire["Parent"], wire["Child"]} - {inside[name]["ID"]}
        (bridge,) = place.analyzer.query(f"G.V('{outer}').InE('RelationType', 'layer2').InV().Has('Type', 'bridge')")
        assert bridge["Metadata"]["Name"].startswith("docker0" if name == "eth0" else "br-")
    assert place.agent.status()["Graph"]["Conflicts"] == []


# ---------------------------------------------------------------------- orders of appearance


def test_the_graph_is_the_same_in_either_order_of_appearance(place: Place) -> None:
    """Only docker says the namespace here: netns watches another folder."""
    place.agent.start()
    run_shop(place.dockerd)
    place.both(complete)
    agent_first = without_traffic(place.agreed())
    check_the_shop(place)
    ids = of_docker(place.analyzer)

    assert place.agent.stop() == 0
    place.agent.start()
    place.both(complete)
    place.becomes(agent_first)

    # Containers and their namespace are docker's, what is in it and the wires to it netlink's.
    (namespace,) = nodes(place.analyzer, Type="netns")
    inside = {name: node["ID"] for name, node in below(place.analyzer, namespace["ID"]).items()}
    interfaces = {inside[name] for name in ("lo", "eth0", "eth1")}
    outer = {node["ID"] for node in nodes(place.analyzer, Type="veth")} - interfaces
    place.agent.stop()
    owners = {id: history[-1].owners for id, history in place.history(ids | interfaces | outer).items()}
    assert {owners[id] for id in ids} == {("docker",)}
    assert {inside["shop"], inside["sidecar"], namespace["ID"]} < ids
    assert {owners[id] for id in outer} == {("netlink",)}
    ((sub_probe,),) = {owners[id] for id in interfaces}
    assert sub_probe.startswith("netlink@")


def test_docker_and_netns_own_one_namespace_whoever_comes_first(place: Place) -> None:
    """netns watches docker's own folder, so that both know the namespace, by the same file."""
    # Both see it come, in whatever order.
    place.probes("docker", watch=SANDBOXES)
    place.agent.start()
    run_shop(place.dockerd)
    place.both(complete)
    together = without_traffic(place.agreed())
    check_the_shop(place)
    (namespace,) = nodes(place.analyzer, Type="netns")
    assert place.agent.stop() == 0

    # netns first: by itself it knows no name but the file's, and nothing of containers.
    place.probes(watch=SANDBOXES)
    place.agent.start()
    place.both(lambda process: not nodes(process, Type="container"))
    alone = place.agreed()
    (named_by_file,) = nodes(place.analyzer, Type="netns")
    assert named_by_file["ID"] == namespace["ID"]
    assert named_by_file["Metadata"]["Name"] == named_by_file["Metadata"]["Path"].rpartition("/")[2]
    assert "Manager" not in named_by_file["Metadata"]
    assert alone.keys() < together.keys()
    assert place.agent.stop() == 0
    place.probes("docker", watch=SANDBOXES)
    place.agent.start()
    place.both(complete)
    place.becomes(together)
    assert place.agent.stop() == 0

    # docker first.
    place.probes("docker", "-netns")
    place.agent.start()
    place.both(complete)
    assert place.agent.stop() == 0
    place.probes("docker", watch=SANDBOXES)
    place.agent.start()
    place.both(complete)
    place.becomes(together)
    check_the_shop(place)

    # The daemon's death makes stale what only docker knew; netns still vouches for the namespace.
    place.dockerd.kill9()
    containers = {node["ID"] for node in nodes(place.analyzer, Type="container")}
    place.both(lambda process: containers <= stale(process))
    for process in (place.agent, place.analyzer):
        assert namespace["ID"] not in stale(process)
    place.agent.stop()
    (kept,) = place.history({namespace["ID"]}).values()
    assert kept[-1].owners == ("docker", "netns")
    assert not [revision for revision in kept if revision.deleted_at is not None]


@pytest.mark.parametrize(
    "kind",
    [
        "V",
        "E",
    ],
)
def test_agent_and_analyzer_agree_on_who_vouches_for_what(place: Place, kind: str) -> None:
    """A second owner comes to a namespace that docker has shown before, and goes again.

    He says something new of the namespace (another path), and of the edge to it what docker says.
    """
    place.agent.start()
    run_shop(place.dockerd)
    place.both(complete)
    pid = place.dockerd.docker("inspect", "--format", "{{.State.Pid}}", "shop")
    (namespace,) = nodes(place.analyzer, Type="netns")
    (edge,) = place.analyzer.query(f"G.V('{namespace['ID']}').InE('RelationType', 'ownership')")
    ids = of_docker(place.analyzer) & {element["ID"] for element in place.analyzer.query(f"G.{kind}()")}
    shared = {namespace["ID"], edge["ID"]} & ids
    assert len(shared) == 1 < len(ids)

    place.dockerd.host.run("ip", "netns", "attach", "by-hand", pid)
    place.both(lambda process: nodes(process, Type="netns", Name="shop", Path="/var/run/netns/by-hand"))
    place.dockerd.kill9()
    place.both(lambda process: stale(process, kinds=kind) == ids - shared, seconds=5)

    place.dockerd.host.run("ip", "netns", "delete", "by-hand")
    place.both(lambda process: stale(process, kinds=kind) == ids, seconds=5)
    place.dockerd.restart()
    place.both(lambda process: not stale(process))


def without_traffic(elements: Mapping[str, str]) -> dict[str, Any]:
    """Contents without what traffic changes."""
    found = {id: json.loads(text) for id, text in elements.items()}
    for element in found.values():
        element["Metadata"] = steady(element["Metadata"])
    return found


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Every difference in a line of its own, for whoever reads the failure."""
    for id in found.keys() | expected.keys():
        one, other = found.get(id), expected.get(id)
        if one is None or other is None:
            yield f"only {'expected' if one is None else 'found'}: {other or one}"
        elif one != other:
            said, wanted = one["Metadata"], other["Metadata"]
            keys = [key for key in said.keys() | wanted.keys() if said.get(key) != wanted.get(key)]
            yield f"{said.get('Name', id)}: " + "; ".join(
                f"{key}: {said.get(key)}, not {wanted.get(key)}" for key in keys
            )


# ---------------------------------------------------------------------- lives of containers


def test_containers_are_paused_renamed_killed_and_stopped(place: Place) -> None:
    docker = place.dockerd.docker
    place.agent.start()
    run_shop(place.dockerd)
    place.both(complete)
    (namespace,) = nodes(place.analyzer, Type="netns")
    ids = {name: node["ID"] for name, node in below(place.analyzer, namespace["ID"]).items()}

    def status(process: Process, name: str) -> str:
        (container,) = nodes(process, Type="container", Name=name)
        assert container["ID"] == ids[name]
        found: str = container["Metadata"]["Container"]["Status"]
        return found

    docker("pause", "sidecar")
    place.both(lambda process: status(process, "sidecar") == "paused")
    docker("unpause", "sidecar")
    place.both(lambda process: status(process, "sidecar") == "running")

    docker("rename", "shop", "store")
    place.both(lambda process: nodes(process, Type="container", Name="store"))
    place.both(lambda process: nodes(process, Type="netns", Name="store"))
    assert {node["ID"] for node in nodes(place.analyzer, Type="container")} == {ids["shop"], ids["sidecar"]}
    assert nodes(place.analyzer, Type="netns")[0]["ID"] == namespace["ID"]
    renamed = now_ms()

    # The namespace goes with the last container in it, and bears the name of the one that is left.
    docker("kill", "store")
    place.both(lambda process: [node["ID"] for node in nodes(process, Type="container")] == [ids["sidecar"]])
    place.both(lambda process: [node["Metadata"]["Name"] for node in nodes(process, Type="netns")] == ["sidecar"])
    assert nodes(place.analyzer, Type="netns")[0]["ID"] == namespace["ID"]
    docker("stop", "--time", "0", "sidecar")
    gone = {namespace["ID"], *ids.values()}
    place.both(lambda process: not gone & process.elements().keys())
    place.both(lambda process: not nodes(process, Name="eth1"))

    # The same container started again is the same node, in another namespace.
    docker("start", "store")
    place.both(lambda process: nodes(process, Type="container", Name="store"))
    (again,) = nodes(place.analyzer, Type="container")
    assert again["ID"] == ids["shop"]
    place.both(lambda process: set(below(process, netns_of(process))) == {"store", "lo", "eth0", "eth1"})
    assert netns_of(place.analyzer) != namespace["ID"]

    past = {id: element["Metadata"] for id, element in place.analyzer.elements(f"G.At({renamed})").items()}
    assert gone <= past.keys()
    assert (past[ids["shop"]]["Name"], past[namespace["ID"]]["Name"]) == ("store", "store")


def netns_of(process: Process) -> str:
    """The ID of the only namespace."""
    (namespace,) = nodes(process, Type="netns")
    id: str = namespace["ID"]
    return id


# ---------------------------------------------------------------------- the daemon dies


def test_a_killed_daemon_leaves_its_containers_stale_and_finds_them_again(place: Place) -> None:
    place.agent.start()
    run_shop(place.dockerd)
    place.both(complete)
    place.agreed()
    ids = of_docker(place.analyzer)
    assert len(ids) == 6
    before = {process.role: revisions(process.elements()) for process in (place.agent, place.analyzer)}
    assert ids <= before["analyzer"].keys()
    killed = now_ms()

    place.dockerd.kill9()
    place.both(lambda process: stale(process) == ids)
    assert "docker.sock" in place.agent.probe("docker")["Stale"]
    (shown,) = place.analyzer.status()["Graph"]["Stale"]
    assert (shown["Origin"], shown["Claimant"]) == ("agent.box", "docker")
    assert killed <= shown["Since"] <= now_ms()
    while_dead = now_ms()

    place.dockerd.restart()
    place.both(lambda process: not stale(process))
    back = now_ms()
    assert place.agent.probe("docker")["Stale"] is None
    place.both(complete)
    place.agreed()
    for process in (place.agent, place.analyzer):
        after = revisions(process.elements())
        assert {id: after[id] for id in ids} == {id: before[process.role][id] for id in ids}
        # The kernel's side went on too: nothing was taken away, and nothing is new.
        assert after.keys() == before[process.role].keys()

    place.analyzer.until(lambda: stale(place.analyzer, f"G.At({while_dead})") == ids)
    assert stale(place.analyzer, f"G.At({killed})") == set()
    assert stale(place.analyzer, f"G.At({back})") == set()

    histories = place.history(set(before["analyzer"]))
    for id, history in histories.items():
        assert not [revision for revision in history if revision.deleted_at is not None]
        if id in ids:
            assert history[-1].revision == before["analyzer"][id]
            assert history[-1].updated_at <= killed
