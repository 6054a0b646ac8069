"""From what the daemon says of a container to what the probe says of it; no input or output here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from skycore.plugin import Key, containers
from skydive_probe_docker import keys
from skydive_probe_docker.answer import BadAnswer, as_object, identifier, moment, number, text


@attrs.frozen
class Container:
    """One container as ``inspect`` tells it.

    ``pid`` is that of its first process, as the daemon counts, 0 when it does not run; ``started`` is in ms since the
    epoch; ``restarting`` tells that it waits to be started again; ``shares`` that it uses another container's network
    namespace; ``sandbox`` is the file through which the daemon holds the namespace ("" when the daemon names none);
    ``metadata`` is that of its node.
    """

    id: str
    name: str
    pid: int
    started: int
    restarting: bool
    shares: bool
    sandbox: str
    metadata: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def key(self) -> Key:
        return containers.container_key(self.id)


def read_container(document: Any, engine: str, digests: Sequence[str] = ()) -> Container:
    """Read one ``inspect`` document; BadAnswer for what is none."""
    answer = as_object(document, "the answer")
    id = identifier(answer.get("Id"), "Id")
    pid = number(answer, "State", "Pid")
    if not 0 <= pid < 1 << 32:
        raise BadAnswer(f"State.Pid of container {id[:12]} is no process ID")
    return Container(
        id=id,
        name=keys.name_of(answer),
        pid=pid if keys.running(answer) else 0,
        started=moment(answer, "State", "StartedAt"),
        restarting=text(answer, "State", "Status") == "restarting",
        shares=text(answer, "HostConfig", "NetworkMode").startswith("container:"),
        sandbox=text(answer, "NetworkSettings", "SandboxKey"),
        metadata=keys.metadata(keys.Inspected(answer, engine, digests)),
    )
