"""Rules and groups of a real bridge, natively in every version and through ovs-ofctl."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
import structlog
import trio
from skydive_probe_ovsdb.openflow import native as native_module
from skydive_probe_ovsdb.openflow import wire

from skycore.testing import ProbeLab, run_probes
from skycore.testing.openvswitch import OpenVSwitch

VERSIONS = ["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
WAYS = [*VERSIONS, "ovs-ofctl"]


def _settings(ovs: OpenVSwitch, way: str) -> dict[str, dict[str, Any]]:
    oflow: dict[str, Any] = {"enable": True, "native": way != "ovs-ofctl"}
    if way != "ovs-ofctl":
        oflow["openflow_versions"] = [way]
    return {"ovsdb": {"ovsdb": f"unix://{ovs.socket}", "oflow": oflow}}


def _rules(lab: ProbeLab) -> set[tuple[int, int, str]]:
    return {(node["Table"], node["Priority"], node["Cookie"]) for node in lab.nodes(Type="ofrule")}


@pytest.mark.parametrize("way", WAYS)
async def test_rules_come_change_and_go(ovs: OpenVSwitch, way: str) -> None:
    ovs.bridge("br0")
    ovs.ofctl("add-flow", "br0", "table=1,priority=7,cookie=0x20,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=output:1")
    first = {(0, 0, "0x0"), (1, 7, "0x20")}
    async with run_probes(_settings(ovs, way), namespace=ovs.host.netns_path) as lab:
        await lab.until(lambda: _rules(lab) == first, 10)
        bridge = lab.nodes(Type="ovsbridge")[0]["@ID"]
        owners = {edge["@Child"]: edge["@Parent"] for edge in lab.edges(RelationType="ownership")}
        assert {owners[node["@ID"]] for node in lab.nodes(Type="ofrule")} == {bridge}

        # Rules that differ by priority only are two.
        await ovs.aofctl(
            "add-flow", "br0", "table=1,priority=8,cookie=0x20,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=output:2"
        )
        await lab.until(lambda: _rules(lab) == first | {(1, 8, "0x20")}, 10)
        ids = {node["Priority"]: node["@ID"] for node in lab.nodes(Type="ofrule", Table=1)}
        assert ids[7] != ids[8]

        # Another cookie and other actions are the same rule.
        await ovs.aofctl(
            "add-flow", "br0", "table=1,priority=8,cookie=0x21,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=drop"
        )
        await lab.until(lambda: _rules(lab) == first | {(1, 8, "0x21")}, 10)
        changed = lab.nodes(Type="ofrule", Priority=8)[0]
        assert changed["@ID"] == ids[8]
        assert changed["Actions"] == [{"Function": "drop"} if way == "ovs-ofctl" else {"Type": "drop"}]

        await ovs.aofctl("--strict", "del-flows", "br0", "table=1,priority=7,tcp,nw_src=10.0.0.0/8,tp_dst=80")
        await lab.until(lambda: _rules(lab) == {(0, 0, "0x0"), (1, 8, "0x21")}, 10)

        await ovs.aofctl("add-flow", "br0", "table=2,hard_timeout=1,actions=drop")
        await lab.until(lambda: any(node["Table"] == 2 for node in lab.nodes(Type="ofrule")), 10)
        await lab.until(lambda: not any(node["Table"] == 2 for node in lab.nodes(Type="ofrule")), 12)

        await ovs.avsctl("del-br", "br0")
        await lab.until(lambda: len(lab.graph.nodes) == 1 and not lab.graph.edges)
        assert lab.report("ovsdb").restarts == 0


RICH = (
    "table=1,priority=7,cookie=0x20,idle_timeout=900,tcp,in_port=1,dl_src=02:00:00:00:00:05,nw_src=10.0.0.0/8,tp_dst=80,"
    "actions=load:5->NXM_NX_REG0[0..15],move:NXM_NX_REG0[]->NXM_NX_REG1[],set_field:10.1.2.3->ip_dst,"
    "resubmit(,2),ct(commit,zone=1,nat(src=1.1.1.1-1.1.1.9)),"
    "learn(table=3,hard_timeout=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),"
    "multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG2[0..3]),push:NXM_NX_REG1[],clone(output:2),output:3"
)


@pytest.mark.parametrize("way", VERSIONS)
async def test_what_a_rule_says(ovs: OpenVSwitch, way: str) -> None:
    ovs.bridge("br0")
    ovs.ofctl("add-flow", "br0", RICH)
    async with run_probes(_settings(ovs, way), namespace=ovs.host.netns_path) as lab:
        (node,) = await lab.until(lambda: lab.nodes(Type="ofrule", Table=1))
        assert (node["Cookie"], node["Priority"], node["IdleTimeout"]) == ("0x20", 7, 900)
        assert node["Filters"] == [
            {"Type": "eth_src", "Value": "02:00:00:00:00:05"},
            {"Type": "eth_type", "Value": 0x800},
            {"Type": "in_port", "Value": 1},
            {"Type": "ip_proto", "Value": 6},
            {"Type": "ipv4_src_masked", "Value": "10.0.0.0", "Mask": "255.0.0.0"},
            {"Type": "tcp_dst", "Value": 80},
        ]
        types = [action["Type"] for action in node["Actions"]]
        load = "set_field" if way == "OpenFlow15" else "nx_reg_load"
        move = "nx_reg_move" if way in VERSIONS[:3] else "copy_field" if way != "OpenFlow14" else types[1]
        field = "set_nw_dst" if way in VERSIONS[:2] else "set_field"
        assert types == [
            load, move, field, "nx_resubmit_table", "nx_ct", "nx_learn", "nx_multipath", "nx_stack_push", "nx_clone",
            "output",
        ]  # fmt: skip
        assert move in ("nx_reg_move", "copy_field")
        arguments = [action["Arguments"] for action in node["Actions"]]
        assert arguments[1] == {"NBits": 32, "Src": "reg0", "SrcOfs": 0, "Dst": "reg1", "DstOfs": 0}
        assert arguments[3]["Table"] == 2
        nat = {"Type": "nx_nat", "Arguments": {"Flags": 1, "IPv4Min": "1.1.1.1", "IPv4Max": "1.1.1.9"}}
        assert arguments[4] == {"Flags": 1, "Value": 1, "Actions": [nat]}
        assert arguments[5]["TableId"] == 3
        assert arguments[5]["HardTimeout"] == 9
        assert arguments[5]["FlowMods"] == [
            {"Type": "match", "NBits": 48, "Src": "eth_src", "SrcOfs": 0, "Dst": "eth_dst", "DstOfs": 0},
            {"Type": "output", "NBits": 16, "Src": "in_port", "SrcOfs": 0},
        ]
        assert arguments[6] == {
            "Fields": 0, "Basis": 50, "Algorithm": 0, "MaxLink": 0, "Arg": 0, "DstField": "reg2", "Offset": 0,
            "NBits": 4,
        }  # fmt: skip
        assert arguments[7] == {"Field": "reg1", "Offset": 0, "NBits": 32}
        assert arguments[8]["Actions"][0]["Arguments"]["Port"] == 2
        assert arguments[9]["Port"] == 3


async def test_a_rule_is_the_same_node_in_every_version(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    ovs.ofctl("add-flow", "br0", "table=1,priority=7,tcp,nw_src=10.0.0.0/8,tp_dst=80,reg0=5,actions=output:1")
    ids = set()
    for way in VERSIONS:
        if way == "OpenFlow11":
            # Its fixed match has no registers, so that Open vSwitch shows the rule in another form.
            continue
        async with run_probes(_settings(ovs, way), namespace=ovs.host.netns_path) as lab:
            (node,) = await lab.until(lambda lab=lab: lab.nodes(Type="ofrule", Table=1))  # type: ignore[misc]
            ids.add(node["@ID"])
    assert len(ids) == 1


@pytest.mark.parametrize("way", WAYS[1:])
async def test_groups(ovs: OpenVSwitch, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module, "POLL_SECONDS", 1.0)
    monkeypatch.setattr("skydive_probe_ovsdb.openflow.ofctl.POLL_SECONDS", 1.0)
    ovs.bridge("br0")
    ofctl = ("-O", "OpenFlow13")
    ovs.ofctl(
        *ofctl,
        "add-group",
        "br0",
        "group_id=5,type=select,bucket=weight=3,actions=output:1,bucket=weight=1,actions=drop",
    )
    async with run_probes(_settings(ovs, way), namespace=ovs.host.netns_path) as lab:
        (node,) = await lab.until(lambda: lab.nodes(Type="ofgroup"))
        assert (node["GroupId"], node["GroupType"]) == (5, "select")
        first, second = node["Buckets"]
        if way == "ovs-ofctl":
            assert first["Actions"] == [{"Function": "output", "Arguments": [{"Function": "1"}]}]
        else:
            assert (first["Weight"], second["Weight"]) == (3, 1)
            assert first["Actions"] == [{"Type": "output", "Arguments": {"Port": 1, "MaxLen": 0}}]
            assert second["Actions"] == []
        await ovs.aofctl(*ofctl, "mod-group", "br0", "group_id=5,type=all,bucket=actions=output:2")
        await lab.until(lambda: lab.nodes(Type="ofgroup", GroupType="all"))
        assert lab.nodes(Type="ofgroup")[0]["@ID"] == node["@ID"]
        await ovs.aofctl(*ofctl, "del-groups", "br0")
        await lab.until(lambda: not lab.nodes(Type="ofgroup"))


async def test_counters_of_rules(ovs: OpenVSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module, "POLL_SECONDS", 0.2)
    ovs.bridge("br0")
    frame = "ffffffffffff020000000001" + "0800" + "00" * 46
    ovs.ofctl("add-flow", "br0", "table=0,priority=9,send_flow_rem,in_port=LOCAL,actions=drop")
    async with run_probes(_settings(ovs, "OpenFlow14"), namespace=ovs.host.netns_path) as lab:
        (node,) = await lab.until(lambda: lab.nodes(Type="ofrule", Priority=9))
        assert "Metric" not in node
        assert node["Flags"]["SendFlowRem"] is True
        for count in (3, 5):
            for _ in range(count):
                await ovs.aofctl("packet-out", "br0", f"in_port=LOCAL,packet={frame},actions=table")
            total = {3: 3, 5: 8}[count]
            await lab.until(lambda total=total: lab.nodes(Type="ofrule", Metric__RxPackets=total))  # type: ignore[misc]
        (node,) = lab.nodes(Type="ofrule", Priority=9)
        assert node["Metric"]["RxBytes"] == 8 * 60
        assert node["LastUpdateMetric"]["Start"] < node["LastUpdateMetric"]["Last"]


async def test_many_rules_and_one_change(ovs: OpenVSwitch) -> None:
    """One change gives one revision, and all rules go when they are deleted."""
    ovs.bridge("br0")
    lines = "".join(
        f"table={n % 5},priority=1,tcp,nw_dst=10.{n >> 8}.{n & 255}.1,actions=output:1\n" for n in range(3000)
    )
    ovs.ofctl("-O", "OpenFlow14", "add-flows", "br0", "-", data=lines.encode())
    for way in ("OpenFlow14", "ovs-ofctl"):
        async with run_probes(_settings(ovs, way), namespace=ovs.host.netns_path) as lab:
            await lab.until(lambda lab=lab: len(lab.nodes(Type="ofrule")) == 3001, 30)  # type: ignore[misc]
            before = {id: revision.revision for id, revision in lab.graph.nodes.items()}
            await ovs.aofctl("-O", "OpenFlow14", "add-flow", "br0", "table=9,priority=1,actions=drop")
            (added,) = await lab.until(lambda lab=lab: lab.nodes(Type="ofrule", Table=9), 10)  # type: ignore[misc]
            after = {id: revision.revision for id, revision in lab.graph.nodes.items() if id != added["@ID"]}
            assert after == before
            await ovs.aofctl("-O", "OpenFlow14", "del-flows", "br0", "table=9")
            await lab.until(lambda lab=lab: not lab.nodes(Type="ofrule", Table=9), 10)  # type: ignore[misc]


async def test_a_bridge_that_cannot_be_asked_is_named(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0", "protocols=OpenFlow10")
    with structlog.testing.capture_logs() as logs:
        async with run_probes(_settings(ovs, "OpenFlow14"), namespace=ovs.host.netns_path) as lab:
            await lab.until(lambda: "openflow" in lab.report("ovsdb").fields)
            assert "see ovs.oflow.openflow_versions" in lab.report("ovsdb").fields["openflow"]["br0"]
            assert lab.nodes(Type="ovsbridge")
            await ovs.avsctl("clear", "bridge", "br0", "protocols")
            await lab.until(lambda: lab.nodes(Type="ofrule"), 10)
            assert lab.report("ovsdb").fields["openflow"]["br0"].startswith("OpenFlow14")
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) == 1


async def test_a_restarted_switch(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    ovs.ofctl("add-flow", "br0", "table=1,priority=7,tcp,actions=output:1")
    async with run_probes(_settings(ovs, "OpenFlow14"), namespace=ovs.host.netns_path) as lab:
        await lab.until(lambda: len(lab.nodes(Type="ofrule")) == 2)
        await trio.to_thread.run_sync(ovs.start_switch)
        # It has forgotten its rules, and has made its own again.
        await lab.until(lambda: len(lab.nodes(Type="ofrule")) == 1, 20)
        assert lab.report("ovsdb").restarts == 0


async def test_a_bridge_that_talks_nonsense_or_hangs(
    ovs: OpenVSwitch, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ANSWER_SECONDS", 0.1)
    ovs.bridge("br0")
    path = str(tmp_path_factory.mktemp("b") / "br0.mgmt")
    answers = [b"\xff" * 64, struct.pack("!BBHI", 5, 0, 8, 0) + b"\x05\x13\x00\x09\0\0\0\0\0", b""]
    asked = 0

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        nonlocal asked
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(path)
            listener.listen()
            task_status.started()
            while True:
                connection, _ = await listener.accept()
                with connection, suppress(OSError):
                    await connection.recv(4096)
                    answer = answers[asked % len(answers)]
                    asked += 1
                    if answer:
                        await connection.send(answer)
                    else:
                        await trio.sleep(0.3)

    settings = _settings(ovs, "OpenFlow14")
    settings["ovsdb"]["oflow"]["address"] = {"br0": f"unix://{path}"}
    monkeypatch.setattr("skydive_probe_ovsdb.openflow.bridges.LONGEST_PAUSE", 0.02)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        with structlog.testing.capture_logs() as logs:
            async with run_probes(settings, namespace=ovs.host.netns_path) as lab:
                await lab.until(lambda: asked >= 9, 10)
                report = lab.report("ovsdb")
                assert (report.state, report.restarts) == ("running", 0)
                assert report.fields["openflow"]["br0"].startswith("lost: ")
        nursery.cancel_scope.cancel()
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) == 1
