"""The probe over the real kernel; the program ``ethtool`` is the witness."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from skydive_probe_ethtool import keys, pci, probe
from skydive_probe_ethtool.counters import Counters
from skydive_probe_ethtool.ioctl import Gone, Ioctl
from skydive_probe_ethtool.reader import Reader
from skydive_probe_ethtool.socket import RequestSocket

from skycore.plugin import netlink
from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns

MakeNetns = Callable[[], NamedNetns]
pytestmark = pytest.mark.needs("ethtool", "root")
# Nothing is polled: what these tests see was announced by the kernel.
PROBES: dict[str, dict[str, Any]] = {
    "netlink": {"metrics_update": 0},
    "ethtool": {"interval": 0, "statistics_update": 0},
}
LEGACY = {
    "rx-checksumming": "rx-checksum",
    "generic-segmentation-offload": "tx-generic-segmentation",
    "generic-receive-offload": "rx-gro",
    "large-receive-offload": "rx-lro",
    "rx-vlan-offload": "rx-vlan-hw-parse",
    "tx-vlan-offload": "tx-vlan-hw-insert",
    "ntuple-filters": "rx-ntuple-filter",
    "receive-hashing": "rx-hashing",
}


def features_as_ethtool_tells(netns: NamedNetns, name: str) -> dict[str, bool]:
    told = re.findall(r"^\t?([\w-]+): (on|off)", netns.run("ethtool", "-k", name), flags=re.MULTILINE)
    groups = {"tx-checksumming", "scatter-gather", "tcp-segmentation-offload"}
    return {LEGACY.get(key, key): value == "on" for key, value in told if key not in groups}


def as_ethtool_tells(netns: NamedNetns, option: str, name: str) -> dict[str, str]:
    printed = netns.run("ethtool", *([option] if option else []), name)
    return dict(re.findall(r"^\s*([\w -]+): +(\S.*)$", printed, flags=re.MULTILINE))


def only(lab: ProbeLab, name: str) -> dict[str, Any]:
    (node,) = lab.nodes(Name=name)
    return node


def features(lab: ProbeLab, name: str) -> dict[str, bool]:
    """What the graph shows of an interface's features; empty while there is none of this name."""
    return next((node.get("Features", {}) for node in lab.nodes(Name=name)), {})


@pytest.fixture
def links(netns: MakeNetns) -> NamedNetns:
    """A namespace with a veth pair va–vb, a bridge br0 and a tap tap0."""
    here = netns()
    here.run("ip", "link", "add", "va", "numtxqueues", "4", "numrxqueues", "4", "type", "veth", "peer", "name", "vb")
    here.run("ip", "link", "add", "br0", "type", "bridge")
    here.run("ip", "tuntap", "add", "tap0", "mode", "tap")
    return here


async def test_features_and_driver(links: NamedNetns) -> None:
    async with run_probes(PROBES, namespace=links.path) as lab:
        for name in ("va", "vb", "br0", "tap0", "lo"):
            told = await trio.to_thread.run_sync(features_as_ethtool_tells, links, name)
            shown = only(lab, name)["Features"]
            assert len(told) > 50
            assert {key: shown.get(key) for key in told} == told
        for name, bus in (("va", ""), ("br0", "N/A"), ("tap0", "tap")):
            told_driver = await trio.to_thread.run_sync(as_ethtool_tells, links, "-i", name)
            node = only(lab, name)
            assert node["BusInfo"] == told_driver.get("bus-info", "") == bus
            assert node["Driver"] == told_driver["driver"]
            assert node["Ethtool"].get("DriverVersion", told_driver["version"]) == told_driver["version"]
            assert node["Ethtool"].get("FirmwareVersion", "") == told_driver.get("firmware-version", "")


async def test_link_settings_and_channels(links: NamedNetns) -> None:
    async with run_probes(PROBES, namespace=links.path) as lab:
        told = await trio.to_thread.run_sync(as_ethtool_tells, links, "", "va")
        node = only(lab, "va")
        assert f"{node['Speed']}Mb/s" == told["Speed"] == "10000Mb/s"
        assert node["Ethtool"]["Duplex"] == told["Duplex"]
        assert node["Ethtool"]["AutoNegotiation"] == (told["Auto-negotiation"] == "on")
        assert node["Ethtool"]["LinkDetected"] == (told["Link detected"] == "yes")
        assert node["Ethtool"]["Port"] == "TP"
        assert told["Port"] == "Twisted Pair"
        assert node["Ethtool"]["Transceiver"] == told["Transceiver"]
        printed = await links.arun("ethtool", "-l", "va")
        told_channels = [int(count) for count in re.findall(r"^[RT]X:\s+(\d+)", printed, flags=re.MULTILINE)]
        assert [node["Ethtool"]["Channels"][key] for key in ("RxMax", "TxMax", "Rx", "Tx")] == told_channels


async def test_changes_that_the_kernel_announces(links: NamedNetns) -> None:
    async with run_probes(PROBES, namespace=links.path) as lab:
        assert only(lab, "va")["Features"]["tx-checksum-ip-generic"] is True
        await links.arun("ethtool", "-K", "va", "tx-checksum-ip-generic", "off")
        await lab.until(lambda: only(lab, "va")["Features"]["tx-checksum-ip-generic"] is False)
        assert only(lab, "vb")["Features"]["tx-checksum-ip-generic"] is True
        await links.arun("ethtool", "-s", "tap0", "speed", "2500", "autoneg", "off")
        await lab.until(lambda: only(lab, "tap0")["Speed"] == 2500)
        await links.arun("ethtool", "-L", "va", "rx", "2", "tx", "3")
        await lab.until(lambda: only(lab, "va")["Ethtool"]["Channels"] == {"Rx": 2, "RxMax": 4, "Tx": 3, "TxMax": 4})
        await links.arun("ethtool", "-C", "tap0", "rx-frames", "8")
        await lab.until(lambda: only(lab, "tap0")["Ethtool"]["Coalesce"]["RxFrames"] == 8)
        await links.arun("ip", "link", "set", "va", "up")
        await links.arun("ip", "link", "set", "vb", "up")
        await lab.until(lambda: only(lab, "va")["Ethtool"]["LinkDetected"])
        await links.arun("ip", "link", "set", "vb", "down")
        await lab.until(lambda: not only(lab, "va")["Ethtool"]["LinkDetected"])


async def test_interfaces_come_are_renamed_and_go(links: NamedNetns) -> None:
    async with run_probes(PROBES, namespace=links.path) as lab:
        await links.arun("ip", "link", "add", "new", "index", "77", "type", "ifb")
        await lab.until(lambda: features(lab, "new"))
        await links.arun("ip", "link", "set", "new", "name", "newer")
        await lab.until(lambda: features(lab, "newer"))
        await links.arun("ip", "link", "delete", "newer")
        await lab.until(lambda: lab.report("ethtool").fields["interfaces"] == 5)
        # The index is used again by an interface of another kind.
        await links.arun("ip", "link", "add", "other", "index", "77", "type", "bridge")
        await lab.until(lambda: lab.nodes(Name="other", BusInfo="N/A"))


async def test_every_namespace_of_the_graph(netns: MakeNetns, tmp_path: Path) -> None:
    here, there = netns(), netns()
    there.run("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb")
    probes = {**PROBES, "netns": {"run_path": str(tmp_path)}}
    async with run_probes(probes, namespace=here.path) as lab:
        (tmp_path / there.name).symlink_to(there.path)
        await lab.until(lambda: features(lab, "va"))
        await there.arun("ethtool", "-K", "vb", "gso", "off")
        await lab.until(lambda: not only(lab, "vb")["Features"]["tx-generic-segmentation"])
        (tmp_path / there.name).unlink()
        await lab.until(lambda: not lab.nodes(Name="va"))
        await lab.until(lambda: not [report for report in lab.host.reports() if report.name.startswith("ethtool@")])


async def test_many_at_once(links: NamedNetns) -> None:
    async with run_probes(PROBES, namespace=links.path) as lab:
        batch = "".join(f"link add p{n} type veth peer name q{n}\n" for n in range(60))
        await trio.to_thread.run_sync(lambda: _batch(links, batch))
        await lab.until(lambda: sum("Features" in node for node in lab.nodes(Type="veth")) == 122)
        assert lab.report("ethtool").fields["readings"] < 40
        await trio.to_thread.run_sync(lambda: _batch(links, "".join(f"link delete p{n}\n" for n in range(60))))
        await lab.until(lambda: len(lab.nodes(Type="veth")) == 2)


def _batch(netns: NamedNetns, lines: str) -> None:
    netns.run("sh", "-c", f"printf '%s' '{lines}' | ip -batch -")


async def test_statistics_of_the_driver(links: NamedNetns) -> None:
    probes = {**PROBES, "ethtool": {"interval": 0, "statistics_update": 1, "statistics_limit": 2}}
    async with run_probes(probes, namespace=links.path) as lab:
        told = re.findall(r"^ +(\w+): (\d+)$", await links.arun("ethtool", "-S", "va"), flags=re.MULTILINE)
        counted = {name: int(value) for name, value in told if value != "0"}
        shown = only(lab, "va")["EthtoolStatistics"]
        assert shown["Driver"]["peer_ifindex"] == counted["peer_ifindex"]
        assert len(shown["Driver"]) + shown.get("Omitted", 0) == len(counted)
        assert len(shown["Driver"]) <= 2


async def test_old_kernels_are_asked_by_ioctl(links: NamedNetns, monkeypatch: pytest.MonkeyPatch) -> None:
    await links.arun("ethtool", "-C", "tap0", "rx-frames", "8")
    unsaid = {"@ID", "@Revision", "TID"}

    def told(lab: ProbeLab) -> dict[str, Any]:
        return {node["Name"]: {k: v for k, v in node.items() if k not in unsaid} for node in lab.nodes()}

    async with run_probes(PROBES, namespace=links.path) as lab:
        by_netlink = told(lab)
    monkeypatch.setattr(RequestSocket, "family", lambda _self, _name: None)
    async with run_probes(PROBES, namespace=links.path) as lab:
        assert lab.report("ethtool").fields["source"] == "ioctl"
        by_ioctl = told(lab)
        assert len(by_ioctl["va"]["Features"]) > 50
        for tree in (*by_netlink.values(), *by_ioctl.values()):
            # Netlink also tells zeros of what the driver could set.
            coalesce = tree.get("Ethtool", {}).get("Coalesce")
            if coalesce:
                tree["Ethtool"]["Coalesce"] = {key: value for key, value in coalesce.items() if value}
        assert by_ioctl == by_netlink
        await links.arun("ip", "link", "add", "new", "type", "ifb")
        await lab.until(lambda: features(lab, "new"))
        await links.arun("ip", "link", "delete", "new")
        await lab.until(lambda: not lab.nodes(Name="new"))


async def test_what_was_missed_is_read_anew(links: NamedNetns, monkeypatch: pytest.MonkeyPatch) -> None:
    lose: list[bool] = []

    class Losing(netlink.EventSocket):
        def read(self, limit: int = 256) -> netlink.Events:
            heard = super().read(limit)
            if lose and heard.buffers:
                lose.clear()
                return netlink.Events([], True)
            return heard

    # Of this plugin alone; that of netlink hears everything.
    monkeypatch.setattr(probe, "netlink", SimpleNamespace(**{**vars(netlink), "EventSocket": Losing}))
    async with run_probes(PROBES, namespace=links.path) as lab:
        lose.append(True)
        await links.arun("ip", "link", "add", "new", "type", "ifb")
        await lab.until(lambda: features(lab, "new"))
        assert lab.report("ethtool").fields["overruns"] == 1


async def test_one_driver_that_fails_hides_no_other(links: NamedNetns, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel ends a dump at the first driver that fails; no driver here does, so the refusal is made up.
    real = RequestSocket.dump

    def dump(self: RequestSocket, family: int, command: int, *parts: bytes) -> list[bytes]:
        if command in {4, 11}:
            raise netlink.NetlinkError(errno.EIO, "made up")
        return real(self, family, command, *parts)

    monkeypatch.setattr(RequestSocket, "dump", dump)
    async with run_probes(PROBES, namespace=links.path) as lab:
        assert only(lab, "va")["Speed"] == 10000
        assert len(only(lab, "tap0")["Features"]) > 50
        assert lab.report("ethtool").fields["interfaces"] == 5


async def test_what_is_not_there() -> None:
    with RequestSocket(lambda call: call()) as requests:
        family = requests.family("ethtool")
        assert family is not None
        assert requests.family("no such family") is None
        with Ioctl(requests.fileno()) as asked:
            reader = Reader(requests, asked, family)
            assert reader.module(1) == ({}, {})
            assert Counters(10).read(requests, asked, family, [(1, b"lo", True)]) == {}
            readings = reader.read({1: {"features"}, 999_999: {"features", "driver"}})
            assert (list(readings.interfaces), list(readings.gone)) == ([1], [999_999])
            with pytest.raises(Gone):
                asked.driver_info(b"nosuchlink")
        with pytest.raises(netlink.NetlinkError) as failure:
            requests.get(family.id, 11, b"\x0c\0\1\x80\x08\0\1\0\xff\xff\xff\x7f")
        assert failure.value.errno == errno.ENODEV


def test_synthetic_virtual_functions(tmp_path: Path) -> None:
    physical, *virtual = "0000:03:00.0", "0000:03:10.0", "0000:03:10.2"
    for address in (physical, *virtual):
        (tmp_path / address).mkdir()
    (tmp_path / physical / "numa_node").write_text("1\n")
    for number, address in enumerate(virtual):
        (tmp_path / physical / f"virtfn{number}").symlink_to(f"../{address}")
        (tmp_path / address / "physfn").symlink_to(f"../{physical}")
        (tmp_path / address / "numa_node").write_text("-1\n")
    assert pci.pci_facts(physical, tmp_path) == {"VfBusInfo": virtual, "NumaNode": 1}
    assert pci.pci_facts(virtual[1], tmp_path) == {"PfBusInfo": physical, "VfID": 1}
    for other in ("", "N/A", "tap", "../../etc", "0000:99:00.0"):
        assert pci.pci_facts(other, tmp_path) == {}


async def test_only_documented_keys_are_written() -> None:
    assert keys.table() in (Path(__file__).parent.parent / "README.md").read_text()
    known = {key.path for key in keys.all_keys()}
    async with run_probes({"ethtool": {}, "netlink": {}}) as lab:
        for node in lab.nodes():
            for key in ("Ethtool", "EthtoolStatistics"):
                for path in _paths(node.get(key, {}), key):
                    assert any(path == one or path.startswith(f"{one}.") for one in known), path


def _paths(tree: Any, path: str) -> list[str]:
    if not isinstance(tree, dict):
        return [path]
    return [found for key, value in tree.items() for found in _paths(value, f"{path}.{key}")]
