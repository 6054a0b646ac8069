"""A pod as CRI-O left it: recorded by record_crio.py, as no Debian package brings CRI-O."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from skydive_probe_runc import keys, reading

RECORDED = [
    pytest.param(document["states"], id=path.stem)
    for path in sorted((Path(__file__).parent / "data").glob("cri-o-*.json"))
    for document in [json.loads(path.read_text())]
]


def _shown(root: Path, state: dict[str, Any]) -> dict[str, Any]:
    """What the node of a container with this state is to say; its process is none of this machine."""
    folder = root / "run" / "runc" / state["id"]
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(state))
    found = reading.read(str(folder), reading.Place(str(root / "proc"), str(root)))
    assert found is not None
    return keys.metadata(found)


@pytest.mark.parametrize("states", RECORDED)
def test_a_recorded_pod(states: dict[str, Any], tmp_path: Path) -> None:
    sandbox, container = (_shown(tmp_path, states[name]) for name in ("sandbox", "container"))
    pod = {"Name": "web-0", "Namespace": "shop", "UID": "5f1c-0a6e", "SandboxID": sandbox["Container"]["ID"]}
    assert sandbox["Container"]["Pod"] == {**pod, "Kind": "sandbox"}
    assert container["Container"]["Pod"] == {**pod, "Kind": "container"}
    for node in (sandbox, container):
        assert (node["Container"]["Engine"], node["Container"]["Runtime"]) == ("cri-o", "runc")
        kubernetes = node["Container"]["Labels"]["io"]["kubernetes"]
        assert kubernetes["pod"]["namespace"] == "shop"
    assert "Name" not in sandbox["Container"]
    assert sandbox["Container"]["Labels"]["app"] == "web"
    assert sandbox["Container"]["Labels"]["example"]["org/note"] == "x"
    details = container["Container"]
    assert (details["Name"], details["Image"]) == ("server", "docker.io/skt/busybox:1")
    assert details["ImageID"].startswith("docker.io/skt/busybox@sha256:")
    assert details["Labels"]["io"]["kubernetes"]["container"]["name"] == "server"
    assert {"/etc/hostname", "/etc/resolv.conf"} & {mount["Destination"] for mount in details["Mounts"]}
