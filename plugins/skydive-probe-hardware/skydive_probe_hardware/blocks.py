"""Block devices, from sysfs, and where they are mounted.

Sources: the kernel's Documentation/ABI/stable/sysfs-block, Documentation/block/stat.rst; proc_pid_mountinfo(5).
"""

from __future__ import annotations

import re
from typing import Any, Final

from skydive_probe_hardware.files import Files

MOST_DEVICES: Final = 512
"""Devices that are shown; hosts with thousands of mapped volumes exist."""
MOST_MOUNTS: Final = 16
"""Mount points that are shown of one device."""

_SECTOR: Final = 512
_OCTAL: Final = re.compile(r"\\([0-3][0-7]{2})")


def block_devices(files: Files) -> list[dict[str, Any]]:
    """Disks with their partitions, loop and mapped devices; none that has no medium or backing file."""
    mounts = mount_points(files.text("proc/self/mountinfo") or "")
    swaps = {line.split(" ")[0] for line in (files.text("proc/swaps") or "").splitlines()}
    found: list[dict[str, Any]] = []
    for name in files.names("sys/block"):
        path = f"sys/block/{name}"
        device = _device(files, path, name, mounts, swaps)
        if device is None:
            continue
        device["Type"] = _type(files, path, name)
        partitions = []
        for child in files.names(path):
            if child.startswith(name) and files.exists(f"{path}/{child}/partition"):
                partition = _device(files, f"{path}/{child}", child, mounts, swaps)
                if partition is not None:
                    partitions.append(partition)
        if partitions:
            device["Partitions"] = partitions
        found.append(device)
    return found[:MOST_DEVICES]


def mount_points(mountinfo: str) -> dict[str, list[str]]:
    """Where each device (``major:minor``) is mounted as a whole; parts of it mounted elsewhere are left out."""
    found: dict[str, list[str]] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) > 5 and fields[3] == "/":
            places = found.setdefault(fields[2], [])
            place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            if place not in places and len(places) < MOST_MOUNTS:
                places.append(place)
    return found


def _device(files: Files, path: str, name: str, mounts: dict[str, list[str]], swaps: set[str]) -> dict[str, Any] | None:
    sectors = files.number(f"{path}/size")
    number = files.text(f"{path}/dev") or ""
    if not sectors:
        return None
    device: dict[str, Any] = {"Name": name.replace("!", "/"), "MajorMinor": number, "Size": sectors * _SECTOR}
    for key, file in (("ReadOnly", "ro"), ("Removable", "removable"), ("Rotational", "queue/rotational")):
        flag = files.number(f"{path}/{file}")
        if flag is not None:
            device[key] = bool(flag)
    texts = {
        "Model": files.text(f"{path}/device/model"),
        "Vendor": files.text(f"{path}/device/vendor"),
        "Serial": files.text(f"{path}/serial") or files.text(f"{path}/device/serial"),
        "WWN": files.text(f"{path}/wwid") or files.text(f"{path}/device/wwid"),
        "Firmware": files.text(f"{path}/device/firmware_rev") or files.text(f"{path}/device/rev"),
        "Driver": files.target(f"{path}/device/driver"),
        "Scheduler": _chosen(files.text(f"{path}/queue/scheduler") or ""),
        "MappedName": files.text(f"{path}/dm/name"),
        "BackingFile": files.text(f"{path}/loop/backing_file"),
    }
    if (texts["Vendor"] or "").startswith("0x"):
        # The number of a virtio device's maker stands in the same place; it names nothing.
        texts["Vendor"] = None
    device.update({key: text for key, text in texts.items() if text})
    for key, file in (("LogicalBlockSize", "logical_block_size"), ("PhysicalBlockSize", "physical_block_size")):
        size = files.number(f"{path}/queue/{file}")
        if size:
            device[key] = size
    for key, folder in (("Below", "slaves"), ("Above", "holders")):
        others = files.names(f"{path}/{folder}")
        if others:
            device[key] = others
    if number in mounts:
        device["Mountpoints"] = mounts[number]
    if f"/dev/{name}" in swaps:
        device["Swap"] = True
    return device


def _chosen(text: str) -> str | None:
    """The word in brackets of a list of choices."""
    match = re.search(r"\[([^\]]+)\]", text)
    return match[1] if match else text or None


def _type(files: Files, path: str, name: str) -> str:
    if files.exists(f"{path}/dm"):
        kind = (files.text(f"{path}/dm/uuid") or "").partition("-")[0].lower()
        return kind if kind in ("lvm", "mpath", "crypt") else "dm"
    if files.exists(f"{path}/md"):
        return files.text(f"{path}/md/level") or "md"
    if name.startswith("loop"):
        return "loop"
    # Type 5 of SCSI is a CD or DVD.
    return "rom" if name.startswith("sr") or files.text(f"{path}/device/type") == "5" else "disk"
