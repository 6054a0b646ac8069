"""Random sequences of a runtime's commands, and what it says afterwards against what the graph shows."""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any, Final

import trio
from runc_lab import settings

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import LabError
from skycore.testing.oci import OciRuntime

_NAMES: Final = ("alpha", "beta", "gamma")
_VERBS: Final = ("run", "run", "run", "create", "start", "pause", "resume", "kill", "delete", "delete")
_NAMESPACES: Final = ("", "", None, "/run/netns/shared")
_LABELS: Final = ("role", "a.b", "a", "io.kubernetes.cri.container-name")

Command = tuple[str, str, dict[str, Any]]


def commands(seed: int) -> list[Command]:
    """One sequence: verb, container, and what it is to be like."""
    dice = random.Random(seed)
    found: list[Command] = []
    for _ in range(dice.randrange(8, 30)):
        verb, name = dice.choice(_VERBS), dice.choice(_NAMES)
        what: dict[str, Any] = {}
        if verb in ("run", "create"):
            what = {
                "netns": dice.choice(_NAMESPACES),
                "annotations": {key: str(dice.randrange(9)) for key in dice.sample(_LABELS, dice.randrange(3))},
                "command": dice.choice((["sleep", "3600"], ["sleep", "3600"], ["true"])),
            }
            if dice.random() < 0.3:
                what["resources"] = {"memory": {"limit": dice.randrange(32, 64) << 20}}
        found.append((verb, name, what))
    return found


def _do(runtime: OciRuntime, verb: str, name: str, what: dict[str, Any]) -> None:
    match verb:
        case "run":
            runtime.run(name, **what)
        case "create":
            runtime.create(name, **what)
        case "kill":
            runtime.call("kill", name, "KILL")
        case "delete":
            runtime.delete(name)
        case _:
            runtime.call(verb, name)


def _told(runtime: OciRuntime) -> dict[str, Any]:
    own = os.stat(runtime.host.netns_path).st_ino
    found = {}
    for listed in runtime.list():
        one = runtime.state(listed["id"])
        inode = None
        # runc calls whatever lies in a frozen cgroup paused, also when its process has ended.
        with contextlib.suppress(FileNotFoundError):
            inode = os.stat(f"{runtime.host.proc_path}/{one['pid']}/ns/net").st_ino
        alive = one["status"] != "stopped" and inode is not None
        found[one["id"]] = {
            "status": one["status"] if alive else "stopped",
            "pid": one["pid"] if alive else None,
            "namespace": inode if alive and inode != own else None,
            "labels": {key: int(value) for key, value in (one.get("annotations") or {}).items() if value.isdigit()},
            "bundle": one["bundle"],
        }
    return found


def _flat(nested: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def _shown(lab: ProbeLab) -> dict[str, Any]:
    namespaces = {node["@ID"]: node["Inode"] for node in lab.nodes(Type="netns")}
    owners = {edge["@Child"]: edge["@Parent"] for edge in lab.edges(RelationType="ownership")}
    found = {}
    for node in lab.nodes(Type="container"):
        inside = node["Container"]
        found[inside["ID"]] = {
            "status": inside["Status"],
            "pid": inside.get("InitProcessPID"),
            "namespace": namespaces.get(owners[node["@ID"]]),
            "labels": {key: value for key, value in _flat(inside["Labels"]).items() if isinstance(value, int)},
            "bundle": inside["Bundle"],
        }
    return found


def _differs(lab: ProbeLab, runtime: OciRuntime) -> str:
    """The first difference; "" when there is none."""
    try:
        told, shown = _told(runtime), _shown(lab)
    except (LabError, OSError) as error:
        # A container ended between two questions.
        return repr(error)
    if told.keys() != shown.keys():
        return f"containers: {sorted(shown)} shown, {sorted(told)} told"
    for id, one in told.items():
        for key, value in one.items():
            # An ended container that had joined a namespace is still shown there; the runtime no longer tells.
            if key == "namespace" and one["status"] == "stopped":
                continue
            if shown[id][key] != value:
                return f"{id}: {key} is shown as {shown[id][key]!r}, told as {value!r}"
    return ""


async def check(runtime: OciRuntime, seed: int, patience: float = 10.0) -> None:
    """Run one sequence; AssertionError when the graph does not come to show what the runtime tells."""
    host = runtime.host
    with contextlib.suppress(LabError):
        await host.arun("ip", "netns", "add", "shared")
    for container in runtime.list():
        runtime.delete(container["id"])
    async with run_probes({"runc": settings(host)}, namespace=host.netns_path) as lab:
        for verb, name, what in commands(seed):
            # Many make no sense just then (to start what runs), and the runtime says so.
            with contextlib.suppress(LabError):
                await trio.to_thread.run_sync(_do, runtime, verb, name, what)
        difference = "nothing was compared"
        with trio.move_on_after(patience):
            while difference:
                difference = await trio.to_thread.run_sync(_differs, lab, runtime)
                await trio.sleep(0.02)
        assert not difference, f"seed {seed}: {difference}; commands: {commands(seed)}"
        assert lab.report("runc").restarts == 0
        assert not lab.graph.conflicts
