"""The kernel's datapath; run by test_in_guest.py inside a guest, as the machine's kernel may lack it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skycore.testing import run_probes
from skycore.testing.lab import FakeHost, run_checked
from skycore.testing.openvswitch import OpenVSwitch


@pytest.fixture
def kernel_ovs(tmp_path: Path) -> Iterator[OpenVSwitch]:
    run_checked(["modprobe", "openvswitch"])
    with OpenVSwitch(FakeHost(), tmp_path / "log", system=True) as ovs:
        yield ovs


async def test_kernel_devices_are_the_rows_nodes(kernel_ovs: OpenVSwitch) -> None:
    ovs, host = kernel_ovs, kernel_ovs.host
    settings: dict[str, dict[str, Any]] = {
        "ovsdb": {"ovsdb": f"unix://{ovs.socket}", "enable_stats": True, "oflow": {"enable": True, "native": True}},
        "netlink": {"metrics_update": 0},
        "netns": {"run_path": host.path("/run/netns")},
    }
    async with run_probes(settings, namespace=host.netns_path, started=60) as lab:
        await ovs.avsctl("add-br", "br0")
        await ovs.avsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=internal")
        await ovs.avsctl("set", "open_vswitch", ".", "other_config:stats-update-interval=1000")
        for name in ("br0", "i0"):
            await lab.until(
                lambda name=name: [  # type: ignore[misc]
                    node
                    for node in lab.nodes(Name=name, Type="internal", Driver="openvswitch")
                    if "LinkFlags" in node and node.get("OfPort")
                ],
                60,
            )
        # The switch as a whole is its datapath's device.
        await lab.until(lambda: "InterfaceTypes" in lab.nodes(Name="ovs-system")[0].get("Ovs", {}), 60)
        assert lab.nodes(Name="ovs-system")[0]["Type"] == "openvswitch"
        await lab.until(lambda: len(lab.nodes(Type="ofrule")) == 1, 60)
        assert not lab.graph.conflicts

        # A tunnel has no device of its name in the kernel.
        await ovs.avsctl(
            "add-port", "br0", "vx0", "--", "set", "interface", "vx0", "type=vxlan", "options:remote_ip=10.0.0.9"
        )
        (tunnel,) = await lab.until(lambda: lab.nodes(Name="vx0", Type="vxlan"), 60)
        assert tunnel["RemoteIP"] == "10.0.0.9"

        # Traffic between two internal devices, one of them in another namespace.
        before = lab.nodes(Name="i0", Type="internal")[0]
        await host.arun("ip", "netns", "add", "vm")
        await host.arun("ip", "link", "set", "i0", "netns", "vm")
        await host.arun("ip", "-n", "vm", "address", "add", "10.9.0.2/24", "dev", "i0")
        await host.arun("ip", "-n", "vm", "link", "set", "i0", "up")
        await host.arun("ip", "address", "add", "10.9.0.1/24", "dev", "br0")
        await host.arun("ip", "link", "set", "br0", "up")
        (moved,) = await lab.until(
            lambda: [
                node
                for node in lab.nodes(Name="i0", Type="internal")
                if "LinkFlags" in node and node["@ID"] != before["@ID"]
            ],
            60,
        )
        assert moved["UUID"] == before["UUID"]
        await host.arun("busybox", "ping", "-A", "-c", "10", "-W", "10", "10.9.0.2")
        await lab.until(
            lambda: lab.nodes(Name="br0", Type="internal")[0]["Ovs"].get("Metric", {}).get("TxPackets", 0) >= 10, 60
        )

        await ovs.avsctl("del-br", "br0")
        await lab.until(lambda: not lab.nodes(Name="i0") and not lab.nodes(Type="ofrule"), 60)
        assert lab.report("ovsdb").restarts == 0
