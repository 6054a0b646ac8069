"""PCI network devices and their virtual functions, whether or not a driver makes interfaces of them.

Source: the kernel's Documentation/ABI/testing/sysfs-bus-pci.
"""

from __future__ import annotations

import re
from typing import Any, Final

from skydive_probe_hardware.files import Files

_FOLDER: Final = "sys/bus/pci/devices"
_NETWORK: Final = 0x02
"""Base class of network controllers (PCI Code and ID Assignment Specification)."""

_VIRTFN: Final = re.compile(r"virtfn(\d{1,5})", re.ASCII)


def network_devices(files: Files) -> list[dict[str, Any]]:
    """Network controllers by PCI address.  Virtual functions stand below their physical one, by number."""
    found = []
    for address in files.names(_FOLDER):
        path = f"{_FOLDER}/{address}"
        kind = files.number(f"{path}/class")
        if kind is None or kind >> 16 != _NETWORK or files.target(f"{path}/physfn"):
            continue
        device = _function(files, address)
        node = files.number(f"{path}/numa_node")
        if node is not None and node >= 0:
            device["NumaNode"] = node
        total = files.number(f"{path}/sriov_totalvfs")
        if total:
            device["TotalVfs"] = total
            device["NumVfs"] = files.number(f"{path}/sriov_numvfs") or 0
            virtual = _virtual_functions(files, path)
            if virtual:
                device["Vfs"] = virtual
        found.append(device)
    return found


def _virtual_functions(files: Files, path: str) -> list[dict[str, Any]]:
    found = []
    for name in files.names(path):
        match = _VIRTFN.fullmatch(name)
        address = files.target(f"{path}/{name}") if match else None
        if match and address:
            found.append({"ID": int(match[1]), **_function(files, address)})
    return found


def _function(files: Files, address: str) -> dict[str, Any]:
    path = f"{_FOLDER}/{address}"
    facts = {
        "BusInfo": address,
        "VendorID": files.text(f"{path}/vendor"),
        "DeviceID": files.text(f"{path}/device"),
        "Driver": files.target(f"{path}/driver"),
        "IommuGroup": files.target(f"{path}/iommu_group"),
    }
    return {key: value for key, value in facts.items() if value}
