"""Every key of a container's node, with its source: what the probe says is made from this table, and so is README.md.

Sources are named as in the Docker Engine API, ``GET /containers/{id}/json`` (ContainerInspect), versions 1.24 to 1.47.
``python -m skydive_probe_docker.keys`` prints the table for README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from skycore.plugin import labels
from skydive_probe_docker.answer import Answer, as_object, as_text, entries, flag, moment, number, section, text

_INSIDE: Final = "Container."
_RESOURCES: Final = {
    "Memory": "Memory",
    "MemorySwap": "MemorySwap",
    "MemoryReservation": "MemoryReservation",
    "NanoCPUs": "NanoCpus",
    "CPUShares": "CpuShares",
    "CPUQuota": "CpuQuota",
    "CPUPeriod": "CpuPeriod",
    "PidsLimit": "PidsLimit",
}


@attrs.frozen
class Inspected:
    """What is known of a container: the answer of ``inspect``, which engine gave it, and its image's digests."""

    answer: Answer
    engine: str
    digests: Sequence[str]


@attrs.frozen
class Key:
    """One key (dotted), what it means, where it comes from, and its value; what is empty is left out."""

    name: str
    meaning: str
    source: str
    value: Callable[[Inspected], Any]


def name_of(answer: Answer) -> str:
    """A container's name, without the slash that docker writes before it."""
    return text(answer, "Name").removeprefix("/") or text(answer, "Id")[:12]


def running(answer: Answer) -> bool:
    """Whether it has a process; a paused container runs."""
    return flag(answer, "State", "Running") and number(answer, "State", "Pid") > 0


def _labels(found: Inspected) -> tuple[dict[str, Any], int]:
    given = section(found.answer, "Config", "Labels")
    return labels.within_budget({as_text(name, "a label"): as_text(value, "a label") for name, value in given.items()})


def _kept(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", 0, None, [])}


def _address(network: Answer, address: str, length: str) -> str:
    found = text(network, address)
    return f"{found}/{number(network, length)}" if found else ""


def _networks(found: Inspected) -> list[dict[str, Any]]:
    """Those it is in; one that does not run is in none, and docker does not tell when its plans change."""
    networks: list[dict[str, Any]] = []
    if not running(found.answer):
        return networks
    for name, value in sorted(section(found.answer, "NetworkSettings", "Networks").items()):
        network = as_object(value, "Networks")
        networks.append(
            _kept(
                Name=as_text(name, "a network"),
                ID=text(network, "NetworkID"),
                EndpointID=text(network, "EndpointID"),
                IPV4=_address(network, "IPAddress", "IPPrefixLen"),
                IPV6=_address(network, "GlobalIPv6Address", "GlobalIPv6PrefixLen"),
                Gateway=text(network, "Gateway"),
                MAC=text(network, "MacAddress"),
                Aliases=[as_text(alias, "Aliases") for alias in entries(network, "Aliases")],
            )
        )
    return networks


def _ports(found: Inspected) -> list[dict[str, Any]]:
    ports = []
    for name, value in sorted(section(found.answer, "NetworkSettings", "Ports").items()):
        port, _, protocol = as_text(name, "a port").partition("/")
        exposed = _kept(Port=_port(port), Protocol=protocol or "tcp")
        bindings = entries({"Ports": value}, "Ports")
        for binding in bindings:
            published = as_object(binding, "Ports")
            ports.append(
                {**exposed, **_kept(HostIP=text(published, "HostIp"), HostPort=_port(text(published, "HostPort")))}
            )
        if not bindings:
            ports.append(exposed)
    return ports


def _port(value: str) -> int | str:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else value


def _mounts(found: Inspected) -> list[dict[str, Any]]:
    mounts = [as_object(mount, "Mounts") for mount in entries(found.answer, "Mounts")]
    return [
        {
            **_kept(
                Type=text(mount, "Type"),
                Name=text(mount, "Name"),
                Source=text(mount, "Source"),
                Destination=text(mount, "Destination"),
                Driver=text(mount, "Driver"),
            ),
            "ReadOnly": not flag(mount, "RW"),
        }
        for mount in sorted(mounts, key=lambda mount: text(mount, "Destination"))
    ]


def _resources(found: Inspected) -> dict[str, Any]:
    limits = {name: number(found.answer, "HostConfig", key) for name, key in _RESOURCES.items()}
    cpus = text(found.answer, "HostConfig", "CpusetCpus")
    return {**{name: limit for name, limit in limits.items() if limit > 0}, **_kept(CPUs=cpus)}


def _restart_policy(found: Inspected) -> str:
    policy = section(found.answer, "HostConfig", "RestartPolicy")
    name, tries = text(policy, "Name"), number(policy, "MaximumRetryCount")
    if name in ("", "no"):
        return ""
    return f"{name}:{tries}" if tries else name


def _pid(found: Inspected) -> int:
    return number(found.answer, "State", "Pid") if running(found.answer) else 0


def _exit_code(found: Inspected) -> int | None:
    if running(found.answer) or not moment(found.answer, "State", "FinishedAt"):
        return None
    return number(found.answer, "State", "ExitCode")


def _health(found: Inspected) -> str:
    status = text(found.answer, "State", "Health", "Status")
    return "" if status == "none" else status


KEYS: Final = (
    Key("Name", "its name, without the leading `/`", "`Name`", lambda found: name_of(found.answer)),
    Key("Type", "`container`", "-", lambda _: "container"),
    Key("Manager", "`docker`", "-", lambda _: "docker"),
    Key("Container.ID", "its ID", "`Id`", lambda found: text(found.answer, "Id")),
    Key("Container.Image", "name of its image", "`Config.Image`", lambda found: text(found.answer, "Config", "Image")),
    Key("Container.ImageID", "ID of its image", "`Image`", lambda found: text(found.answer, "Image")),
    Key(
        "Container.ImageDigests",
        "list of `name@digest`: where the image was pulled from",
        "`RepoDigests` of `/images/{id}/json`",
        lambda found: list(found.digests),
    ),
    Key(
        "Container.Runtime",
        "`docker` or `podman`: who answers",
        "`Components` of `/version`",
        lambda found: found.engine,
    ),
    Key(
        "Container.Status",
        "`running`, `paused`; with `stopped` also `created`, `restarting`, `exited`, `dead`",
        "`State.Status`",
        lambda found: text(found.answer, "State", "Status"),
    ),
    Key("Container.InitProcessPID", "its first process, as the daemon counts", "`State.Pid`", _pid),
    Key("Container.Health", "`starting`, `healthy`, `unhealthy`", "`State.Health.Status`", _health),
    Key("Container.CreatedAt", "ms since the epoch", "`Created`", lambda found: moment(found.answer, "Created")),
    Key(
        "Container.StartedAt",
        "ms since the epoch",
        "`State.StartedAt`",
        lambda found: moment(found.answer, "State", "StartedAt"),
    ),
    Key(
        "Container.FinishedAt",
        "when it last ended, ms since the epoch",
        "`State.FinishedAt`",
        lambda found: moment(found.answer, "State", "FinishedAt"),
    ),
    Key("Container.ExitCode", "how it last ended; only while it does not run", "`State.ExitCode`", _exit_code),
    Key(
        "Container.OOMKilled",
        "true: it ended for want of memory",
        "`State.OOMKilled`",
        lambda found: flag(found.answer, "State", "OOMKilled") or None,
    ),
    Key(
        "Container.Error", "why it could not start", "`State.Error`", lambda found: text(found.answer, "State", "Error")
    ),
    Key(
        "Container.RestartCount",
        "how often its restart policy has started it again",
        "`RestartCount`",
        lambda found: number(found.answer, "RestartCount") or None,
    ),
    Key(
        "Container.RestartPolicy",
        "such as `always`, `on-failure:3`",
        "`HostConfig.RestartPolicy`",
        _restart_policy,
    ),
    Key(
        "Container.Hostname",
        "its host name",
        "`Config.Hostname`",
        lambda found: text(found.answer, "Config", "Hostname"),
    ),
    Key(
        "Container.NetworkMode",
        "`bridge`, `host`, `none`, `container:ID`, or a network",
        "`HostConfig.NetworkMode`",
        lambda found: text(found.answer, "HostConfig", "NetworkMode"),
    ),
    Key(
        "Container.Networks",
        "list of Name, ID, EndpointID, IPV4, IPV6 (`address/length`), Gateway, MAC, Aliases",
        "`NetworkSettings.Networks`",
        _networks,
    ),
    Key(
        "Container.Ports",
        "list of Port, Protocol, and HostIP, HostPort when published",
        "`NetworkSettings.Ports`",
        _ports,
    ),
    Key(
        "Container.Mounts",
        "list of Type, Name, Source, Destination, Driver, ReadOnly",
        "`Mounts`",
        _mounts,
    ),
    Key(
        "Container.Resources",
        "limits that are set: Memory, MemorySwap, MemoryReservation (bytes), NanoCPUs, CPUShares, CPUQuota, "
        "CPUPeriod (µs), CPUs, PidsLimit",
        "`HostConfig`",
        _resources,
    ),
    Key(
        "Container.Privileged",
        "true: it may do what the host may",
        "`HostConfig.Privileged`",
        lambda found: flag(found.answer, "HostConfig", "Privileged") or None,
    ),
    Key(
        "Container.Labels",
        "its labels, nested by dots",
        "`Config.Labels`",
        lambda found: labels.nest(_labels(found)[0]),
    ),
    Key(
        "Container.LabelsLeftOut",
        "number of labels for which there was no room (2 MiB)",
        "-",
        lambda found: _labels(found)[1] or None,
    ),
)

_ALWAYS: Final = {"Image": "", "ImageID": "", "Labels": {}}
"""What Skydive's clients find in every container."""


def metadata(found: Inspected) -> dict[str, Any]:
    """Metadata of the node of a container.  Raises BadAnswer."""
    node: dict[str, Any] = {}
    inside: dict[str, Any] = dict(_ALWAYS)
    for key in KEYS:
        value = key.value(found)
        if value in ("", None, [], {}) or (value == 0 and key.name != "Container.ExitCode"):
            continue
        if key.name.startswith(_INSIDE):
            inside[key.name.removeprefix(_INSIDE)] = value
        else:
            node[key.name] = value
    return {**node, "Container": inside}


def markdown() -> str:
    """The table for README.md."""
    rows = [f"| `{key.name}` | {key.meaning} | {key.source} |" for key in KEYS]
    return "\n".join(["| Key | Meaning or unit | Source |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
