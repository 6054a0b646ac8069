"""From the kernel's files to metadata: recorded from a real machine, written after the kernel's documents, and garbage.

No machine of the tests has virtual functions, several NUMA nodes, mapped devices or another architecture: the trees
named ``synthetic_…`` were never seen on a real system.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skydive_probe_hardware import blocks, pci, processors, sysctl, system, uevents
from skydive_probe_hardware.files import Files
from skydive_probe_hardware.gather import gather

RECORDED = json.loads((Path(__file__).parent / "data" / "debian12-vm.json").read_text())
Make = Callable[..., Files]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a root folder of files and symbolic links."""

    def made(files: Mapping[str, str], links: Mapping[str, str] | None = None) -> Files:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name, target in (links or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
        return Files(tmp_path)

    return made


def test_recorded_processors_are_those_of_lscpu(make: Make) -> None:
    told = {entry["field"].rstrip(":"): entry["data"] for entry in RECORDED["lscpu"]["lscpu"]}
    metadata, complaints = gather(make(RECORDED["files"], RECORDED["links"]))
    assert complaints == []
    assert len(metadata["CPU"]) == int(told["CPU(s)"])
    for cpu in metadata["CPU"]:
        assert cpu["VendorID"] == told["Vendor ID"]
        assert cpu["ModelName"] == told["Model name"]
        assert (cpu["Family"], cpu["Model"]) == (told["CPU family"], told["Model"])
        assert cpu["Stepping"] == int(told["Stepping"])
    assert len({cpu["PhysicalID"] for cpu in metadata["CPU"]}) == int(told["Socket(s)"])
    assert [node["CPUs"] for node in metadata["NUMA"]] == [[0, 1]]
    assert (metadata["Platform"], metadata["PlatformFamily"], metadata["PlatformVersion"]) == ("debian", "debian", "12")
    assert (metadata["VirtualizationSystem"], metadata["VirtualizationRole"]) == ("kvm", "guest")


def test_recorded_block_devices_are_those_of_lsblk(make: Make) -> None:
    shown = {device["Name"]: device for device in blocks.block_devices(make(RECORDED["files"], RECORDED["links"]))}
    told = {device["name"]: device for device in RECORDED["lsblk"]["blockdevices"] if device["size"]}
    assert shown.keys() == told.keys()
    for name, device in shown.items():
        compare_with_lsblk(device, told[name])
    assert shown["vda"]["Mountpoints"] == ["/"]
    assert shown["vda"]["Driver"] == "virtio_blk"


def compare_with_lsblk(device: dict[str, Any], told: dict[str, Any]) -> None:
    pairs = {
        "Size": "size", "MajorMinor": "maj:min", "Type": "type", "ReadOnly": "ro", "Removable": "rm",
        "Rotational": "rota", "Scheduler": "sched", "LogicalBlockSize": "log-sec", "PhysicalBlockSize": "phy-sec",
    }  # fmt: skip
    assert {key: device.get(key) for key in pairs} == {key: told[name] for key, name in pairs.items()}


def test_lists_of_numbers() -> None:
    assert processors.numbers("3,4,7-9\n") == [3, 4, 7, 8, 9]
    assert processors.numbers("\n") == []
    for wrong in ("9-7", "7-", "-3", "a", "1,,2", "0-99999999", "٣"):
        with pytest.raises(processors.ListError):
            processors.numbers(wrong)


def test_a_list_that_cannot_be_read_is_reported(make: Make) -> None:
    files = {"sys/devices/system/cpu/isolated": "9-7", "proc/cpuinfo": "processor : 0\nvendor_id : X\n"}
    metadata, complaints = gather(make(files))
    assert "IsolatedCPU" not in metadata
    assert metadata["CPU"] == [{"CPU": 0, "Cores": 1, "VendorID": "X"}]
    assert "'9-7'" in complaints[0]


def test_isolated_processors_and_their_highest_speed(make: Make) -> None:
    cpu = "sys/devices/system/cpu"
    files = {
        f"{cpu}/isolated": "3,4,7-9",
        f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq": "3600000",
        "proc/cpuinfo": "processor : 0\ncpu MHz : 1200.123\n\nprocessor : 1\ncpu MHz : 800.9\ncache size : 512 KB\n",
    }
    assert processors.processors(make(files)) == {
        "CPU": [{"CPU": 0, "Cores": 1, "Mhz": 3600}, {"CPU": 1, "Cores": 1, "Mhz": 800, "CacheSize": 512}],
        "IsolatedCPU": [3, 4, 7, 8, 9],
    }


def test_synthetic_arm() -> None:
    cpuinfo = """processor : 0
BogoMIPS : 50.00
CPU implementer : 0x41
CPU architecture: 8
CPU part : 0xd0c
CPU revision : 1

Hardware : Some Board
"""
    texts = {"VendorID": "0x41", "Family": "8", "Model": "0xd0c", "ModelName": "Some Board"}
    assert processors.cpus(cpuinfo) == [{"CPU": 0, "Cores": 1, "Stepping": 1, **texts}]


def test_synthetic_numa(make: Make) -> None:
    node = "sys/devices/system/node"
    files = {
        f"{node}/node{n}/{name}": text
        for n in (0, 1, 10)
        for name, text in (("cpulist", f"{2 * n}-{2 * n + 1}"), ("distance", "10 21 21"))
    }
    files[f"{node}/node10/meminfo"] = "Node 10 MemTotal:       1024 kB\n"
    found = processors.numa(make(files))
    assert [entry["Node"] for entry in found] == [0, 1, 10]
    assert found[2] == {"Node": 10, "CPUs": [20, 21], "Distances": [10, 21, 21], "Memory": 1 << 20}


def test_kernel_parameters_of_the_command_line() -> None:
    line = 'quiet console=tty0 console=ttyS0 dyndbg="file a.c +p ; func b" my_passwd=x -- init password=y'
    told = {"quiet": True, "console": "ttyS0", "dyndbg": "file a.c +p ; func b", "my_passwd": "***"}
    assert system.command_line(line) == told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.3"', "rhel"),
        ("ID=neon\nID_LIKE='ubuntu debian'", "debian"),
        ("ID=nixos", ""),
        ("ID=x\nID_LIKE=y", "y"),
        ('ID="unclosed', ""),
    ],
)
def test_families(text: str, expected: str) -> None:
    assert system.family(system.os_release(text)) == expected


VENDOR, PRODUCT = "sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ("", "")),
        ({"sys/module/kvm/x": "", "dev/kvm": ""}, ("kvm", "host")),
        ({"sys/hypervisor/type": "xen", "proc/xen/capabilities": "control_d\n"}, ("xen", "host")),
        ({"sys/hypervisor/type": "xen", "proc/xen/capabilities": ""}, ("xen", "guest")),
        ({VENDOR: "QEMU\n"}, ("qemu", "guest")),
        ({VENDOR: "Microsoft Corporation", PRODUCT: "Virtual Machine"}, ("hyperv", "guest")),
        ({VENDOR: "Microsoft Corporation", PRODUCT: "Surface"}, ("", "")),
        ({VENDOR: "Oracle Corporation", PRODUCT: "SUN FIRE"}, ("", "")),
        ({"proc/cpuinfo": "flags : fpu hypervisor lm\n"}, ("vm", "guest")),
        ({".dockerenv": "", VENDOR: "QEMU"}, ("docker", "guest")),
        ({"run/systemd/container": "lxc"}, ("lxc", "guest")),
        ({"proc/self/cgroup": "0::/kubepods.slice/x\n"}, ("kubernetes", "guest")),
    ],
)
def test_synthetic_virtualization(make: Make, files: dict[str, str], expected: tuple[str, str]) -> None:
    assert system.virtualization(make(files)) == expected


def test_synthetic_memory_and_boot(make: Make) -> None:
    files = {
        "proc/meminfo": "MemTotal:       2048 kB\nSwapTotal:         0 kB\n",
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "4\n",
        "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
    }
    assert system.memory(make(files)) == {"Total": 2 << 20, "HugePages": {"2097152": 4}}
    assert system.boot_time("cpu 1 2\nbtime 1700000000\nprocesses 3\n") == 1_700_000_000_000


def test_synthetic_disks(make: Make) -> None:
    disk, mapped = "sys/block/sda", "sys/block/dm-0"
    files = {
        f"{disk}/size": "2048", f"{disk}/dev": "8:0", f"{disk}/device/model": "FAST  ", f"{disk}/device/vendor": "ACME",
        f"{disk}/queue/scheduler": "none [bfq] kyber", f"{disk}/sda1/partition": "1", f"{disk}/sda1/size": "1024",
        f"{disk}/sda1/dev": "8:1", f"{disk}/sda1/holders/dm-0/x": "", f"{disk}/sda10/partition": "10",
        f"{disk}/sda10/size": "8", f"{disk}/sda10/dev": "8:10", f"{disk}/sda2/partition": "2",
        f"{disk}/sda2/size": "16", f"{disk}/sda2/dev": "8:2",
        f"{mapped}/size": "1024", f"{mapped}/dev": "253:0", f"{mapped}/dm/name": "vg-root",
        f"{mapped}/dm/uuid": "LVM-abc", f"{mapped}/slaves/sda1/x": "",
        "sys/block/loop0/size": "0", "sys/block/loop0/dev": "7:0",
        "proc/self/mountinfo": "1 2 253:0 / / rw - ext4 /dev/dm-0 rw\n1 2 253:0 / /a\\040b rw - x y z\n"
        "1 2 253:0 /sub /c rw - x y z\nshort\n",
        "proc/swaps": "Filename Type\n/dev/sda10 partition 1 0 -2\n",
    }  # fmt: skip
    mapper, plain = blocks.block_devices(make(files))
    assert (mapper["Name"], mapper["Type"], mapper["MappedName"], mapper["Below"]) == (
        "dm-0",
        "lvm",
        "vg-root",
        ["sda1"],
    )
    assert mapper["Mountpoints"] == ["/", "/a b"]
    assert (plain["Model"], plain["Vendor"], plain["Scheduler"], plain["Size"]) == ("FAST", "ACME", "bfq", 1 << 20)
    assert [part["Name"] for part in plain["Partitions"]] == ["sda1", "sda2", "sda10"]
    assert plain["Partitions"][0]["Above"] == ["dm-0"]
    assert plain["Partitions"][2]["Swap"] is True


def test_synthetic_virtual_functions(make: Make) -> None:
    folder = "sys/bus/pci/devices"
    physical, virtual = "0000:03:00.0", ["0000:03:10.0", "0000:03:10.2"]
    files = {
        f"{folder}/{physical}/class": "0x020000", f"{folder}/{physical}/vendor": "0x8086",
        f"{folder}/{physical}/sriov_totalvfs": "63", f"{folder}/{physical}/sriov_numvfs": "2",
        f"{folder}/{physical}/numa_node": "1", f"{folder}/0000:00:1f.2/class": "0x010601",
    }  # fmt: skip
    links = {f"{folder}/{physical}/driver": "../../../../bus/pci/drivers/ixgbe"}
    for number, address in enumerate(virtual):
        files[f"{folder}/{address}/class"] = "0x020000"
        links[f"{folder}/{address}/physfn"] = f"../{physical}"
        links[f"{folder}/{address}/driver"] = "../../../../bus/pci/drivers/vfio-pci"
        links[f"{folder}/{physical}/virtfn{number}"] = f"../{address}"
    assert pci.network_devices(make(files, links)) == [
        {
            "BusInfo": physical,
            "VendorID": "0x8086",
            "Driver": "ixgbe",
            "NumaNode": 1,
            "TotalVfs": 63,
            "NumVfs": 2,
            "Vfs": [{"ID": n, "BusInfo": address, "Driver": "vfio-pci"} for n, address in enumerate(virtual)],
        }
    ]


def test_kernel_parameters_are_nested(make: Make) -> None:
    files = {"proc/sys/net/ipv4/ip_forward": "1\n", "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n"}
    files |= {"proc/sys/net/ipv4/ip_local_reserved_ports": "\n", "secret": "x"}
    expected = {"net": {"ipv4": {"ip_forward": 1, "tcp_rmem": "4096 131072 6291456"}}}
    assert sysctl.sysctls(make(files), [*sysctl.NAMES, "..secret", "a/../b"]) == expected


def test_messages_of_the_kernel() -> None:
    message = b"add@/devices/virtual/block/loop0\0ACTION=add\0SUBSYSTEM=block\0SEQNUM=7\0"
    assert uevents.subsystem(message) == "block"
    assert uevents.subsystem(b"libudev\0\xfe\xed\xca\xfe") is None
    assert uevents.subsystem(b"add@/devices/x\0ACTION=add\0") is None


LINES = st.lists(
    st.text(max_size=20)
    | st.builds(
        "{}\t: {}".format,
        st.sampled_from(["processor", "model", "stepping", "cpu MHz", "cache size", "Hardware", "btime 5", "MemTotal"]),
        st.text(max_size=8) | st.integers(-9, 10**12).map(str),
    )
    | st.builds("{}={}".format, st.sampled_from(["ID", "ID_LIKE", "A"]), st.text(max_size=8))
    | st.builds("1 2 {} / {} x".format, st.text(max_size=4), st.text(alphabet="\\0479a/", max_size=9)),
    max_size=12,
).map("\n".join)

PARSERS: list[Callable[[str], Any]] = [
    processors.cpus,
    system.os_release,
    system.command_line,
    system.boot_time,
    blocks.mount_points,
    lambda text: system.family(system.os_release(text)),
    lambda text: uevents.subsystem(text.encode("utf-8", "surrogatepass")),
    lambda text: uevents.subsystem(b"a@/b\0SUBSYSTEM=" + text.encode("utf-8", "surrogatepass")),
]


@given(LINES, st.sampled_from(PARSERS))
@settings(max_examples=1500, deadline=None)
def test_any_text_is_taken(text: str, parse: Callable[[str], Any]) -> None:
    json.dumps(parse(text))


@given(st.text(max_size=20) | st.text(alphabet="0123456789-,", max_size=9))
@settings(max_examples=500, deadline=None)
def test_lists_are_read_or_refused(text: str) -> None:
    try:
        found = processors.numbers(text)
    except processors.ListError:
        return
    assert all(0 <= number < processors.MAX_CPU for number in found)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_content_of_the_files_is_taken(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("root")
    names = [
        *RECORDED["files"], *(f"proc/sys/{name.replace('.', '/')}" for name in sysctl.NAMES[:4]), "proc/cmdline",
        "proc/stat", "sys/bus/pci/devices/0000:00:01.0/sriov_totalvfs", "sys/class/dmi/id/sys_vendor",
    ]  # fmt: skip
    chosen = data.draw(st.lists(st.sampled_from(names), max_size=40))
    for name in chosen:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.draw(st.binary(max_size=30) | st.integers(-5, 10**9).map(lambda n: str(n).encode())))
    json.dumps(gather(Files(root)))
