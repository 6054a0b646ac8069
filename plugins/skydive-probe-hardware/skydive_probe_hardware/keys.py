"""Every key that this plugin writes on the host's node: meaning or unit, and source.  README.md shows this table.

``gather`` says what is in it and nothing else.
"""

from __future__ import annotations

from typing import Any, Final

KEYS: Final[tuple[tuple[str, str, str], ...]] = (
    ("OS", "`linux`", "-"),
    ("Platform", "distribution, such as `debian`", "os-release, `ID`"),
    ("PlatformFamily", "`debian`, `rhel`, `suse` …", "os-release, `ID`, `ID_LIKE`"),
    ("PlatformVersion", "text", "os-release, `VERSION_ID`"),
    ("KernelVersion", "release of the kernel", "uname(2)"),
    ("Architecture", "`x86_64`, `aarch64` …", "uname(2)"),
    ("VirtualizationSystem", "container system around the agent, else the hypervisor: `docker`, `kvm` …", "below"),
    ("VirtualizationRole", "`guest`, `host`", "below"),
    ("KernelCmdLine", "parameter → text, true for a bare word; secrets are `***`", "`/proc/cmdline`"),
    ("InstanceID", "name that the cloud gave this machine", "`/var/lib/cloud/data/instance-id`"),
    ("BootTime", "ms since the epoch", "`/proc/stat`, `btime`"),
    ("Memory.Total", "bytes", "`/proc/meminfo`"),
    ("Memory.SwapTotal", "bytes", "`/proc/meminfo`"),
    ("Memory.HugePages", "bytes of a page → pages set aside", "`/sys/kernel/mm/hugepages`"),
    ("CPU.CPU", "number of the logical processor", "`/proc/cpuinfo`"),
    ("CPU.Cores", "1", "-"),
    ("CPU.VendorID", "text", "`/proc/cpuinfo`"),
    ("CPU.Family", "text", "`/proc/cpuinfo`"),
    ("CPU.Model", "text", "`/proc/cpuinfo`"),
    ("CPU.Stepping", "number", "`/proc/cpuinfo`"),
    ("CPU.PhysicalID", "socket", "`/proc/cpuinfo`"),
    ("CPU.CoreID", "core in its socket", "`/proc/cpuinfo`"),
    ("CPU.ModelName", "text", "`/proc/cpuinfo`"),
    (
        "CPU.Mhz",
        "MHz at most; as first seen where the kernel only tells the speed of the moment",
        "cpufreq, `/proc/cpuinfo`",
    ),
    ("CPU.CacheSize", "KiB", "`/proc/cpuinfo`"),
    ("CPU.Microcode", "text", "`/proc/cpuinfo`"),
    ("IsolatedCPU", "numbers of processors kept free of ordinary tasks", "`/sys/devices/system/cpu/isolated`"),
    ("NUMA.Node", "number", "`/sys/devices/system/node`"),
    ("NUMA.CPUs", "numbers of processors", "`cpulist`"),
    ("NUMA.Memory", "bytes", "`meminfo`"),
    ("NUMA.Distances", "to each node; 10 is its own", "`distance`"),
    ("BlockDevices.Name", "as in `/dev`", "`/sys/block`"),
    ("BlockDevices.Type", "`disk loop rom lvm mpath crypt dm raid1` …", "`dm/uuid`, `md/level`"),
    ("BlockDevices.MajorMinor", "`254:0`", "`dev`"),
    ("BlockDevices.Size", "bytes", "`size`"),
    ("BlockDevices.ReadOnly", "yes or no", "`ro`"),
    ("BlockDevices.Removable", "yes or no", "`removable`"),
    ("BlockDevices.Rotational", "yes or no", "`queue/rotational`"),
    ("BlockDevices.Model", "text", "`device/model`"),
    ("BlockDevices.Vendor", "text", "`device/vendor`"),
    ("BlockDevices.Serial", "text", "`serial`"),
    ("BlockDevices.WWN", "world-wide name", "`wwid`"),
    ("BlockDevices.Firmware", "text", "`device/firmware_rev`, `device/rev`"),
    ("BlockDevices.Driver", "text", "`device/driver`"),
    ("BlockDevices.Scheduler", "text", "`queue/scheduler`"),
    ("BlockDevices.LogicalBlockSize", "bytes", "`queue/logical_block_size`"),
    ("BlockDevices.PhysicalBlockSize", "bytes", "`queue/physical_block_size`"),
    ("BlockDevices.MappedName", "name of a mapped device", "`dm/name`"),
    ("BlockDevices.BackingFile", "file behind a loop device", "`loop/backing_file`"),
    ("BlockDevices.Below", "names of the devices it is made of", "`slaves`"),
    ("BlockDevices.Above", "names of the devices made of it", "`holders`"),
    ("BlockDevices.Mountpoints", "where it is mounted as a whole; at most 16", "`/proc/self/mountinfo`"),
    ("BlockDevices.Swap", "true when it is swapped to", "`/proc/swaps`"),
    ("BlockDevices.Partitions", "list with the same keys", "`partition`"),
    ("NetworkDevices.BusInfo", "PCI address", "`/sys/bus/pci/devices`"),
    ("NetworkDevices.VendorID", "`0x8086` …", "`vendor`"),
    ("NetworkDevices.DeviceID", "`0x1572` …", "`device`"),
    ("NetworkDevices.Driver", "text; `vfio-pci` when given to a guest or to DPDK", "`driver`"),
    ("NetworkDevices.IommuGroup", "text", "`iommu_group`"),
    ("NetworkDevices.NumaNode", "number", "`numa_node`"),
    ("NetworkDevices.TotalVfs", "virtual functions at most", "`sriov_totalvfs`"),
    ("NetworkDevices.NumVfs", "virtual functions that exist", "`sriov_numvfs`"),
    ("NetworkDevices.Vfs", "list of `ID`, `BusInfo`, `VendorID`, `DeviceID`, `Driver`, `IommuGroup`", "`virtfnN`"),
    ("Sysctl", "nested: `Sysctl.net.ipv4.ip_forward`; numbers, else text", "`/proc/sys`"),
)
"""(key below the node's metadata, meaning or unit, source).  Keys of list members are written as of objects."""


_PATHS: Final = frozenset(path for path, _, _ in KEYS)
_GROUPS: Final = frozenset(path.rpartition(".")[0] for path in _PATHS if "." in path)


def listed(found: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The metadata that the table lists: what it does not is never said."""
    said = {}
    for key, value in found.items():
        path = f"{above}{key}"
        if path in _PATHS:
            said[key] = value
        elif path in _GROUPS:
            said[key] = (
                [listed(each, f"{path}.") for each in value] if isinstance(value, list) else listed(value, f"{path}.")
            )
    return said


def table() -> str:
    """The keys as the rows of a Markdown table."""
    return "\n".join(f"| `{key}` | {meaning} | {source} |" for key, meaning, source in KEYS)
