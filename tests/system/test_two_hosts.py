"""Agents on two hosts and analyzers on a third: real processes, real kernels' namespaces, a wire between them.

What the graph should hold is read by ``ip`` from every namespace of each host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from skycore.testing.lab import FakeHost, Underlay
from skycore.testing.pytest_plugin import require
from tests.system.processes import Process, content, steady, until

AGENT = "127.0.0.1:8081"
INNER = ("vm1", "vm2")
PATIENCE = 2.0
# Counters change by themselves.  Without samples of them, only an agent's first inventory reads them.
NO_SAMPLES = {"netlink": {"metrics_update": 0}}


@attrs.frozen
class Cluster:
    """``main`` waits for lost agents as long as it does by default, ``impatient`` for ``PATIENCE`` seconds."""

    one: FakeHost
    two: FakeHost
    centre: FakeHost
    token_file: Path
    addresses: dict[str, str]
    main: Process
    impatient: Process
    agents: dict[str, Process]


def furnish(host: FakeHost) -> None:
    """A bridge with two inner namespaces on it; names, addresses and MACs are the same on every host."""
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "address", "add", "10.201.0.254/24", "dev", "br0")
    host.run("ip", "link", "set", "br0", "up")
    for number, name in enumerate(INNER, 1):
        host.run("ip", "netns", "add", name)
        host.run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        host.run("ip", "link", "set", f"to-{name}", "master", "br0", "up")
        host.run("ip", "-n", name, "link", "set", "eth0", "address", f"02:00:00:00:00:0{number}", "up")
        host.run("ip", "-n", name, "address", "add", f"10.201.0.{number}/24", "dev", "eth0")
        host.run("ip", "-n", name, "link", "set", "lo", "up")


def agent_configuration(analyzers: list[str], token_file: Path | None) -> dict[str, Any]:
    cluster = {} if token_file is None else {"cluster": {"token_file": str(token_file)}}
    return {"analyzers": analyzers, "agent": {"listen": AGENT, "topology": NO_SAMPLES}, **cluster}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require("root", "ip", "nsenter", "unshare", "bash")
    folder = tmp_path_factory.mktemp("cluster")
    token_file = folder / "token"
    token_file.write_text("a token that all of the cluster share\n")
    with ExitStack() as stack:
        one, two, centre = hosts = [stack.enter_context(FakeHost(name)) for name in ("one", "two", "centre")]
        underlay = stack.enter_context(Underlay(hosts))
        for host in (one, two):
            furnish(host)
        analyzers, agents = {}, {}
        for name, port, timeout in (("main", 8082, {}), ("impatient", 8083, {"agent_timeout": PATIENCE})):
            address = f"{underlay.addresses['centre']}:{port}"
            configuration = {
                "analyzer": {"listen": address, **timeout},
                "cluster": {"token_file": str(token_file)},
            }
            process = Process(centre, "analyzer", folder / name, configuration, "--insecure-listen", address=address)
            analyzers[address] = stack.enter_context(process)
        configuration = agent_configuration(list(analyzers), token_file)
        for host in (one, two):
            process = Process(host, "agent", folder / host.hostname, configuration, address=AGENT)
            agents[host.hostname] = stack.enter_context(process)
        started = [*analyzers.values(), *agents.values()]
        for process in started:
            process.spawn()
        for process in started:
            process.answered()
        main, impatient = analyzers.values()
        yield Cluster(one, two, centre, token_file, underlay.addresses, main, impatient, agents)


@pytest.fixture(autouse=True)
def _whole(cluster: Cluster) -> None:
    """Each test begins with both agents known to both analyzers."""
    for analyzer in (cluster.main, cluster.impatient):
        analyzer.until(lambda analyzer=analyzer: same_as_agents(analyzer, cluster), 60)  # type: ignore[misc]


def same_as_agents(analyzer: Process, cluster: Cluster) -> bool:
    """Whether the analyzer holds exactly what the agents do, and can vouch for it."""
    union: dict[str, str] = {}
    for agent in cluster.agents.values():
        union |= content(agent.elements())
    return content(analyzer.elements()) == union and stale(analyzer) == set()


def bare(elements: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Elements without what traffic changes, and what follows from its change."""
    return {
        id: {
            **{key: value for key, value in element.items() if key not in ("UpdatedAt", "Revision")},
            "Metadata": steady(element["Metadata"]),
        }
        for id, element in elements.items()
    }


def stale(process: Process, prefix: str = "G") -> set[str]:
    """IDs of all elements that nobody can vouch for."""
    found = [*process.query(f"{prefix}.V().Has('@Stale', true)"), *process.query(f"{prefix}.E().Has('@Stale', true)")]
    return {element["ID"] for element in found}


# ---------------------------------------------------------------------- what ``ip`` says, in the graph's words

FLAGS = {"UP", "BROADCAST", "LOOPBACK", "POINTOPOINT", "MULTICAST"}


def by_ip(host: FakeHost, namespace: str | None) -> dict[str, dict[str, Any]]:
    """The interfaces of one namespace by name, from two commands of iproute2."""
    where = [] if namespace is None else ["-n", namespace]
    links = json.loads(host.run("ip", *where, "-j", "-d", "link"))
    addresses = {link["ifindex"]: link for link in json.loads(host.run("ip", *where, "-j", "address"))}
    found = {}
    for link in links:
        known = addresses[link["ifindex"]].get("addr_info", [])
        found[link["ifname"]] = {
            "Name": link["ifname"],
            "IfIndex": link["ifindex"],
            "MTU": link["mtu"],
            "EncapType": link["link_type"],
            "State": link["operstate"],
            "Type": link.get("linkinfo", {}).get("info_kind", "device"),
            "MAC": link["address"] if link["link_type"] == "ether" else None,
            "LinkFlags": sorted(
                "POINTTOPOINT" if flag == "POINTOPOINT" else flag for flag in FLAGS & set(link["flags"])
            ),
            "IPV4": sorted(f"{one['local']}/{one['prefixlen']}" for one in known if one["family"] == "inet"),
            "IPV6": sorted(f"{one['local']}/{one['prefixlen']}" for one in known if one["family"] == "inet6"),
            "Master": link.get("master"),
        }
    return found


def by_graph(process: Process, host: str) -> dict[str | None, dict[str, dict[str, Any]]]:
    """The same of all namespaces of a host, from the graph; None is the host's own."""
    elements = process.elements().values()
    nodes = {node["ID"]: node for node in elements if node["Host"] == host and "Parent" not in node}
    edges = [edge for edge in elements if edge["Host"] == host and "Parent" in edge]
    masters = {}
    for edge in edges:
        if edge["Metadata"] == {"RelationType": "layer2"}:
            masters[edge["Child"]] = nodes[edge["Parent"]]["Metadata"]["Name"]
    found: dict[str | None, dict[str, dict[str, Any]]] = {}
    for edge in edges:
        owner, child = nodes[edge["Parent"]]["Metadata"], nodes[edge["Child"]]["Metadata"]
        if edge["Metadata"]["RelationType"] != "ownership":
            continue
        if child["Type"] == "netns":
            assert owner["Type"] == "host"
            found.setdefault(child["Name"], {})
            continue
        keys = ("Name", "IfIndex", "MTU", "EncapType", "State", "Type")
        found.setdefault(None if owner["Type"] == "host" else owner["Name"], {})[child["Name"]] = {
            **{key: child[key] for key in keys},
            "MAC": child.get("MAC") if child["EncapType"] == "ether" else None,
            "LinkFlags": sorted(child["LinkFlags"]),
            "IPV4": sorted(child.get("IPV4", [])),
            "IPV6": sorted(child.get("IPV6", [])),
            "Master": masters.get(edge["Child"]),
        }
    return found


def by_witness(host: FakeHost) -> dict[str | None, dict[str, dict[str, Any]]]:
    names = [entry["name"] for entry in json.loads(host.run("ip", "-j", "netns") or "[]")]
    return {namespace: by_ip(host, namespace) for namespace in (None, *names)}


def owned(process: Process, owner: str) -> dict[str, dict[str, Any]]:
    """The nodes right below a node, by name."""
    below = process.query(f"G.V('{owner}').OutE('RelationType', 'ownership').OutV()")
    return {node["Metadata"]["Name"]: node for node in below}


def the(process: Process, **metadata: Any) -> dict[str, Any] | None:
    """The only node with this metadata (``Host`` is the element's); None when there is none."""
    host = metadata.pop("Host", None)
    has = ", ".join(f"'{key}', {json.dumps(value)}" for key, value in metadata.items())
    nodes = [node for node in process.query(f"G.V().Has({has})") if host in (None, node["Host"])]
    assert len(nodes) < 2, nodes
    return nodes[0] if nodes else None


# ---------------------------------------------------------------------- one graph


def test_the_analyzer_shows_what_each_kernel_shows(cluster: Cluster) -> None:
    for host in (cluster.one, cluster.two):
        for process in (cluster.agents[host.hostname], cluster.main, cluster.impatient):
            witness = by_witness(host)
            assert set(witness) == {None, *INNER}
            assert by_graph(process, host.hostname) == witness


def test_what_has_the_same_name_on_two_hosts_is_two_things(cluster: Cluster) -> None:
    main = cluster.main
    seen: dict[str, dict[str, str]] = {"one": {}, "two": {}}
    for host, ids in seen.items():
        for number, name in enumerate(INNER, 1):
            netns = the(main, Host=host, Type="netns", Name=name)
            assert netns is not None
            inner = owned(main, netns["ID"])["eth0"]
            assert inner["Metadata"]["MAC"] == f"02:00:00:00:00:0{number}"
            assert inner["Metadata"]["IPV4"] == [f"10.201.0.{number}/24"]
            ids |= {
                name: netns["ID"],
                f"eth0 in {name}": inner["ID"],
                f"lo in {name}": owned(main, netns["ID"])["lo"]["ID"],
            }
        for name in ("lo", "eth0", "br0"):
            (root,) = main.query(f"G.V().Has('Type', 'host', 'Name', '{host}')")
            ids[name] = owned(main, root["ID"])[name]["ID"]
    assert not set(seen["one"].values()) & set(seen["two"].values())
    for name in INNER:
        assert main.query(f"G.V().Has('Type', 'netns', 'Name', '{name}').Count()") == 2
    # No wire leads from one host's things to the other's.
    elements = main.elements()
    assert {element["Host"] for element in elements.values()} == {"one", "two"}
    edges = [element for element in elements.values() if "Parent" in element]
    assert edges
    for edge in edges:
        assert elements[edge["Parent"]]["Host"] == elements[edge["Child"]]["Host"] == edge["Host"]


def test_the_ends_of_a_veth_are_linked_across_namespaces(cluster: Cluster) -> None:
    for host in ("one", "two"):
        for name in INNER:
            outer = the(cluster.main, Host=host, Name=f"to-{name}")
            netns = the(cluster.main, Host=host, Type="netns", Name=name)
            assert outer is not None
            assert netns is not None
            inner = owned(cluster.main, netns["ID"])["eth0"]
            wires = [
                {edge["Parent"], edge["Child"]}
                for edge in cluster.main.query("G.E().Has('RelationType', 'layer2', 'Type', 'veth')")
                if outer["ID"] in (edge["Parent"], edge["Child"])
            ]
            assert wires == [{outer["ID"], inner["ID"]}]


# ---------------------------------------------------------------------- changes


def test_a_namespace_made_and_deleted_20_times_gives_20_ids(cluster: Cluster) -> None:
    main = cluster.main
    lives: list[dict[str, Any]] = []
    for _ in range(20):
        cluster.one.run("ip", "netns", "add", "brief")
        made = main.until(lambda: the(main, Type="netns", Name="brief"))
        assert made is not None
        lives.append(made)
        cluster.one.run("ip", "netns", "delete", "brief")
        main.until(lambda: the(main, Type="netns", Name="brief") is None)
    assert len({life["ID"] for life in lives}) == 20
    now = max(life["UpdatedAt"] for life in lives) + 60_000
    span = f"{now - lives[0]['CreatedAt'] + 1}ms"

    def ended() -> list[dict[str, Any]] | None:
        """All of them as history has them in the end: deleted, each at its time."""
        # Every revision of that time, in the order of their times: the last one of each is how it ended.
        found = main.query(f"G.At({now}, '{span}').V().Has('Type', 'netns', 'Name', 'brief')")
        last = {life["ID"]: life for life in found}
        return list(last.values()) if len(last) == 20 and all(life["DeletedAt"] for life in last.values()) else None

    tombstones = {life["ID"]: life for life in main.until(ended) or ()}
    assert set(tombstones) == {life["ID"] for life in lives}
    for before, after in pairwise(lives):
        assert tombstones[before["ID"]]["DeletedAt"] <= after["CreatedAt"]
    for life in lives:
        then = main.query(f"G.At({life['UpdatedAt']}).V().Has('Type', 'netns', 'Name', 'brief')")
        assert [(one["ID"], one["DeletedAt"]) for one in then] == [(life["ID"], None)]
    main.until(lambda: same_as_agents(main, cluster))


def test_an_interface_is_moved_renamed_and_deleted(cluster: Cluster) -> None:
    main, host = cluster.main, cluster.two
    host.run("ip", "link", "add", "wanderer", "type", "veth", "peer", "name", "stays")
    before = main.until(lambda: the(main, Name="wanderer"))
    stays = main.until(lambda: the(main, Name="stays"))
    assert before is not None
    assert stays is not None
    (vm1,) = (node for node in main.query("G.V().Has('Type', 'netns', 'Name', 'vm1')") if node["Host"] == "two")

    # In another namespace it is another thing, and the wire follows it.
    host.run("ip", "link", "set", "wanderer", "netns", "vm1")
    main.until(lambda: "wanderer" in owned(main, vm1["ID"]))
    moved = owned(main, vm1["ID"])["wanderer"]
    assert moved["ID"] != before["ID"]
    main.until(lambda: before["ID"] not in main.elements())
    main.until(lambda: neighbours(main, stays["ID"]) == {moved["ID"]})

    # Under another name it is the same thing, at the same place with another name.
    host.run("ip", "-n", "vm1", "link", "set", "wanderer", "name", "renamed")
    main.until(lambda: "renamed" in owned(main, vm1["ID"]))
    renamed = owned(main, vm1["ID"])["renamed"]
    assert renamed["ID"] == moved["ID"]
    assert renamed["Revision"] > moved["Revision"]
    assert renamed["CreatedAt"] == moved["CreatedAt"]
    assert renamed["Metadata"]["TID"] != moved["Metadata"]["TID"]
    assert neighbours(main, stays["ID"]) == {moved["ID"]}

    # Deleted it takes its other end and all edges with it, and history keeps them.
    host.run("ip", "link", "delete", "stays")
    main.until(lambda: not main.elements().keys() & {renamed["ID"], stays["ID"]})
    past = main.elements(f"G.At({renamed['UpdatedAt']})")
    assert past[renamed["ID"]]["Metadata"]["Name"] == "renamed"
    assert any({edge.get("Parent"), edge.get("Child")} == {stays["ID"], renamed["ID"]} for edge in past.values())
    earlier = main.elements(f"G.At({moved['CreatedAt']})")
    assert earlier[moved["ID"]]["Metadata"]["Name"] == "wanderer"
    main.until(lambda: same_as_agents(main, cluster))
    assert by_graph(main, "two") == by_witness(host)


def neighbours(process: Process, id: str) -> set[str]:
    """IDs of the nodes at the other ends of a node's layer-2 edges."""
    edges = process.query(f"G.V('{id}').BothE('RelationType', 'layer2')")
    return {end for edge in edges for end in (edge["Parent"], edge["Child"])} - {id}


# ---------------------------------------------------------------------- an agent dies


def test_an_agent_that_is_killed_and_comes_back(cluster: Cluster) -> None:
    """One analyzer still waits for it when it is back, the other has given it up."""
    main, impatient, agent = cluster.main, cluster.impatient, cluster.agents["two"]
    known_main, known_impatient = main.elements(), impatient.elements()
    of_two = {id for id, element in known_main.items() if element["Host"] == "two"}
    assert of_two

    agent.kill9()
    main.until(lambda: stale(main) == of_two, seconds=5)
    assert bare(main.elements()) == bare(known_main)
    (reason,) = [entry["Reason"] for entry in main.status()["Graph"]["Stale"]]
    assert "link" in reason
    impatient.until(lambda: not of_two & impatient.elements().keys(), seconds=PATIENCE + 5)
    assert bare(impatient.elements()) == bare({id: known_impatient[id] for id in known_impatient if id not in of_two})

    agent.start()
    for analyzer in (main, impatient):
        analyzer.until(lambda analyzer=analyzer: same_as_agents(analyzer, cluster))  # type: ignore[misc]
    # Who had waited saw nothing happen but traffic: the new inventory reads the counters anew.
    now = main.elements()
    assert bare(now) == bare(known_main)
    for id, element in known_main.items():
        if now[id]["Metadata"] == element["Metadata"]:
            assert now[id]["Revision"] == element["Revision"]
    assert {id for id in of_two if now[id]["Revision"] == known_main[id]["Revision"]} >= {
        id for id in of_two if "IfIndex" not in now[id]["Metadata"]
    }
    # Who had given up goes on counting where it stopped: the deletion is one revision, the return another.
    came_back = impatient.elements()
    for id in of_two:
        assert came_back[id]["Revision"] >= known_impatient[id]["Revision"] + 2
        assert came_back[id]["CreatedAt"] > known_impatient[id]["CreatedAt"]
    assert came_back.keys() == known_impatient.keys()


def test_the_state_of_an_agent_is_history_too(cluster: Cluster) -> None:
    """While the agent was dead, its elements were stale, and that can be asked for afterwards."""
    main, agent = cluster.main, cluster.agents["one"]
    of_one = {id for id, element in main.elements().items() if element["Host"] == "one"}
    agent.kill9()
    main.until(lambda: stale(main) == of_one, seconds=5)
    (since,) = [entry["Since"] for entry in main.status()["Graph"]["Stale"]]
    agent.start()
    main.until(lambda: same_as_agents(main, cluster))
    main.until(lambda: stale(main, f"G.At({since})") == of_one)
    assert stale(main, f"G.At({since - 1})") == set()
    assert stale(main, "G.At(NOW)") == set()


# ---------------------------------------------------------------------- who may listen, and who may speak


@pytest.mark.parametrize("role", ["analyzer", "agent"])
def test_nobody_listens_to_others_unless_told_so(cluster: Cluster, role: str, tmp_path: Path) -> None:
    address = f"{cluster.addresses['centre']}:9000"
    configuration = {role: {"listen": address}, "cluster": {"token_file": str(cluster.token_file)}}
    with Process(cluster.centre, role, tmp_path, configuration, address=address) as process:
        assert process.spawn().wait() == 1
        assert f"{role}.listen is {address}, which others can reach" in process.log()
        assert "--insecure-listen" in process.log()
        assert "Traceback" not in process.log()


@pytest.mark.parametrize("token", ["another token than the cluster's", None])
def test_an_agent_without_the_clusters_token_is_shut_out(cluster: Cluster, token: str | None, tmp_path: Path) -> None:
    wrong = None if token is None else tmp_path / "token"
    if wrong is not None and token is not None:
        wrong.write_text(token)
    analyzer = f"{cluster.addresses['centre']}:8082"
    configuration = agent_configuration([analyzer], wrong)
    configuration["host_id"] = "stranger"
    configuration["agent"]["listen"] = "127.0.0.1:8091"
    with Process(cluster.one, "agent", tmp_path, configuration, address="127.0.0.1:8091").start() as stranger:
        error = stranger.until(lambda: stranger.status()["Analyzers"][analyzer]["Error"])
        assert "401" in error
        assert "cluster.token_file" in error
        assert stranger.status()["Analyzers"][analyzer]["IsConnected"] is False
        # It is well otherwise, and has something to tell.
        assert stranger.until(lambda: by_graph(stranger, "stranger") == by_witness(cluster.one))
        assert cluster.main.query("G.V().Has('@Host', 'stranger').Count()") == 0
        assert not any("stranger" in name for name in cluster.main.status()["Agents"])
    assert until(lambda: same_as_agents(cluster.main, cluster))
