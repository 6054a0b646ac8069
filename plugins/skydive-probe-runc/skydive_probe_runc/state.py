"""What runc and crun write of a container; no input or output here.

Sources: ``state.json`` is libcontainer's ``State`` (runc, libcontainer/container_linux.go and configs/config.go);
``status`` is crun's (src/libcrun/status.c); ``config.json`` is the OCI runtime specification's, 1.0 and 1.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

RUNC_FILE: Final = "state.json"
CRUN_FILE: Final = "status"
FILES: Final = (RUNC_FILE, CRUN_FILE)

_MS_RDONLY: Final = 1  # linux/mount.h

_RUNC_RESOURCES: Final = {
    "Memory": "memory",
    "MemorySwap": "memory_swap",
    "CPUShares": "cpu_shares",
    "CPUQuota": "cpu_quota",
    "CPUPeriod": "cpu_period",
    "CPUs": "cpuset_cpus",
    "PidsLimit": "pids_limit",
}
_OCI_RESOURCES: Final = {
    "Memory": ("memory", "limit"),
    "MemorySwap": ("memory", "swap"),
    "CPUShares": ("cpu", "shares"),
    "CPUQuota": ("cpu", "quota"),
    "CPUPeriod": ("cpu", "period"),
    "CPUs": ("cpu", "cpus"),
    "PidsLimit": ("pids", "limit"),
}


class BadState(Exception):
    """A file that is no state of a container (yet); the message says what is wrong with it."""


@attrs.frozen
class Mount:
    source: str
    destination: str
    read_only: bool


@attrs.frozen
class State:
    """One container as its runtime wrote it.

    ``pid`` is 0 when it has none; ``started`` is the start of that process in clock ticks since boot (field 22 of
    proc_pid_stat(5)), ``created`` in ms since the epoch.  ``namespace`` is the file of the network namespace that
    it joined, "" for one of its own; None tells that it stays in the host's.  ``freezers`` are the cgroup files
    that tell whether it is frozen, of either version (cgroups(7)).  ``mounts`` are those that bind something of the
    host.
    """

    runtime: str
    id: str
    pid: int
    started: int
    created: int
    namespace: str | None
    bundle: str
    annotations: Mapping[str, str]
    hostname: str
    mounts: Sequence[Mount]
    resources: Mapping[str, Any]
    freezers: Sequence[str]


def decode(body: bytes, what: str) -> Mapping[str, Any]:
    """A JSON object; BadState when it is none."""
    try:
        # Replaced, not refused: a name of other bytes is still a name.
        found = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise BadState(f"{what} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadState(f"{what} is no object but {type(found).__name__}")
    return found


def read_runc(document: Mapping[str, Any], *, id: str) -> State:
    """What runc's ``state.json`` tells; ``id`` is its folder's name.  Raises BadState."""
    config = section(document, "config")
    labels: dict[str, str] = {}
    for label in entries(config, "labels"):
        name, _, value = _text(label, "config.labels").partition("=")
        labels[name] = value
    # runc adds the folder of the bundle to the annotations.
    bundle = labels.pop("bundle", "")
    networks = [one for one in map(_object, entries(config, "namespaces")) if one.get("type") == "NEWNET"]
    groups = section(config, "cgroups")
    return State(
        runtime="runc",
        id=text(document, "id") or id,
        pid=_pid(document, "init_process_pid"),
        started=_number(document, "init_process_start"),
        created=milliseconds(text(document, "created")),
        namespace=text(networks[0], "path") if networks else None,
        bundle=bundle,
        annotations=labels,
        hostname=text(config, "hostname"),
        mounts=[
            Mount(text(one, "source"), text(one, "destination"), bool(_number(one, "flags") & _MS_RDONLY))
            for one in map(_object, entries(config, "mounts"))
            if one.get("device") == "bind"
        ],
        resources=_set({name: groups.get(key) for name, key in _RUNC_RESOURCES.items()}),
        freezers=_freezers(section(document, "cgroup_paths")),
    )


def read_crun(document: Mapping[str, Any], config: Mapping[str, Any], *, id: str) -> State:
    """What crun's ``status`` tells, together with the ``config.json`` of its bundle.  Raises BadState."""
    linux = section(config, "linux")
    networks = [one for one in map(_object, entries(linux, "namespaces")) if one.get("type") == "network"]
    limits = section(linux, "resources")
    group = text(document, "cgroup-path").strip("/")
    return State(
        runtime="crun",
        id=id,
        pid=_pid(document, "pid"),
        started=_number(document, "process-start-time"),
        created=milliseconds(text(document, "created")),
        namespace=text(networks[0], "path") if networks else None,
        bundle=text(document, "bundle"),
        annotations=annotations_of(config),
        hostname=text(config, "hostname"),
        mounts=[
            Mount(text(one, "source"), text(one, "destination"), "ro" in entries(one, "options"))
            for one in map(_object, entries(config, "mounts"))
            if one.get("type") == "bind" or {"bind", "rbind"} & {str(option) for option in entries(one, "options")}
        ],
        resources=_set({name: section(limits, path[0]).get(path[1]) for name, path in _OCI_RESOURCES.items()}),
        freezers=_freezers(
            {"freezer": f"/sys/fs/cgroup/freezer/{group}", "": f"/sys/fs/cgroup/{group}"} if group else {}
        ),
    )


def annotations_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The annotations of a ``config.json``."""
    return {_text(name, "annotations"): _text(value, name) for name, value in section(config, "annotations").items()}


def milliseconds(time: str) -> int:
    """An RFC 3339 time in ms since the epoch; 0 for none, and for the year 1, by which Go means none."""
    try:
        moment = datetime.fromisoformat(time)
        return max(int(moment.timestamp() * 1000), 0) if moment.tzinfo else 0
    except (ValueError, OverflowError):
        return 0


def section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an object; absent and null are empty ones."""
    return _object(document.get(name), name)


def entries(document: Mapping[str, Any], name: str) -> list[Any]:
    """A list within an object; absent and null are empty ones."""
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise BadState(f"{name} is no list but {type(found).__name__}")
    return found


def text(document: Mapping[str, Any], name: str) -> str:
    """A text within an object, as what can be written as UTF-8; absent and null are empty ones."""
    found = document.get(name)
    return "" if found is None else _text(found, name)


def _object(found: Any, name: str = "an entry") -> Mapping[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadState(f"{name} is no object but {type(found).__name__}")
    return found


def _text(found: Any, name: str) -> str:
    if not isinstance(found, str):
        raise BadState(f"{name} is no text but {type(found).__name__}")
    return found.encode("utf-8", "replace").decode("utf-8")


def _number(document: Mapping[str, Any], name: str) -> int:
    """A number; runc wrote some of them as text once."""
    found = document.get(name, 0)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
        return int(found)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool):
        raise BadState(f"{name} is no number but {type(found).__name__}")
    return found


def _pid(document: Mapping[str, Any], name: str) -> int:
    pid = _number(document, name)
    if not -1 <= pid < 1 << 31:
        raise BadState(f"{name} is no process ID")
    return max(pid, 0)


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    """Limits that are set; 0 and -1 stand for none."""
    return {
        name: value
        for name, value in values.items()
        if (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63)
        or (isinstance(value, str) and value)
    }


def _freezers(paths: Mapping[str, Any]) -> list[str]:
    """By controller; cgroup v2 is the one without a name."""
    files = {"freezer": "freezer.state", "": "cgroup.freeze"}
    return [f"{path}/{file}" for name, file in files.items() if isinstance(path := paths.get(name), str) and path]
