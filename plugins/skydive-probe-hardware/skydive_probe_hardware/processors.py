"""Processors, and the kernel's lists of numbers.

Sources: /proc/cpuinfo (proc(5); its form differs by architecture), the kernel's
Documentation/ABI/testing/sysfs-devices-system-cpu (isolated, cpufreq).
"""

from __future__ import annotations

import re
from typing import Any, Final

from skydive_probe_hardware.files import Files

MAX_CPU: Final = 1 << 16
"""Numbers of processors beyond this are refused; Linux is built for at most 8,192."""

_RANGE: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")

# x86 first, then the words of ARM.
_TEXTS: Final = (
    ("VendorID", ("vendor_id", "CPU implementer")),
    ("Family", ("cpu family", "CPU architecture")),
    ("Model", ("model", "CPU part")),
    ("PhysicalID", ("physical id",)),
    ("CoreID", ("core id",)),
    ("ModelName", ("model name", "Model Name", "Processor", "cpu model")),
    ("Microcode", ("microcode",)),
)


class ListError(ValueError):
    """A text that is no list of numbers; the message holds it."""


def numbers(text: str) -> list[int]:
    """The numbers of a list such as ``3,4,7-9``; empty for an empty one.  Raises ListError."""
    found: list[int] = []
    for part in text.strip().split(",") if text.strip() else []:
        match = _RANGE.fullmatch(part)
        if not match or not match[0].isascii():
            raise ListError(f"{part!r} in {text!r} is neither a number nor a range")
        first = int(match[1])
        last = int(match[2] or match[1])
        if last < first or last >= MAX_CPU:
            raise ListError(f"{part!r} in {text!r} is no range from 0 to {MAX_CPU - 1}")
        found += range(first, last + 1)
    return found


def cpus(cpuinfo: str) -> list[dict[str, Any]]:
    """One entry for each logical processor of /proc/cpuinfo; keys whose value is unknown are absent."""
    found: list[dict[str, Any]] = []
    current: dict[str, str] = {}
    common: dict[str, str] = {}
    for line in [*cpuinfo.splitlines(), ""]:
        key, colon, value = line.partition(":")
        if colon:
            current[key.strip()] = value.strip()
        elif current:
            if current.get("processor", "").isdecimal():
                found.append(_cpu(current))
            else:
                common = current
            current = {}
    # On ARM the model's name may stand once, for all.
    name = common.get("Hardware")
    return [{**cpu, "ModelName": cpu.get("ModelName") or name} if name else cpu for cpu in found]


def _cpu(fields: dict[str, str]) -> dict[str, Any]:
    cpu: dict[str, Any] = {"CPU": int(fields["processor"]), "Cores": 1}
    for key, names in _TEXTS:
        text = next((fields[name] for name in names if fields.get(name)), "")
        if text:
            cpu[key] = text
    for key, names in (("Stepping", ("stepping", "CPU revision")), ("CacheSize", ("cache size",))):
        number = next((fields[name].split(" ")[0] for name in names if fields.get(name)), "")
        if number.isascii() and number.isdigit() and len(number) < 10:
            cpu[key] = int(number)
    megahertz = re.fullmatch(r"(\d{1,9})(\.\d+)?(MHz)?", fields.get("cpu MHz", fields.get("clock", "")), re.ASCII)
    if megahertz:
        cpu["Mhz"] = int(megahertz[1])
    return cpu


def processors(files: Files) -> dict[str, Any]:
    """``CPU`` and ``IsolatedCPU`` of the host.  Raises ListError when the kernel's list cannot be read."""
    found: dict[str, Any] = {}
    cpu = cpus(files.text("proc/cpuinfo") or "")
    for entry in cpu:
        # What the processor can do; the speed of the moment, in cpuinfo, changes all the time.
        highest = files.number(f"sys/devices/system/cpu/cpu{entry['CPU']}/cpufreq/cpuinfo_max_freq")
        if highest:
            entry["Mhz"] = highest // 1000
    if cpu:
        found["CPU"] = cpu
    isolated = numbers(files.text("sys/devices/system/cpu/isolated") or "")
    if isolated:
        found["IsolatedCPU"] = isolated
    return found


def numa(files: Files) -> list[dict[str, Any]]:
    """NUMA nodes: their processors, memory in bytes and distances to all nodes, nearest is 10."""
    found = []
    folder = "sys/devices/system/node"
    for name in files.names(folder):
        if not re.fullmatch(r"node\d+", name, re.ASCII):
            continue
        node: dict[str, Any] = {"Node": int(name[4:])}
        try:
            node["CPUs"] = numbers(files.text(f"{folder}/{name}/cpulist") or "")
            node["Distances"] = [int(number) for number in (files.text(f"{folder}/{name}/distance") or "").split()]
        except ValueError:
            # A node that is being taken out; what is left of it is still true.
            pass
        total = re.search(r"MemTotal:\s+(\d+) kB", files.text(f"{folder}/{name}/meminfo") or "")
        if total:
            node["Memory"] = int(total[1]) * 1024
        found.append(node)
    return found
