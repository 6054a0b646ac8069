"""docs/plugins.md: complete, and its example works."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest

import skycore.plugin as contract
from skycore.config import load
from skycore.plugin import Claims, Hold, Namespace, NodeView, Probe, ProbeHost
from skycore.plugin.supervision import State
from skycore.testing.probes import run_probes

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
CODE = set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)))


def mentioned(name: str) -> bool:
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code) for code in CODE)


def members(cls: type) -> list[str]:
    return [name for name in vars(cls) if not name.startswith("_")]


def block(language: str, first_line: str) -> str:
    (found,) = re.findall(rf"^```{language}\n{re.escape(first_line)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("name", contract.__all__)
def test_every_public_name_is_explained(name: str) -> None:
    assert hasattr(contract, name)
    assert mentioned(name)


@pytest.mark.parametrize(
    "name",
    [
        *(f"host.{name}" for name in members(ProbeHost)),
        *(f"{name}(" for cls in (Claims, NodeView, Hold, Probe) for name in members(cls)),
        *(field.name for field in attrs.fields(Namespace)),
        *get_args(State),
        "section",
        "roles",
        "capabilities",
        "precedence",
        "Settings",
    ],
)
def test_every_member_is_explained(name: str) -> None:
    assert any(name in code for code in CODE) if name.endswith("(") else mentioned(name)


def test_what_is_not_there_is_noticed() -> None:
    assert len(members(Claims)) == 9
    assert not mentioned("Clai")
    assert not mentioned("host.fly")


def test_the_version_is_the_one_on_the_page() -> None:
    assert f"`skycore.plugin.API_VERSION` is {contract.API_VERSION}." in PAGE


async def test_the_example_works(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = types.ModuleType("skydive_probe_racks")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(block("python", "# skydive_probe_racks/__init__.py"), module.__dict__)
    ((name, value),) = tomllib.loads(block("toml", "# pyproject.toml"))["project"]["entry-points"][
        "skycore.probe"
    ].items()
    where, _, cls_name = value.partition(":")
    assert where == module.__name__
    cls = getattr(module, cls_name)
    install(**{name: cls})

    (tmp_path / "racks.yml").write_text("agent:\n" + block("yaml", "agent:"))
    loaded = load([str(tmp_path / "racks.yml")], {}, {cls.section: cls.Settings})
    assert loaded.config.plugins[cls.section] == cls.Settings(path="/etc/racks", interval=10.0)

    tests: dict[str, Any] = {}
    exec(block("python", "# tests/test_racks.py"), tests)
    await tests["test_racks_follow_the_file"](tmp_path)


async def test_the_join_of_the_example_finds_interfaces(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = types.ModuleType("skydive_probe_racks")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(block("python", "# skydive_probe_racks/__init__.py"), module.__dict__)
    install(racks=module.RacksProbe)
    (tmp_path / "racks").write_text("r1 02:00:00:00:00:01 02:00:00:00:00:02\n")
    async with run_probes({"racks": {"path": str(tmp_path / "racks")}}) as lab:
        interfaces = lab.graph.claimant("interfaces")
        interfaces.put("i2", {"Name": "eth0", "MAC": "02:00:00:00:00:02"})
        interfaces.put("i3", {"Name": "eth1", "MAC": "02:00:00:00:00:03"})
        await lab.until(lambda: lab.edges(RelationType="contains"))
        (edge,) = lab.edges(RelationType="contains")
        (rack,) = lab.nodes(Name="r1")
        assert (edge["@Parent"], edge["@Child"]) == (rack["@ID"], "i2")
