"""Plugins as if they were installed, for the tests of this folder."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import stevedore

from tests.plugin.running import add_distribution

_numbers = count(1)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install classes as probes, by name, into this process."""
    # Entry points are scanned once in the life of a process, and what is installed here goes away with the test.
    monkeypatch.setattr(stevedore.ExtensionManager, "ENTRY_POINT_CACHE", {})

    def installer(**classes: Any) -> None:
        folder = tmp_path / f"site-{next(_numbers)}"
        module = types.ModuleType(f"installed_{next(_numbers)}")
        for name, cls in classes.items():
            setattr(module, name, cls)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        add_distribution(folder, {name: f"{module.__name__}:{name}" for name in classes}, module.__name__)
        monkeypatch.syspath_prepend(str(folder))
        stevedore.ExtensionManager.ENTRY_POINT_CACHE.clear()

    return installer
