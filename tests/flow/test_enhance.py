"""Flows get what the graph knows of their ends, as soon as it knows it, and nothing that it cannot tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.flow.ends import EndSeen
from skycore.flow.enhance import Enhancer
from skycore.graph.claims import Claim
from skycore.graph.element import canonical_metadata
from skycore.graph.graph import Graph


class Lab:
    """Two hosts; on ``h1`` a container behind a veth pair and a bridge, whose addresses ``h2`` has as well."""

    def __init__(self) -> None:
        self.graph = Graph(host="h1", origin="agent.h1", with_tids=False)
        self.now = 0.0
        self.enhancer = Enhancer(self.graph, clock=lambda: self.now)
        for host in ("h1", "h2"):
            self.node(host, f"{host}", Type="host", Name=host)
            self.node(host, f"{host}-eth0", host, Type="device", Name="eth0", MAC=f"00:00:00:00:00:{host}", IPV4=[
                f"192.168.0.{host[1]}/24"])  # fmt: skip
            self.node(host, f"{host}-br", host, Type="bridge", Name="docker0", MAC="02:00:00:00:00:01",
                      IPV4=["172.17.0.1/16"])  # fmt: skip
            self.node(host, f"{host}-veth", host, Type="veth", Name="veth1", MAC="02:00:00:00:00:02")
            self.node(host, f"{host}-ns", host, Type="netns", Name=f"web-{host}")
            self.node(host, f"{host}-c", f"{host}-ns", Type="container", Name=f"web-{host}")
            self.node(host, f"{host}-ns-eth0", f"{host}-ns", Type="veth", Name="eth0", MAC="02:42:ac:11:00:02",
                      IPV4=["172.17.0.2/16"], IPV6=["fd00::2/64"])  # fmt: skip
            self.node(host, f"{host}-ns-lo", f"{host}-ns", Type="device", Name="lo", IPV4=["127.0.0.1/8"])

    def node(self, host: str, id: str, owner: str | None = None, **metadata: Any) -> None:
        content = canonical_metadata({"TID": f"tid-{id}", **metadata})
        self.graph.claimant("test").say(Claim("test", "test", id, True, content, host=host, origin=f"agent.{host}"))
        if owner is not None:
            self.edge(owner, id, "ownership")

    def edge(self, parent: str, child: str, relation: str) -> None:
        self.graph.claimant("test").link(parent, child, relation)

    def enhanced(self, flow: Mapping[str, Any]) -> dict[str, Any]:
        self.now += 2
        found: dict[str, Any] = json.loads(self.enhancer.enhance(json.dumps(flow).encode()))
        assert {**found, **flow} == found
        return found


@pytest.fixture
def lab() -> Lab:
    return Lab()


def flow(at: str, a: tuple[str, str, int], b: tuple[str, str, int], protocol: str = "TCP") -> dict[str, Any]:
    return {
        "UUID": "1",
        "Link": {"Protocol": "ETHERNET", "A": a[0], "B": b[0], "ID": 0},
        "Network": {"Protocol": "IPV4", "A": a[1], "B": b[1], "ID": 0},
        "Transport": {"Protocol": protocol, "A": a[2], "B": b[2], "ID": 0},
        "NodeTID": f"tid-{at}",
    }


WEB = ("02:42:ac:11:00:02", "172.17.0.2", 80)
BRIDGE = ("02:00:00:00:00:01", "172.17.0.1", 40000)
FAR = ("02:00:00:00:00:01", "8.8.8.8", 53)


def test_where_captured_from_and_to(lab: Lab) -> None:
    found = lab.enhanced(flow("h2-br", BRIDGE, WEB))
    assert found["At"] == {
        "Node": "tid-h2-br", "Name": "docker0", "Type": "bridge", "Host": "h2",
    }  # fmt: skip
    assert found["From"] == found["At"]
    assert found["To"] == {
        "Node": "tid-h2-ns-eth0", "Name": "eth0", "Type": "veth", "Host": "h2",
        "Namespace": "web-h2", "Container": "web-h2",
    }  # fmt: skip


def test_what_is_outside_is_not_its_router(lab: Lab) -> None:
    """8.8.8.8 comes with the MAC address of the bridge."""
    found = lab.enhanced(flow("h1-ns-eth0", WEB, FAR))
    assert found["From"]["Container"] == "web-h1"
    assert "To" not in found


def test_several_that_would_do_are_none(lab: Lab) -> None:
    """172.17.0.2 is on both hosts, and the flow was seen on neither."""
    lab.node("h3", "h3", Type="host", Name="h3")
    lab.node("h3", "h3-eth0", "h3", Type="device", Name="eth0")
    assert not {"From", "To"} & lab.enhanced(flow("h3-eth0", WEB, FAR)).keys()
    assert not {"At", "From", "To"} & lab.enhanced(flow("unknown", WEB, FAR)).keys()


def test_the_loopback_is_where_it_was_seen(lab: Lab) -> None:
    found = lab.enhanced(flow("h1-ns-lo", ("", "127.0.0.1", 1), ("", "127.0.0.1", 2)))
    assert found["At"]["Node"] == found["From"]["Node"] == found["To"]["Node"] == "tid-h1-ns-lo"


def test_a_machine_behind_a_tap_is_found_by_its_mac(lab: Lab) -> None:
    lab.node("h1", "h1-tap", "h1", Type="tun", Name="tap0", MAC="fe:00:00:00:00:09", PeerIntfMAC="52:54:00:00:00:09")
    found = lab.enhanced(flow("h1-br", ("52:54:00:00:00:09", "172.17.0.9", 5), WEB))
    assert found["From"]["Node"] == "tid-h1-tap"
    arp = {"UUID": "2", "NodeTID": "tid-h1-br", "Link": {"A": "52:54:00:00:00:09", "B": "ff:ff:ff:ff:ff:ff"}}
    assert lab.enhanced(arp)["From"]["Name"] == "tap0"


def test_pods_and_services(lab: Lab) -> None:
    lab.node("h1", "pod", Type="pod", Name="web-7d4", Manager="k8s")
    lab.node("h1", "service", Type="service", Name="web", Manager="k8s", K8s={"ClusterIP": "10.96.0.10"})
    lab.edge("pod", "h1-c", "pod")
    lab.edge("service", "pod", "service")
    to = lab.enhanced(flow("h1-br", BRIDGE, WEB))["To"]
    assert (to["Pod"], to["Service"], to["Container"]) == ("web-7d4", "web", "web-h1")
    to = lab.enhanced(flow("h1-br", BRIDGE, ("02:00:00:00:00:02", "10.96.0.10", 80)))["To"]
    assert (to["Service"], to["Type"]) == ("web", "service")


def socket(name: str, here: str, port: int, there: str, to: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"Name": name, "Process": f"/bin/{name}", "LocalAddress": here, "LocalPort": port, "Protocol": protocol,
            "RemoteAddress": there, "RemotePort": to, "State": "ESTABLISHED", "Pid": 1}  # fmt: skip


def test_processes_by_their_sockets(lab: Lab) -> None:
    def has(*sockets: dict[str, Any]) -> None:
        lab.node("h1", "h1-ns", "h1", Type="netns", Name="web-h1", Sockets=list(sockets))

    def process(said: dict[str, Any]) -> str | None:
        found: str | None = lab.enhanced(said)["To"].get("Process")
        return found

    said = flow("h1-br", BRIDGE, WEB)
    assert process(said) is None
    has(socket("nginx", "0.0.0.0", 80, "0.0.0.0", 0))
    assert process(said) == "nginx"
    has(socket("nginx", "::", 80, "::", 0), socket("worker", "172.17.0.2", 80, "172.17.0.1", 40000))
    assert process(said) == "worker"
    assert process(flow("h1-br", BRIDGE, WEB, "UDP")) is None
    back = lab.enhanced(flow("h1-br", WEB, BRIDGE))
    assert (back["From"]["Process"], back["To"].get("Process")) == ("worker", None)
    has({"Name": 5})
    assert process(said) is None


def test_topology_that_comes_late_and_goes(lab: Lab) -> None:
    late = ("52:54:00:00:00:01", "10.9.9.9", 7)
    said = flow("h1-br", BRIDGE, late)
    assert "To" not in lab.enhanced(said)
    lab.node("h1", "late", "h1-ns", Type="veth", Name="late0", IPV4=["10.9.9.9/32"])
    known = lab.enhanced(said)
    assert (known["To"]["Name"], known["To"]["Container"]) == ("late0", "web-h1")
    lab.graph.claimant("test").drop("h1-c")
    assert "Container" not in lab.enhanced(said)["To"]
    lab.graph.claimant("test").drop("late")
    assert "To" not in lab.enhanced(said)
    assert lab.enhanced(known) == known


def test_counters_change_nothing(lab: Lab) -> None:
    said = flow("h1-br", BRIDGE, WEB)
    lab.enhanced(said)
    asked: list[EndSeen] = []

    def ask(end: EndSeen) -> dict[str, str]:
        asked.append(end)
        return {}

    lab.enhancer.use([("counts", Says(ask))])
    lab.enhanced(said)
    assert [end.side for end in asked] == ["At", "From", "To"]
    lab.node("h1", "h1-br", Type="bridge", Name="docker0", MAC="02:00:00:00:00:01", IPV4=["172.17.0.1/16"],
             Metric={"RxBytes": 9})  # fmt: skip
    lab.enhanced(said)
    assert len(asked) == 3
    lab.node("h1", "h1-br", Type="bridge", Name="docker1", MAC="02:00:00:00:00:01", IPV4=["172.17.0.1/16"])
    assert lab.enhanced(said)["At"]["Name"] == "docker1"
    assert len(asked) == 6


class Says:
    def __init__(self, says: Any) -> None:
        self.describe = says


def test_what_others_know_is_added(lab: Lab) -> None:
    def tenant(end: EndSeen) -> dict[str, Any]:
        return {"Tenant": "blue", "Name": "not yours"} if end.address == "8.8.8.8" or "IPV4" in end.metadata else {}

    lab.enhancer.use([("sdn", Says(tenant)), ("second", Says(lambda end: {"Tenant": "red", "Zone": [1]}))])
    found = lab.enhanced(flow("h1-ns-eth0", WEB, FAR))
    assert (found["From"]["Tenant"], found["From"]["Name"]) == ("blue", "eth0")
    assert found["To"] == {"Tenant": "blue", "Zone": [1]}


@pytest.mark.parametrize("fault", [lambda end: 1 / 0, lambda end: {"x": object()}, lambda end: None])
def test_one_that_fails_is_left_out(lab: Lab, fault: Any) -> None:
    lab.enhancer.use([("bad", Says(fault)), ("good", Says(lambda end: {"Zone": "z"}))])
    for _ in range(2):
        found = lab.enhanced(flow("h1-ns-eth0", WEB, FAR))
        assert (found["From"]["Container"], found["From"]["Zone"]) == ("web-h1", "z")
    assert list(lab.enhancer.faults) == ["bad"]


values = st.recursive(
    st.one_of(st.none(), st.integers(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["UUID", "At", "Link", "Network", "Transport", "A", "NodeTID"]), inner, max_size=4
        ),
    ),
)


@given(st.one_of(st.binary(max_size=40), values.map(lambda one: json.dumps(one).encode())))
def test_what_is_no_record_stays_as_it_is(said: bytes) -> None:
    lab = Lab()
    found = lab.enhancer.enhance(said)
    assert found == said or json.loads(found).keys() > json.loads(said).keys()


async def test_catching_up_in_slices_sees_all() -> None:
    lab = Lab()
    for number in range(2000):
        lab.node("h1", f"n{number}", Type="device", Name="x", IPV4=[f"10.5.{number >> 8}.{number & 255}/8"])
    await lab.enhancer.settle()
    said = flow("h1-br", ("", "10.5.7.207", 1), WEB)
    assert json.loads(lab.enhancer.enhance(json.dumps(said).encode()))["From"]["Node"] == "tid-n1999"
