"""Injections as API objects: what may stand in them, where packets go, and that they are sent once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from skycore.errors import InjectionError, InvalidResource, Refusal
from skycore.graph.claims import Claim
from skycore.graph.element import canonical_metadata
from skycore.gremlin import Planner
from skycore.injection.order import Inject, Injected, Injection, Withdraw
from skycore.rule.injecting import InjectionApi
from skycore.rule.injection import InjectionPolicy, injection_kind
from skycore.rule.resolving import resolve
from tests.rule.ruled import Ruled, plain, ruled

KIND = injection_kind(Planner(), InjectionPolicy(max_count=50))
SRC = "G.V().Has('Name', 'eth0')"
NODE = {
    "Name": "eth0",
    "EncapType": "ether",
    "IfIndex": 2,
    "MAC": "02:00:00:00:00:01",
    "IPV4": ["10.0.0.1/24", "10.0.1.1/24"],
    "IPV6": ["fe80::1/64", "2001:db8::1/64"],
    "RoutingTables": [
        {
            "ID": 254,
            "Routes": [
                {"Prefix": "10.0.0.0/24", "NextHops": [{"IfIndex": 2}]},
                {"Prefix": "192.0.2.0/24", "NextHops": [{"IP": "10.0.0.254", "IfIndex": 2}]},
                {"Prefix": "198.51.100.0/24", "NextHops": [{"IP": "10.0.0.253", "IfIndex": 2}]},
            ],
        }
    ],
    "Neighbors": [{"IP": "10.0.0.254", "MAC": "02:00:00:00:00:fe", "State": ["NUD_REACHABLE"], "IfIndex": 2}],
}
TARGET = {"MAC": "02:00:00:00:00:02", "IPV4": ["10.0.0.2/24"], "IPV6": ["2001:db8::2/64", "fe80::2/64"]}


def read(**fields: Any) -> dict[str, Any]:
    return KIND.read({"Src": SRC, "Type": "icmp4", **fields}, "u")


def sent(
    source: Mapping[str, Any] = NODE,
    target: Mapping[str, Any] | None = TARGET,
    owners: Callable[[str], Sequence[Mapping[str, Any]]] = lambda _address: (),
    **fields: Any,
) -> Injection:
    (found,) = resolve(read(**fields), "u", [source], target, refused=(), owners=owners)
    return found


def test_every_field_is_there_with_its_default() -> None:
    assert read() == {
        **{"UUID": "u", "Src": SRC, "Dst": "", "SrcIP": "", "DstIP": "", "SrcMAC": "", "DstMAC": ""},
        **{"SrcPort": 0, "DstPort": 0, "Type": "icmp4", "Payload": "", "ICMPID": 0, "Count": 0, "Interval": 0},
        **{"Mode": "unique", "IncrementPayload": 0, "StartTime": "0001-01-01T00:00:00Z", "Pcap": None, "TTL": 64},
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Type": ""}, "given type is not supported"),
        ({"Type": "icmp4", "Pcap": "!"}, "Pcap: is not base64"),
        ({"Type": "gre4", "Pcap": "AAAA"}, "given type is not supported"),
        ({"Pcap": 5}, "Pcap: must be a string"),
        ({"Pcap": "A" * (6 << 20)}, "Pcap: has"),
        ({"Src": ""}, "Src: a query is needed"),
        ({"Src": "G.V().Count()"}, "must give nodes"),
        ({"Dst": "G.At('-1h').V()"}, "about the present"),
        ({"DstIP": "10.0.0.x"}, "is no IP address"),
        ({"SrcIP": "::1"}, "is no IPv4 address"),
        ({"DstMAC": "02-00"}, "is no MAC address"),
        ({"Count": 51}, "from 0 to 50"),
        ({"TTL": 256}, "TTL: must be"),
        ({"IncrementPayload": -1}, "IncrementPayload: must be"),
        ({"Payload": "é" * 33_000}, "Payload: has more"),
        ({"Mode": "fast"}, "Mode: must be one of"),
    ],
)
def test_what_is_wrong_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        read(**fields)
    assert reason in refused.value.text


def test_addresses_are_the_nodes_first_ones_of_one_scope() -> None:
    assert (sent().SrcIP, sent().DstIP) == ("10.0.0.1", "10.0.0.2")
    assert (sent(Type="udp6").SrcIP, sent(Type="udp6").DstIP) == ("2001:db8::1", "2001:db8::2")
    local = {**TARGET, "IPV6": ["fe80::2/64"]}
    assert (sent(target=local, Type="udp6").SrcIP, sent(target=local, Type="udp6").DstIP) == ("fe80::1", "fe80::2")
    neutron = {**NODE, "Neutron": {"IPV4": ["172.16.0.1/24"]}}
    assert sent(neutron).SrcIP == "172.16.0.1"
    assert sent(SrcIP="10.9.9.9/30", DstIP="10.0.0.254/24").SrcIP == "10.9.9.9"


def test_the_next_hop_gives_the_mac() -> None:
    assert sent().DstMAC == TARGET["MAC"]
    assert sent(DstIP="192.0.2.7").DstMAC == "02:00:00:00:00:fe"
    assert sent(DstMAC="02:00:00:00:00:99").DstMAC == "02:00:00:00:00:99"
    attached = {**TARGET, "ExtID": {"attached-mac": "02:00:00:00:00:aa"}}
    assert sent(target=attached).DstMAC == "02:00:00:00:00:aa"
    assert sent({**NODE, "ExtID": {"attached-mac": "02:00:00:00:00:bb"}}).SrcMAC == "02:00:00:00:00:bb"
    # A router that is no neighbour: the one node with its address, never the target.
    asked: list[str] = []

    def owners(address: str) -> Sequence[Mapping[str, Any]]:
        asked.append(address)
        return [{"MAC": "02:00:00:00:00:fd"}]

    assert sent(DstIP="198.51.100.7", owners=owners).DstMAC == "02:00:00:00:00:fd"
    assert asked == ["10.0.0.253/24"]
    two = [{"MAC": "02:00:00:00:00:fd"}, {"MAC": "02:00:00:00:00:fc"}]
    unknown = r"Failed to resolve destination MAC address: the next hop 10\.0\.0\.253"
    with pytest.raises(InvalidResource, match=unknown):
        sent(DstIP="198.51.100.7", owners=lambda _address: two)
    with pytest.raises(InvalidResource, match=unknown):
        sent(DstIP="198.51.100.7")


def test_groups_loops_and_what_has_no_ethernet() -> None:
    assert sent(DstIP="224.1.2.3").DstMAC == "01:00:5e:01:02:03"
    assert sent(DstIP="239.129.2.3").DstMAC == "01:00:5e:01:02:03"
    assert sent(Type="icmp6", DstIP="ff02::1:ff00:7").DstMAC == "33:33:ff:00:00:07"
    assert sent(DstIP="10.0.0.255").DstMAC == sent(DstIP="255.255.255.255").DstMAC == "ff:ff:ff:ff:ff:ff"
    loop = {"EncapType": "loopback", "IPV4": ["127.0.0.1/8"]}
    assert (sent(loop, loop).SrcMAC, sent(loop, loop).DstMAC) == ("00:00:00:00:00:00",) * 2
    tunnel = {"EncapType": "none", "IPV4": ["10.0.0.1/24"]}
    assert (sent(tunnel).SrcMAC, sent(tunnel).DstMAC) == ("", "")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ({**NODE, "IPV4": []}, TARGET, "No source IP in node"),
        (NODE, None, "No destination node and IP"),
        (NODE, {"MAC": "02:00:00:00:00:02"}, "No destination IP in node"),
        ({**NODE, "MAC": ""}, TARGET, "No source MAC in node"),
        (NODE, {"IPV4": ["10.0.0.2/24"]}, "Failed to resolve destination MAC address"),
    ],
)
def test_what_cannot_be_found_is_named(source: dict[str, Any], target: dict[str, Any] | None, reason: str) -> None:
    with pytest.raises(InvalidResource, match=reason):
        sent(source, target)


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(1, 200))
def test_in_the_mode_unique_no_two_nodes_send_the_same(id: int, port: int, count: int) -> None:
    found = resolve(read(ICMPID=id, SrcPort=port), "u", [NODE] * count, TARGET, refused=(), owners=lambda _a: ())
    assert len({one.ICMPID for one in found}) == count
    assert max(1, id) == found[0].ICMPID
    assert all(1 <= one.ICMPID <= 65535 for one in found)
    assert {one.SrcPort for one in found} == {0} if port == 0 else len({one.SrcPort for one in found}) == count


plain_values = st.none() | st.integers() | st.text(max_size=5)
words = st.text(max_size=5)


@given(st.recursive(plain_values, lambda inner: st.lists(inner) | st.dictionaries(words, inner)))
def test_any_metadata_is_resolved_or_refused(value: Any) -> None:
    for key in ("IPV4", "MAC", "RoutingTables", "Neighbors", "Neutron", "ExtID", "EncapType"):
        try:
            sent({**NODE, key: value}, {**TARGET, key: value})
        except InvalidResource:
            pass


# One analyzer


class Agents:
    """Agents that answer as ``answer`` says."""

    def __init__(self) -> None:
        self.on_report: Callable[[str, Injected], None] = lambda _origin, _report: None
        self.on_lost: Callable[[str], None] = lambda _origin: None
        self.asked: list[Inject | Withdraw] = []
        self.answer: Callable[[Inject], Injected | None] = lambda order: Injected(
            order.injection.UUID, order.node, "active", 1, ["f00"], ["d00"]
        )

    def send(self, origin: str, message: Inject | Withdraw) -> None:
        if origin != "agent.h":
            raise InjectionError("is not connected")
        self.asked.append(message)
        if isinstance(message, Inject):
            told = self.answer(message)
            if told is not None:
                self.on_report(origin, told)


def put(world: Ruled, id: str, host: str = "h", **more: Any) -> None:
    """An interface as it comes from an agent."""
    origin, content = f"agent.{host}", canonical_metadata({**NODE, "Type": "veth", **more})
    world.agent(host).say(Claim(origin, "agent", id, True, content, host=host, origin=origin))


@asynccontextmanager
async def injecting(
    folder: Path, policy: InjectionPolicy | None = None
) -> AsyncIterator[tuple[Ruled, Agents, InjectionApi, list[tuple[str, Any]]]]:
    async with ruled(folder) as world, trio.open_nursery() as nursery:
        for number in (1, 2):
            put(world, f"n{number}")
        agents, told = Agents(), list[tuple[str, Any]]()
        limits = policy or InjectionPolicy()
        api = InjectionApi(world.store, injection_kind(world.queries.planner, limits), world.queries, agents, limits)
        api.notify = lambda _namespace, type, obj: told.append((type, msgspec.json.decode(obj)))
        await nursery.start(api.run)
        await nursery.start(world.store.run)
        yield world, agents, api, told
        nursery.cancel_scope.cancel()


ONE = {"Src": "G.V('n1')", "Type": "icmp4", "DstIP": "10.0.0.9", "DstMAC": "02:00:00:00:00:09"}


async def test_what_is_created_is_sent_once_and_followed(tmp_path: Path) -> None:
    async with injecting(tmp_path) as (world, agents, api, told):
        made = plain(await api.create(ONE))
        assert (made["TrackingID"], made["TrackingIDs"], made["L3TrackingIDs"]) == ("f00", ["f00"], ["d00"])
        assert made["Nodes"] == [{"NodeID": "n1", "State": "active", "PacketCount": 1}]
        put(world, "n1", More=1)
        agents.on_report("agent.h", Injected(made["UUID"], "n1", "done", 7, ["f01"]))
        agents.on_report("agent.other", Injected(made["UUID"], "n1", "error", 9, reason="not yours"))
        shown = plain(api.get(made["UUID"]))
        assert (shown["Nodes"], shown["TrackingIDs"]) == (
            [{"NodeID": "n1", "State": "done", "PacketCount": 7}],
            ["f00", "f01"],
        )
        assert len(agents.asked) == 1
        await api.delete(made["UUID"])
        await trio.testing.wait_all_tasks_blocked()
        assert [type for type, _ in told] == ["NodeUpdated", "Added", "NodeUpdated", "Deleted"]
        assert {obj["UUID"] for _, obj in told} == {made["UUID"]}


async def test_one_that_runs_is_withdrawn_when_it_is_deleted_or_its_agent_is_lost(tmp_path: Path) -> None:
    async with injecting(tmp_path) as (_world, agents, api, _told):
        made, other = plain(await api.create(ONE)), plain(await api.create(ONE))
        await api.delete(made["UUID"])
        await trio.testing.wait_all_tasks_blocked()
        assert agents.asked[-1] == Withdraw(made["UUID"])
        agents.on_lost("agent.h")
        (node,) = plain(api.get(other["UUID"]))["Nodes"]
        assert (node["State"], node["Error"]) == ("error", "the link to the agent was lost")


async def test_when_nothing_is_sent_nothing_is_kept(tmp_path: Path) -> None:
    async with injecting(tmp_path) as (world, agents, api, told):
        agents.answer = lambda order: Injected(order.injection.UUID, order.node, "error", reason="it is down")
        with pytest.raises(InvalidResource, match="nothing was sent: it is down"):
            await api.create({**ONE, "Src": "G.V().Has('Name', 'eth0')"})
        put(world, "n3", "far", Name="eth9")
        with pytest.raises(InvalidResource, match="is not connected"):
            await api.create({**ONE, "Src": "G.V('n3')"})
        assert api.list() == {}
        await trio.testing.wait_all_tasks_blocked()
        assert not [type for type, _ in told if type in ("Added", "Deleted")]
        # One node of two is enough.
        agents.answer = lambda order: Injected(
            order.injection.UUID, order.node, "done" if order.node == "n1" else "error", 1
        )
        made = plain(await api.create({**ONE, "Src": "G.V().Has('Name', 'eth0')"}))
        assert {one["NodeID"]: one["State"] for one in made["Nodes"]} == {"n1": "done", "n2": "error"}


async def test_an_analyzer_that_starts_again_sends_nothing(tmp_path: Path) -> None:
    async with injecting(tmp_path) as (_world, agents, api, _told):
        made = plain(await api.create(ONE))
    async with injecting(tmp_path) as (_world, agents, api, _told):
        assert plain(api.get(made["UUID"]))["Src"] == ONE["Src"]
        assert agents.asked == []
        await api.delete(made["UUID"])


async def test_limits(tmp_path: Path) -> None:
    policy = InjectionPolicy(max_nodes=1, max_active=2, max_per_minute=3, refused_networks=(ip_network("10.0.0.0/29"),))
    async with injecting(tmp_path, policy) as (_world, agents, api, _told):
        with pytest.raises(InvalidResource, match="selects 2 nodes"):
            await api.create({**ONE, "Src": "G.V().Has('Name', 'eth0')"})
        with pytest.raises(InvalidResource, match=r"nothing may be sent to 10\.0\.0\.7"):
            await api.create({**ONE, "DstIP": "10.0.0.7"})
        with pytest.raises(InvalidResource, match="recordings are not sent"):
            await api.create({**ONE, "Pcap": "AAAA"})
        made = [plain(await api.create(ONE)) for _ in range(2)]
        with pytest.raises(Refusal, match="run already") as refused:
            await api.create(ONE)
        assert refused.value.status == 429
        agents.on_report("agent.h", Injected(made[0]["UUID"], "n1", "done", 1))
        await api.create(ONE)
        agents.on_report("agent.h", Injected(made[1]["UUID"], "n1", "done", 1))
        with pytest.raises(Refusal, match="within a minute") as refused:
            await api.create(ONE)
        assert refused.value.status == 429
        assert refused.value.headers[0][0] == "Retry-After"
