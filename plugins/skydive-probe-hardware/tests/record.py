"""Record what the plugin reads of this machine, and what lscpu and lsblk say of it.

    python plugins/skydive-probe-hardware/tests/record.py NAME

writes ``tests/data/NAME.json``.  Only the files named here are taken; of mountinfo only the lines of block
devices that are mounted as a whole.  The kernel's command line is not recorded: it may hold secrets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

FILES = (
    "etc/os-release",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/swaps",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/clocksource/clocksource0/available_clocksource",
)
PATTERNS = (
    "sys/block/*/{size,dev,ro,removable,serial,wwid}",
    "sys/block/*/queue/{rotational,scheduler,logical_block_size,physical_block_size}",
    "sys/block/*/device/{model,vendor,serial,rev,type}",
    "sys/block/*/loop/backing_file",
    "sys/bus/pci/devices/*/{class,vendor,device,numa_node,sriov_totalvfs,sriov_numvfs}",
    "sys/devices/system/node/node*/{cpulist,distance,meminfo}",
    "sys/kernel/mm/hugepages/*/nr_hugepages",
)
LINKS = ("sys/block/*/device/driver", "sys/bus/pci/devices/*/{driver,physfn}", "sys/bus/pci/devices/*/virtfn*")


def expand(pattern: str) -> list[Path]:
    head, brace, rest = pattern.partition("{")
    if not brace:
        return sorted(Path("/").glob(pattern))
    names, _, tail = rest.partition("}")
    return [path for name in names.split(",") for path in sorted(Path("/").glob(head + name + tail))]


def main() -> None:
    files: dict[str, str] = {}
    for source in [*(Path("/") / name for name in FILES), *(path for pattern in PATTERNS for path in expand(pattern))]:
        try:
            files[str(source.relative_to("/"))] = source.read_text()
        except OSError:
            continue
    lines = Path("/proc/self/mountinfo").read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.split(" ")[3] == "/" and not line.split(" ")[2].startswith("0:")]
    files["proc/self/mountinfo"] = "".join(whole)
    links = {str(link.relative_to("/")): os.readlink(link) for pattern in LINKS for link in expand(pattern)}
    told = {
        name: json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for name, command in (("lscpu", ["lscpu", "-J"]), ("lsblk", ["lsblk", "-J", "-b", "-a", "-O"]))
    }
    kernel = os.uname()
    recorded = f"{datetime.now(UTC):%Y-%m-%d}, Linux {kernel.release}, {kernel.machine}"
    document = {"recorded": recorded, "files": files, "links": links, **told}
    target = Path(__file__).parent / "data" / f"{sys.argv[1]}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
