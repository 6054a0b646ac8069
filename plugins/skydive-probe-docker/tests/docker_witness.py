"""Random sequences of docker commands, and what ``docker inspect`` says afterwards against what the graph shows."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable
from typing import Any, Final

import trio

from skycore.testing import ProbeLab, run_probes
from skycore.testing.dockerd import Dockerd
from skycore.testing.lab import LabError

_NAMES: Final = ("alpha", "beta", "gamma", "delta")
_NETWORKS: Final = ("red", "blue")
_MODES: Final = ("bridge", "none", "host", "red", "blue", "container:alpha", "container:beta")
_LABELS: Final = ("role=front", "a.b=1", "a=2", 'odd="\\\n\x01', "com.docker.compose.project=shop")


def _run(dice: random.Random) -> list[str]:
    options = ["--network", dice.choice(_MODES)]
    for label in dice.sample(_LABELS, dice.randrange(3)):
        options += ["--label", label]
    if dice.random() < 0.3:
        options += ["--memory", f"{dice.randrange(32, 64)}m"]
    if dice.random() < 0.3:
        options += ["--volume", "/srv/data:/data:ro"]
    if dice.random() < 0.2:
        options += ["--restart", "on-failure:2"]
    if dice.random() < 0.3 and options[1] in ("bridge", "red", "blue"):
        options += ["--publish", "80"]
    command = [["sleep", "3600"], ["sleep", "3600"], ["true"], ["false"]][dice.randrange(4)]
    return ["run", "--detach", "--init", "--name", dice.choice(_NAMES), *options, "skt/busybox:1", *command]


_COMMANDS: Final[tuple[Callable[[random.Random], list[str]], ...]] = (
    _run,
    _run,
    _run,
    lambda dice: ["pause", dice.choice(_NAMES)],
    lambda dice: ["unpause", dice.choice(_NAMES)],
    lambda dice: ["rename", dice.choice(_NAMES), dice.choice(_NAMES)],
    lambda dice: ["stop", "--time", "0", dice.choice(_NAMES)],
    lambda dice: ["start", dice.choice(_NAMES)],
    lambda dice: ["restart", "--time", "0", dice.choice(_NAMES)],
    lambda dice: ["kill", dice.choice(_NAMES)],
    lambda dice: ["rm", "--force", dice.choice(_NAMES)],
    lambda dice: ["update", "--memory", f"{dice.randrange(64, 99)}m", "--memory-swap", "99m", dice.choice(_NAMES)],
    lambda dice: ["network", "connect", dice.choice(_NETWORKS), dice.choice(_NAMES)],
    lambda dice: ["network", "disconnect", "--force", dice.choice(_NETWORKS), dice.choice(_NAMES)],
)


def commands(seed: int) -> list[list[str]]:
    """One sequence; an empty command stands for killing the daemon and starting it again."""
    dice = random.Random(seed)
    return [
        [] if dice.random() < 0.05 else dice.choice(_COMMANDS)(dice) for _ in range(dice.randrange(5, 16))
    ]  # fmt: skip


def settings(dockerd: Dockerd, *, stopped: bool) -> dict[str, Any]:
    """The probe runs in this process, outside the fake host, so it looks in through /proc."""
    return {
        "url": f"unix://{dockerd.socket}",
        "proc_path": dockerd.host.proc_path,
        "stopped": stopped,
        "netns": {"run_path": dockerd.host.path("/run/docker/netns")},
    }


def told(dockerd: Dockerd, *, stopped: bool) -> dict[str, Any]:
    """What docker's client says of its containers: by ID, what the graph shall show."""
    ids = dockerd.docker("ps", "--quiet", "--no-trunc", *(["--all"] if stopped else [])).split()
    if not ids:
        return {}
    return {one["Id"]: _expected(dockerd, one) for one in json.loads(dockerd.docker("inspect", *ids))}


def _expected(dockerd: Dockerd, one: dict[str, Any]) -> dict[str, Any]:
    state, settings = one["State"], one["NetworkSettings"]
    pid = state["Pid"] if state["Running"] else 0
    inode = os.stat(f"{dockerd.host.proc_path}/{pid}/ns/net").st_ino if pid else None
    policy = one["HostConfig"]["RestartPolicy"]
    return {
        "name": one["Name"][1:],
        "status": state["Status"],
        "pid": pid or None,
        "namespace": None if inode == os.stat(dockerd.host.netns_path).st_ino else inode,
        "labels": dict(one["Config"]["Labels"] or {}),
        "image": (one["Config"]["Image"], one["Image"]),
        "memory": one["HostConfig"]["Memory"] or None,
        "policy": f"{policy['Name']}:{policy['MaximumRetryCount']}" if policy["Name"] == "on-failure" else None,
        "restarts": one["RestartCount"] or None,
        "code": None if pid else state["ExitCode"] if state["Status"] == "exited" else ...,
        "networks": {name: (net["IPAddress"], net["MacAddress"]) for name, net in settings["Networks"].items() if pid},
        "ports": sorted(
            (port, binding["HostIp"], int(binding["HostPort"]))
            for port, bindings in (settings["Ports"] or {}).items()
            for binding in bindings or ()
        ),
        "mounts": sorted((mount["Source"], mount["Destination"], not mount["RW"]) for mount in one["Mounts"]),
    }


def _flat(nested: dict[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in nested.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def shown(lab: ProbeLab) -> dict[str, Any]:
    """The same of the graph."""
    namespaces = {node["@ID"]: node["Inode"] for node in lab.nodes(Type="netns")}
    owners: dict[str, list[str]] = {}
    for edge in lab.edges(RelationType="ownership"):
        owners.setdefault(edge["@Child"], []).append(edge["@Parent"])
    found = {}
    for node in lab.nodes(Type="container"):
        inside = node["Container"]
        (owner,) = owners[node["@ID"]]
        found[inside["ID"]] = {
            "name": node["Name"],
            "status": inside["Status"],
            "pid": inside.get("InitProcessPID"),
            "namespace": namespaces.get(owner),
            "labels": _flat(inside["Labels"]),
            "image": (inside["Image"], inside["ImageID"]),
            "memory": inside.get("Resources", {}).get("Memory"),
            "policy": inside.get("RestartPolicy"),
            "restarts": inside.get("RestartCount"),
            "code": inside.get("ExitCode"),
            "networks": {
                net["Name"]: (net.get("IPV4", "").partition("/")[0], net.get("MAC", ""))
                for net in inside.get("Networks", ())
            },
            "ports": sorted(
                (f"{port['Port']}/{port['Protocol']}", port["HostIP"], port["HostPort"])
                for port in inside.get("Ports", ())
                if "HostPort" in port
            ),
            "mounts": sorted(
                (mount["Source"], mount["Destination"], mount["ReadOnly"]) for mount in inside.get("Mounts", ())
            ),
        }
    # No namespace without a container, and none twice.
    used = [one["namespace"] for one in found.values() if one["namespace"]]
    assert set(used) == set(namespaces.values())
    assert len(set(namespaces.values())) == len(namespaces)
    return found


def _differs(lab: ProbeLab, dockerd: Dockerd, stopped: bool) -> str:
    """The first difference; "" when there is none."""
    try:
        expected = told(dockerd, stopped=stopped)
        found = shown(lab)
    except (LabError, OSError, AssertionError) as error:
        # A container ended between two questions.
        return repr(error)
    if found.keys() != expected.keys():
        return f"containers: {sorted(found)} shown, {sorted(expected)} told"
    for id, one in expected.items():
        for key, value in one.items():
            if value is not ... and found[id][key] != value:
                return f"{one['name']}: {key} is shown as {found[id][key]!r}, told as {value!r}"
    return ""


async def check(dockerd: Dockerd, seed: int, patience: float = 10.0) -> None:
    """Run one sequence; AssertionError when the graph does not come to show what docker tells."""
    stopped = bool(seed % 2)
    await trio.to_thread.run_sync(dockerd.remove_all)
    for network in _NETWORKS:
        await dockerd.adocker("network", "create", network)
    async with run_probes({"docker": settings(dockerd, stopped=stopped)}, namespace=dockerd.host.netns_path) as lab:
        for command in commands(seed):
            if not command:
                await trio.to_thread.run_sync(dockerd.restart)
                continue
            # Many make no sense just then (to pause what does not run), and docker says so.
            with contextlib.suppress(LabError):
                await dockerd.adocker(*command)
        difference = "nothing was compared"
        with trio.move_on_after(patience):
            while difference:
                difference = await trio.to_thread.run_sync(_differs, lab, dockerd, stopped)
                await trio.sleep(0.02)
        assert not difference, f"seed {seed}: {difference}; commands: {commands(seed)}"
        assert lab.report("docker").restarts == 0
        assert not lab.graph.conflicts
