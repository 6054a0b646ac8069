"""The probe over real sockets in real namespaces, beside what iproute2's ``ss`` says of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from skydive_probe_socketinfo import SocketInfoProbe

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns, make_netns

MakeNetns = Callable[[], NamedNetns]
MakePuppet = Callable[..., Any]  # see conftest.py
Named = Callable[..., dict[str, Any]]
Witness = Callable[[str], set[tuple[Any, ...]]]

QUICK = {"poll": 0.05, "host_update": 0.1}
OPEN_ALL = """
t4 = socket.create_server(('127.0.0.1', 0)); t6 = socket.create_server(('::1', 0), family=socket.AF_INET6)
dual = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)
c4 = socket.create_connection(t4.getsockname()); a4 = t4.accept()[0]
c6 = socket.create_connection(t6.getsockname()[:2]); a6 = t6.accept()[0]
m4 = socket.create_connection(('127.0.0.1', dual.getsockname()[1])); ma = dual.accept()[0]
u4 = socket.socket(type=socket.SOCK_DGRAM); u4.bind(('127.0.0.1', 0))
u6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u6.bind(('::1', 0))
uc = socket.socket(type=socket.SOCK_DGRAM); uc.connect(u4.getsockname())
half = socket.create_connection(t4.getsockname()); ha = t4.accept()[0]; half.shutdown(socket.SHUT_WR)
ha.recv(1)
while half.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b'\x05': pass
"""


@pytest.fixture
def netns() -> Iterator[MakeNetns]:
    """Namespaces whose loopback is up."""
    with ExitStack() as stack:

        def make() -> NamedNetns:
            one = stack.enter_context(make_netns())
            one.run("ip", "link", "set", "lo", "up")
            return one

        yield make


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a netns probe that sees only these namespaces, by their own names."""

    def settings(*namespaces: NamedNetns) -> dict[str, Any]:
        for one in namespaces:
            (tmp_path / one.name).symlink_to(one.path)
        return {"run_path": str(tmp_path)}

    return settings


def carry_out(puppet: Any, program: str) -> None:
    for line in program.strip().splitlines():
        puppet(line)


def only(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    (node,) = nodes
    return node


def sockets_of(lab: ProbeLab, **node: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = only(lab.nodes(**node)).get("Sockets", [])
    return found


def shape(entries: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {
        (
            entry["Protocol"],
            entry["State"],
            (entry["LocalAddress"], entry["LocalPort"]),
            (entry["RemoteAddress"], entry["RemotePort"]),
            entry["Pid"],
        )
        for entry in entries
    }


async def test_everything_that_iproute2_shows(netns: MakeNetns, puppet: MakePuppet, witness: Witness) -> None:
    here = netns()
    one = puppet(here.path)
    async with run_probes({"socketinfo": QUICK}, namespace=here.path) as lab:
        assert "Sockets" not in only(lab.nodes(Type="host"))
        await trio.to_thread.run_sync(carry_out, one, OPEN_ALL)
        expected = witness(here.path)
        # The half closed connection is in FIN_WAIT2 and CLOSE_WAIT, connected and bound UDP sockets differ.
        states = {(protocol, state) for protocol, state, *_ in expected}
        assert states == {
            ("TCP", "LISTEN"),
            ("TCP", "ESTABLISHED"),
            ("TCP", "FIN_WAIT2"),
            ("TCP", "CLOSE_WAIT"),
            ("UDP", "CLOSE"),
            ("UDP", "ESTABLISHED"),
        }
        assert len(expected) == 14
        await lab.until(lambda: shape(sockets_of(lab, Type="host")) == expected)
        entry = next(entry for entry in sockets_of(lab, Type="host") if entry["State"] == "FIN_WAIT2")
        assert entry["Process"] == os.readlink(f"/proc/{one.pid}/exe")
        assert entry["Name"] == one("open('/proc/self/comm').read()").rstrip("\n")
        one("c4.close(); a4.close(); u6.close(); dual.close()")
        remaining = witness(here.path)
        assert len(remaining) == 10
        await lab.until(lambda: shape(sockets_of(lab, Type="host")) == remaining)
        one.end()
        await lab.until(lambda: "Sockets" not in only(lab.nodes(Type="host")))


async def test_each_namespace_has_its_own_list(
    netns: MakeNetns, puppet: MakePuppet, witness: Witness, named: Named
) -> None:
    here, inner, later = netns(), netns(), netns()
    outside, inside = puppet(here.path), puppet(inner.path)
    outside("s = socket.create_server(('127.0.0.1', 0))")
    inside("s = socket.create_server(('127.0.0.1', 0))")
    probes = {"netns": named(inner, later), "socketinfo": QUICK}
    async with run_probes(probes, namespace=here.path) as lab:
        await lab.until(lambda: shape(sockets_of(lab, Name=inner.name)) == witness(inner.path))
        assert shape(sockets_of(lab, Type="host")) == witness(here.path)
        # One process may have sockets in several namespaces: they count where they are.
        moved = puppet(later.path)
        moved("s = socket.create_server(('127.0.0.1', 0)); import ctypes; f = os.open('" + inner.path + "', 0)")
        assert moved("ctypes.CDLL(None).setns(f, 0x40000000)") == 0
        moved("t = socket.create_server(('127.0.0.1', 0))")
        await lab.until(lambda: shape(sockets_of(lab, Name=later.name)) == witness(later.path))
        assert witness(later.path)
        await lab.until(lambda: shape(sockets_of(lab, Name=inner.name)) == witness(inner.path))
        assert len(witness(inner.path)) == 2
        assert lab.report("socketinfo").fields["namespaces"] == 3


async def test_a_namespace_ends_when_its_node_has_gone(netns: MakeNetns, named: Named, tmp_path: Path) -> None:
    here, inner = netns(), netns()
    await here.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", inner.name)
    probes = {"netns": named(inner), "socketinfo": {"poll": 0.05, "host_update": 60}}
    async with run_probes(probes, namespace=here.path) as lab:
        await lab.until(lambda: lab.report("socketinfo").fields["namespaces"] == 2)
        assert len(json.loads(here.run("ip", "-j", "link", "show", "type", "veth"))) == 1
        await trio.to_thread.run_sync(inner.delete)
        (tmp_path / inner.name).unlink()
        # Its veth goes with it, and so the other end here.
        await lab.until(lambda: json.loads(here.run("ip", "-j", "link", "show", "type", "veth")) == [])


async def test_a_namespace_that_cannot_be_entered(netns: MakeNetns, puppet: MakePuppet) -> None:
    here = netns()
    one = puppet(here.path)
    one("s = socket.create_server(('127.0.0.1', 0))")
    async with run_probes({"socketinfo": QUICK}, namespace=here.path) as lab:
        lab.graph.claimant("somebody").put(
            "5d7f2d5e-0000-5000-8000-000000000001", {"Name": "gone", "Type": "netns", "Path": "/run/netns/not-there"}
        )
        lab.graph.claimant("somebody").put("5d7f2d5e-0000-5000-8000-000000000002", {"Name": "odd", "Type": "netns"})
        fields = lab.report("socketinfo").fields
        await lab.until(lambda: "/run/netns/not-there" in fields.get("unreachable", {}))
        assert len(sockets_of(lab, Type="host")) == 1
        assert lab.report("socketinfo").restarts == 0


async def test_two_nodes_that_mean_one_namespace(netns: MakeNetns, puppet: MakePuppet) -> None:
    here, inner = netns(), netns()
    one = puppet(inner.path)
    one("s = socket.create_server(('127.0.0.1', 0))")
    async with run_probes({"socketinfo": QUICK}, namespace=here.path) as lab:
        somebody = lab.graph.claimant("somebody")
        for number, path in enumerate((inner.path, inner.path, here.path)):
            somebody.put(f"5d7f2d5e-0000-5000-8000-00000000000{number}", {"Name": "x", "Type": "netns", "Path": path})
        fields = lab.report("socketinfo").fields
        await lab.until(lambda: fields["sockets"] == 1)
        assert fields["namespaces"] == 2
        somebody.withdraw()
        await lab.until(lambda: fields["namespaces"] == 1 and fields["sockets"] == 0)


async def test_an_unchanged_list_is_not_said_again(netns: MakeNetns, puppet: MakePuppet) -> None:
    here = netns()
    one = puppet(here.path)
    carry_out(one, OPEN_ALL)
    async with run_probes({"socketinfo": {"poll": 0.01, "host_update": 0.01}}, namespace=here.path) as lab:
        await lab.until(lambda: len(sockets_of(lab, Type="host")) == 14)
        before = only(lab.nodes(Type="host"))["@Revision"]
        # Counters and queues move, and a connection comes and goes; then there is nothing new.
        one("c4.send(b'x' * 1000)")
        one("x = socket.create_connection(t6.getsockname()[:2]); y = t6.accept()[0]; x.close(); y.close()")
        looks = lab.report("socketinfo").fields
        one("z = socket.socket(type=socket.SOCK_DGRAM); z.bind(('127.0.0.1', 0))")
        await lab.until(lambda: len(sockets_of(lab, Type="host")) == 15)
        assert looks["sockets"] == 15
        assert only(lab.nodes(Type="host"))["@Revision"] - before <= 3
        settled = only(lab.nodes(Type="host"))["@Revision"]
        one("c4.send(b'x' * 1000)")
        await trio.sleep(0.3)
        assert only(lab.nodes(Type="host"))["@Revision"] == settled


async def test_lists_are_told_at_most_each_host_update(netns: MakeNetns, puppet: MakePuppet) -> None:
    here = netns()
    one = puppet(here.path)
    one("s = socket.create_server(('127.0.0.1', 0)); many = []")
    async with run_probes({"socketinfo": {"poll": 0.02, "host_update": 0.5}}, namespace=here.path) as lab:
        await lab.until(lambda: len(sockets_of(lab, Type="host")) == 1)
        begin, revision = trio.current_time(), only(lab.nodes(Type="host"))["@Revision"]
        for count in range(60):
            one("many.append(socket.socket(type=socket.SOCK_DGRAM)); many[-1].bind(('127.0.0.1', 0))")
            if count % 6 == 5:
                await trio.sleep(0.1)
        await lab.until(lambda: len(sockets_of(lab, Type="host")) == 61)
        told = only(lab.nodes(Type="host"))["@Revision"] - revision
        assert 1 <= told <= (trio.current_time() - begin) / 0.5 + 1


async def test_a_socket_closed_between_looks_is_told_at_once(netns: MakeNetns, puppet: MakePuppet) -> None:
    here = netns()
    one = puppet(here.path)
    one("a = socket.socket(type=socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0))")
    async with run_probes({"socketinfo": {"poll": 60, "host_update": 0.05}}, namespace=here.path) as lab:
        assert len(sockets_of(lab, Type="host")) == 1
        one("a.close()")
        await lab.until(lambda: "Sockets" not in only(lab.nodes(Type="host")))


async def test_sockets_that_were_never_seen_are_counted(netns: MakeNetns, puppet: MakePuppet) -> None:
    here = netns()
    one = puppet(here.path)
    one("a = socket.create_server(('127.0.0.1', 0))")
    async with run_probes({"socketinfo": {"poll": 0.3, "host_update": 0.05}}, namespace=here.path) as lab:
        one("[socket.socket(type=socket.SOCK_DGRAM).close() for _ in range(5)]")
        await lab.until(lambda: lab.report("socketinfo").fields.get("unseen", 0) >= 5)
        assert len(sockets_of(lab, Type="host")) == 1


async def test_long_lists_are_cut(netns: MakeNetns, puppet: MakePuppet) -> None:
    here = netns()
    one = puppet(here.path)
    carry_out(one, OPEN_ALL)
    async with run_probes({"socketinfo": {**QUICK, "max_sockets": 5}}, namespace=here.path) as lab:
        node = only(lab.nodes(Type="host"))
        assert node["SocketsOmitted"] == 9
        assert {entry["State"] for entry in node["Sockets"]} == {"LISTEN", "CLOSE"}
        one.end()
        await lab.until(lambda: "SocketsOmitted" not in only(lab.nodes(Type="host")))


async def test_five_thousand_sockets(netns: MakeNetns, puppet: MakePuppet, witness: Witness) -> None:
    here = netns()
    one, two = puppet(here.path), puppet(here.path)
    for each in (one, two):
        each("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))")
    port = one("(s := socket.create_server(('127.0.0.1', 0), backlog=4096)).getsockname()[1]")
    two(f"clients = [socket.create_connection(('127.0.0.1', {port})) for _ in range(2500)]")
    one("servers = [s.accept()[0] for _ in range(2500)]")
    expected = witness(here.path)
    assert len(expected) == 5001
    settings = {**QUICK, "max_sockets": 6000}
    async with run_probes({"socketinfo": settings}, namespace=here.path) as lab:
        await lab.until(lambda: shape(sockets_of(lab, Type="host")) == expected, 15)
        two.end()
        # Half of them end at once, more than the kernel keeps news of.
        await lab.until(lambda: lab.report("socketinfo").fields["sockets"] == 2501, 30)
        assert lab.report("socketinfo").restarts == 0


async def test_processes_and_who_talks_to_whom(netns: MakeNetns, puppet: MakePuppet, named: Named) -> None:
    here, inner = netns(), netns()
    await here.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", inner.name)
    for one, name, address in ((here, "v0", "10.9.0.1/24"), (inner, "v1", "10.9.0.2/24")):
        await one.arun("ip", "address", "add", address, "dev", name)
        await one.arun("ip", "link", "set", name, "up")
    server, client, beside = puppet(inner.path), puppet(here.path), puppet(inner.path)
    server("s = socket.create_server(('0.0.0.0', 8080))")
    client("c = socket.create_connection(('10.9.0.2', 8080))")
    beside("c = socket.create_connection(('127.0.0.1', 8080))")
    server("a, b = s.accept()[0], s.accept()[0]")
    probes = {"netns": named(inner), "socketinfo": {**QUICK, "processes": True}}
    async with run_probes(probes, namespace=here.path) as lab:

        def id_of(one: Any) -> str:
            return str(only(lab.nodes(Type="process", PID=one.pid))["@ID"])

        def talking() -> set[tuple[str, str]]:
            return {(edge["@Parent"], edge["@Child"]) for edge in lab.edges(RelationType="connection")}

        await lab.until(lambda: len(talking()) == 2)
        assert talking() == {(id_of(client), id_of(server)), (id_of(beside), id_of(server))}
        edge = lab.edges(RelationType="connection")[0]
        assert (edge["Ports"], edge["Protocols"]) == ([8080], ["TCP"])
        owners = {edge["@Child"]: edge["@Parent"] for edge in lab.edges(RelationType="ownership")}
        assert owners[id_of(client)] == only(lab.nodes(Type="host"))["@ID"]
        assert owners[id_of(server)] == only(lab.nodes(Name=inner.name))["@ID"]
        node = only(lab.nodes(Type="process", PID=server.pid))
        assert node["Executable"] == os.readlink(f"/proc/{server.pid}/exe")
        started = int(os.stat(f"/proc/{server.pid}").st_mtime * 1000)
        assert abs(node["StartTime"] - started) < 5000
        beside("c.close()")
        await lab.until(lambda: talking() == {(id_of(client), id_of(server))})
        client.end()
        await lab.until(lambda: not talking() and not lab.nodes(Type="process", PID=client.pid))


async def test_a_socket_that_changes_hands(netns: MakeNetns, puppet: MakePuppet, witness: Witness) -> None:
    here = netns()
    one = puppet(here.path)
    one("a = socket.create_server(('127.0.0.1', 0)); r, w = os.pipe()")
    async with run_probes({"socketinfo": QUICK}, namespace=here.path) as lab:
        assert [entry["Pid"] for entry in sockets_of(lab, Type="host")] == [one.pid]
        one("child = os.fork() or (os.read(r, 1), os._exit(0))")
        one("a.close()")
        child = one("child")
        await lab.until(lambda: [entry["Pid"] for entry in sockets_of(lab, Type="host")] == [child])
        assert shape(sockets_of(lab, Type="host")) == witness(here.path)
        one("os.write(w, b'x'), os.waitpid(child, 0)")
        await lab.until(lambda: "Sockets" not in only(lab.nodes(Type="host")))


async def test_who_runs_again_finds_what_is(netns: MakeNetns, puppet: MakePuppet, monkeypatch: Any) -> None:
    here = netns()
    one = puppet(here.path)
    carry_out(one, OPEN_ALL)
    async with run_probes({"socketinfo": QUICK}, namespace=here.path) as lab:
        revision = only(lab.nodes(Type="host"))["@Revision"]
        monkeypatch.setattr("skydive_probe_socketinfo.look.Looker.look", lambda *_: 1 / 0)
        await lab.until(lambda: lab.report("socketinfo").restarts)
        monkeypatch.undo()
        await lab.until(lambda: lab.report("socketinfo").state == "running")
        assert only(lab.nodes(Type="host"))["@Revision"] == revision
        assert len(sockets_of(lab, Type="host")) == 14


async def test_nothing_is_left_open(netns: MakeNetns, puppet: MakePuppet, named: Named) -> None:
    here, inner = netns(), netns()
    one = puppet(inner.path)
    one("s = socket.create_server(('127.0.0.1', 0))")
    before = set(os.listdir("/proc/self/fd"))
    probes = {"netns": named(inner), "socketinfo": QUICK}
    async with run_probes(probes, namespace=here.path) as lab:
        await lab.until(lambda: sockets_of(lab, Name=inner.name))
    assert len(os.listdir("/proc/self/fd")) <= len(before)


@pytest.mark.parametrize(
    "wrong",
    [{"host_update": 0}, {"host_update": float("nan")}, {"poll": -1}, {"max_sockets": 0}, {"proc_path": "proc"}],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SocketInfoProbe.Settings(**wrong)
