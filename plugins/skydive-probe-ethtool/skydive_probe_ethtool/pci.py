"""What sysfs tells of an interface's PCI function: virtual functions (SR-IOV) and NUMA node.

Source: the kernel's Documentation/ABI/testing/sysfs-bus-pci (sriov_numvfs, virtfnN, physfn, numa_node).  /sys/bus/pci
is the same in every network namespace.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

PCI_DEVICES: Final = Path("/sys/bus/pci/devices")

_ADDRESS: Final = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_VIRTFN: Final = re.compile(r"virtfn(\d+)")


def pci_facts(bus_info: str, devices: Path = PCI_DEVICES) -> dict[str, Any]:
    """Keys of the interface at a PCI address: ``VfBusInfo``, ``VfID``, ``PfBusInfo``, ``NumaNode``, as they apply.

    Empty for an address of another kind, and for a function that is gone.
    """
    if not _ADDRESS.fullmatch(bus_info):
        return {}
    device = devices / bus_info
    facts: dict[str, Any] = {}
    virtual = _virtual_functions(device)
    if virtual:
        facts["VfBusInfo"] = [virtual[number] for number in sorted(virtual)]
    physical = _target(device / "physfn")
    if physical is not None:
        facts["PfBusInfo"] = physical
        for number, address in _virtual_functions(devices / physical).items():
            if address == bus_info:
                facts["VfID"] = number
    node = _number(device / "numa_node")
    if node is not None and node >= 0:
        facts["NumaNode"] = node
    return facts


def _virtual_functions(device: Path) -> dict[int, str]:
    try:
        names = os.listdir(device)
    except OSError:
        return {}
    found = {}
    for name in names:
        match = _VIRTFN.fullmatch(name)
        address = _target(device / name) if match else None
        if match and address is not None:
            found[int(match[1])] = address
    return found


def _target(link: Path) -> str | None:
    try:
        address = os.path.basename(os.readlink(link))
    except OSError:
        return None
    return address if _ADDRESS.fullmatch(address) else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
