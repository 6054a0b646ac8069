"""The rooms of `skycore/web`: vendored modules are what the lock pins, the rest is checked and short."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "skycore" / "web"
VENDOR = WEB / "vendor"
TOOLS = ROOT / "tools" / "web"
PINNED = json.loads((VENDOR / "PINNED.json").read_text())
MODULES = [path for path in sorted(WEB.rglob("*.js")) if VENDOR not in path.parents]


def test_vendored_files_are_those_that_are_pinned() -> None:
    pinned = {name: digest for package in PINNED.values() for name, digest in package["files"].items()}
    there = {path.name for path in VENDOR.iterdir() if not path.name.endswith(".d.ts")} - {"PINNED.json"}
    assert there == set(pinned)
    for name, digest in pinned.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, f"{name} was changed by hand"


def test_pins_are_those_of_the_lock() -> None:
    lock = json.loads((TOOLS / "package-lock.json").read_text())["packages"]
    for package, pin in PINNED.items():
        entry = lock[f"node_modules/{package}"]
        assert (pin["version"], pin["integrity"]) == (entry["version"], entry["integrity"])
        assert pin["integrity"].startswith("sha512-")


def test_every_vendored_package_brings_its_licence() -> None:
    for package, pin in PINNED.items():
        assert pin["licence"] in ("MIT", "ISC", "BSD-3-Clause", "Apache-2.0"), package
        assert any(name.endswith(".LICENSE") for name in pin["files"]), package


def test_there_is_no_python_in_the_room_of_pages() -> None:
    assert list(WEB.rglob("*.py")) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(WEB)))
def test_a_module_is_short_and_says_what_it_is(module: Path) -> None:
    text = module.read_text()
    assert text.count("\n") < 450
    assert text.startswith("/**")
    for markup in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert markup not in text, markup
