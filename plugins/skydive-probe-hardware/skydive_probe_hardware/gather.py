"""All that the plugin says of the host, in one go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skydive_probe_hardware import blocks, keys, pci, processors, sysctl, system
from skydive_probe_hardware.files import Files


def gather(files: Files, extra_sysctls: Iterable[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """(metadata of the host's node, what could not be understood).  Reads many small files: for a worker thread."""
    metadata = system.system(files, *system.here())
    complaints = []
    try:
        metadata.update(processors.processors(files))
    except processors.ListError as error:
        complaints.append(f"the list of isolated processors cannot be read: {error}")
        metadata["CPU"] = processors.cpus(files.text("proc/cpuinfo") or "")
    for key, value in (
        ("NUMA", processors.numa(files)),
        ("BlockDevices", blocks.block_devices(files)),
        ("NetworkDevices", pci.network_devices(files)),
        ("Sysctl", sysctl.sysctls(files, [*sysctl.NAMES, *extra_sysctls])),
    ):
        if value:
            metadata[key] = value
    return keys.listed(metadata), complaints
