"""What plugins add to the Web UI: asked by a hook, read from a folder, never from beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from skycore.errors import Refusal
from skycore.plugin import WebPanels, hookimpl
from skycore.plugin.hooks import web_panels
from skycore.server.plugin_web import PluginPanels, read_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "panels"
    inside.mkdir()
    (inside / "panels.js").write_text("export default () => {}\n")
    (inside / "rack.svg").write_text("<svg/>")
    (inside / "secret.pem").write_text("not for browsers")
    return inside


class Brings:
    def __init__(self, answer: WebPanels) -> None:
        self._answer = answer

    @hookimpl
    def web_panels(self) -> WebPanels:
        return self._answer


class Breaks:
    @hookimpl
    def web_panels(self) -> WebPanels:
        raise RuntimeError("no panels today")


def test_a_hook_that_raises_leaves_out_only_its_own_plugin(folder: Path) -> None:
    found, faults = web_panels({"racks": Brings(WebPanels(folder)), "broken": Breaks(), "silent": object()})
    assert list(found) == ["racks"]
    assert faults == {"broken": "RuntimeError: no panels today"}


def test_files_are_served_under_a_digest_of_them(folder: Path) -> None:
    panels = PluginPanels()
    assert panels.use({"racks": WebPanels(folder)}) == {}
    ((module),) = panels.modules()
    build = read_files(WebPanels(folder)).build
    assert module == {"Plugin": "racks", "Module": f"/ui/plugin/racks/{build}/panels.js"}
    assert panels.file("racks", build, "rack.svg") == b"<svg/>"
    (folder / "rack.svg").write_text("<svg></svg>")
    assert read_files(WebPanels(folder)).build != build


@pytest.mark.parametrize("name", ["secret.pem", "../outside.js", "outside.js", "link.js"])
def test_nothing_else_is_served(folder: Path, name: str) -> None:
    (folder.parent / "outside.js").write_text("export const secret = 1\n")
    (folder / "link.js").symlink_to(folder.parent / "outside.js")
    panels = PluginPanels()
    panels.use({"racks": WebPanels(folder)})
    with pytest.raises(Refusal):
        panels.file("racks", read_files(WebPanels(folder)).build, name)


def test_what_cannot_be_served_is_told(folder: Path, tmp_path: Path) -> None:
    panels = PluginPanels()
    faults = panels.use(
        {"racks": WebPanels(folder), "gone": WebPanels(tmp_path / "gone"), "empty": WebPanels(folder, "none.js")}
    )
    assert [one["Plugin"] for one in panels.modules()] == ["racks"]
    assert "gone" in faults["gone"]
    assert "no module 'none.js'" in faults["empty"]
