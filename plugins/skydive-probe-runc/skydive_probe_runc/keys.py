"""Every key of a container's node, with its source: what the probe says is made from this table, and so is README.md.

``python -m skydive_probe_runc.keys`` prints the table for README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import attrs

from skycore.plugin import labels
from skydive_probe_runc.reading import Found

_INSIDE: Final = "Container."


@attrs.frozen
class Key:
    """One key (dotted), what it means, where it comes from, and its value; what is empty is left out."""

    name: str
    meaning: str
    source: str
    value: Callable[[Found], Any]


def _labels(found: Found) -> tuple[dict[str, Any], int]:
    return labels.within_budget({**found.state.annotations, **found.left.labels})


def _nested(found: Found) -> dict[str, Any]:
    return labels.nest({name: labels.value(text) for name, text in _labels(found)[0].items()})


def _mounts(found: Found) -> list[dict[str, Any]]:
    return [
        {"Source": one.source, "Destination": one.destination, "ReadOnly": one.read_only} for one in found.state.mounts
    ]


KEYS: Final = (
    Key("Name", "the runtime's ID of it", "name of its folder", lambda found: found.state.id),
    Key("Type", "`container`", "-", lambda _: "container"),
    Key("Manager", "`runc`; `docker` where that probe knows it too", "-", lambda _: "runc"),
    Key("Container.ID", "the runtime's ID of it", "`id`", lambda found: found.state.id),
    Key(
        "Container.Name",
        "the name that its engine gave it",
        "annotations of CRI and CRI-O; `names` in `containers.json`",
        lambda found: found.left.name,
    ),
    Key(
        "Container.Image",
        "name of its image",
        "annotations; `metadata` in `containers.json`; `create-config`",
        lambda found: found.left.image,
    ),
    Key(
        "Container.ImageID",
        "ID of its image",
        "annotations; `image` in `containers.json`; `create-config`",
        lambda found: found.left.image_id,
    ),
    Key("Container.Runtime", "`runc` or `crun`", "which file there is", lambda found: found.state.runtime),
    Key(
        "Container.Engine",
        "`containerd`, `cri-o`, `podman`, `docker`; absent where nobody uses the runtime",
        "annotations, folder of the bundle",
        lambda found: found.left.engine,
    ),
    Key(
        "Container.Status",
        "`created`, `running`, `paused`, `stopped`",
        "`/proc/PID/stat`, `exec.fifo`, the freezer's cgroup",
        lambda found: found.status,
    ),
    Key(
        "Container.InitProcessPID",
        "its first process; absent when that has ended",
        "`init_process_pid`, `pid`",
        lambda found: None if found.status == "stopped" else found.state.pid,
    ),
    Key("Container.CreatedAt", "ms since the epoch", "`created`", lambda found: found.state.created),
    Key("Container.Hostname", "its host name", "`hostname`", lambda found: found.state.hostname),
    Key(
        "Container.Hosts",
        "`IP`, `Hostname`, `ByIP` (address → names), without loopback",
        "the file mounted at `/etc/hosts`",
        lambda found: found.hosts,
    ),
    Key("Container.Labels", "annotations and labels, nested by dots; JSON is decoded", "`labels`", _nested),
    Key(
        "Container.LabelsLeftOut",
        "labels for which there was no room (2 MiB)",
        "-",
        lambda found: _labels(found)[1],
    ),
    Key("Container.Mounts", "list of Source, Destination, ReadOnly: what is bound from the host", "`mounts`", _mounts),
    Key(
        "Container.Resources",
        "limits that are set: Memory, MemorySwap (bytes), CPUShares, CPUQuota, CPUPeriod (µs), CPUs, PidsLimit",
        "`cgroups`, `linux.resources`",
        lambda found: found.state.resources,
    ),
    Key(
        "Container.Pod",
        "Name, Namespace, UID, SandboxID, Kind (`sandbox` or `container`)",
        "annotations of CRI and CRI-O",
        lambda found: found.left.pod,
    ),
    Key("Container.Bundle", "folder of its bundle", "`bundle`", lambda found: found.state.bundle),
)


def metadata(found: Found) -> dict[str, Any]:
    """Metadata of the node of a container."""
    node: dict[str, Any] = {}
    inside: dict[str, Any] = {}
    for key in KEYS:
        value = key.value(found)
        if value in (None, "", 0, [], {}):
            continue
        if key.name.startswith(_INSIDE):
            inside[key.name.removeprefix(_INSIDE)] = value
        else:
            node[key.name] = value
    return {**node, "Container": {"Labels": {}, **inside}}


def markdown() -> str:
    """The table for README.md."""
    rows = [f"| `{key.name}` | {key.meaning} | {key.source} |" for key in KEYS]
    return "\n".join(["| Key | Meaning or unit | Source |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
