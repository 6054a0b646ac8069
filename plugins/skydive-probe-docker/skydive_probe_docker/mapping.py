"""From what Docker says of its containers to nodes and owners of the graph; no input or output here.

Source of the documents: Docker Engine API, ``GET /containers/{id}/json`` (ContainerInspect), versions 1.24 to 1.47.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from skycore.plugin import Key, Namespace
from skydive_probe_docker.labels import nest

# Docker gives 64 hexadecimal digits; what else answers this API may give other names.
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}")


class BadAnswer(Exception):
    """The daemon said something that is no answer of the Docker Engine API."""


@attrs.frozen
class Container:
    """One running container as ``inspect`` tells it.

    ``pid`` is that of its first process, as the daemon counts; ``shares`` tells that it uses another container's
    network namespace; ``sandbox`` is the file through which the daemon holds the namespace ("" when the daemon
    names none); ``metadata`` is that of its node.
    """

    id: str
    name: str
    pid: int
    started_at: str
    shares: bool
    sandbox: str
    metadata: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def key(self) -> Key:
        return Key("container", self.id)


@attrs.frozen
class Located:
    """A container and its network namespace.

    ``namespace`` is None when the container has none of its own: it uses the agent's, or it cannot be told
    which one it uses.  ``path`` is a lasting file through which the namespace can be entered.
    """

    container: Container
    namespace: Namespace | None
    path: str


@attrs.frozen
class Inventory:
    """Nodes with their metadata, the owner of each, and the namespaces among them."""

    nodes: Mapping[Key, Mapping[str, Any]]
    owners: Mapping[Key, Key]
    namespaces: Mapping[Key, Namespace]


def text(value: Any, what: str) -> str:
    """A text from outside, as what can be written as UTF-8; BadAnswer for anything else."""
    if not isinstance(value, str):
        raise BadAnswer(f"{what} is no text but {type(value).__name__}")
    return value.encode("utf-8", "replace").decode("utf-8")


def identifier(value: Any, what: str) -> str:
    """A container's ID from outside, safe as a part of a path; BadAnswer for anything else."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise BadAnswer(f"{what} is no ID of a container: {str(value)[:80]!r}")
    return value


def _object(value: Any, what: str) -> Mapping[str, Any]:
    """An object from outside; null, which Docker writes for what is empty, is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswer(f"{what} is no object but {type(value).__name__}")
    return value


def read_container(document: Any) -> Container | None:
    """Read one ``inspect`` document; None when the container does not run.

    A paused container runs.  Raises BadAnswer for what is no such document.
    """
    answer = _object(document, "the answer")
    id = identifier(answer.get("Id"), "Id")
    state = _object(answer.get("State"), "State")
    pid = state.get("Pid", 0)
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 <= pid < 1 << 32:
        raise BadAnswer(f"State.Pid of container {id[:12]} is no process ID")
    if state.get("Running") is not True or pid == 0:
        return None
    configuration = _object(answer.get("Config"), "Config")
    labels = _object(configuration.get("Labels"), "Config.Labels")
    name = text(answer.get("Name", ""), "Name").removeprefix("/") or id[:12]
    details: dict[str, Any] = {
        "ID": id,
        "Image": text(configuration.get("Image", ""), "Config.Image"),
        "ImageID": text(answer.get("Image", ""), "Image"),
        "Runtime": "docker",
        "Status": text(state.get("Status", "running"), "State.Status"),
        "InitProcessPID": pid,
        "Labels": nest({text(key, "a label"): text(value, "a label's value") for key, value in labels.items()}),
    }
    health = _object(state.get("Health"), "State.Health").get("Status")
    if health is not None:
        details["Health"] = text(health, "State.Health.Status")
    mode = text(_object(answer.get("HostConfig"), "HostConfig").get("NetworkMode", ""), "HostConfig.NetworkMode")
    sandbox = _object(answer.get("NetworkSettings"), "NetworkSettings").get("SandboxKey", "")
    return Container(
        id=id,
        name=name,
        pid=pid,
        started_at=text(state.get("StartedAt", ""), "State.StartedAt"),
        shares=mode.startswith("container:"),
        sandbox=text(sandbox, "NetworkSettings.SandboxKey"),
        metadata={"Name": name, "Type": "container", "Manager": "docker", "Container": details},
    )


def inventory(located: Iterable[Located], root: Key) -> Inventory:
    """What the graph shall hold of these containers.

    A namespace bears the name of its first container: the one that does not use another's, else the one that
    was started first.  Containers without a namespace of their own belong to ``root``.
    """
    nodes: dict[Key, Mapping[str, Any]] = {}
    owners: dict[Key, Key] = {}
    namespaces: dict[Key, Namespace] = {}
    for one in sorted(located, key=_rank):
        key = one.container.key
        nodes[key] = one.container.metadata
        if one.namespace is None:
            owners[key] = root
            continue
        owners[key] = one.namespace.key
        if one.namespace.key not in namespaces:
            namespaces[one.namespace.key] = one.namespace
            owners[one.namespace.key] = root
            nodes[one.namespace.key] = {
                "Name": one.container.name,
                "Type": "netns",
                "Manager": "docker",
                "Path": one.path,
                "Inode": one.namespace.inode,
                "Device": one.namespace.device,
            }
    return Inventory(nodes, owners, namespaces)


def _rank(one: Located) -> tuple[bool, str, str]:
    return one.container.shares, one.container.started_at, one.container.id
