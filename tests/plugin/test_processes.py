"""Plugins that fail, each in its way, inside a real `skycore run`: named in the status, and nothing else harmed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from skycore.cli.main import skycore
from skycore.storage.embedded import EmbeddedStore

if TYPE_CHECKING:
    from tests.plugin.conftest import Process

CLASSES = {
    "fine": "Fine",
    "wrong": "WrongSettings",
    "no_run": "NoRun",
    "bad_roles": "BadRoles",
    "bad_precedence": "BadPrecedence",
    "bad_section": "BadSection",
    "odd_settings": "OddSettings",
    "elsewhere": "ElsewhereSection",
    "at_start": "CrashAtStart",
    "before_started": "CrashBeforeStarted",
    "later": "CrashLater",
    "exits": "Exits",
    "interrupts": "Interrupts",
    "bare": "RaisesBare",
    "unreported": "NeverReports",
    "finishes": "Finishes",
    "blocks": "Blocks",
}
ENTRY_POINTS = {
    **{name: f"awkward_probes:{cls}" for name, cls in CLASSES.items()},
    "import_error": "awkward_import_error:Probe",
    "exit": "awkward_exit:Probe",
    "no_class": "awkward_probes:time",
}
CONFIGURATION = """\
agent:
  listen: 127.0.0.1:0
  topology:
    probes: [{probes}]
    wrong:
      interval: soon
      intervall: 1
    somewhere:
      depth: deep
analyzers: []
logging:
  encoder: json
storage:
  embedded:
    path: {path}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def agent(folder: Path) -> Iterator[Process]:
    from tests.plugin.conftest import skycore_run

    configuration = CONFIGURATION.format(
        probes=", ".join(["-netns", "absent", *ENTRY_POINTS]), path=folder / "state"
    )
    with skycore_run(folder, "agent", configuration, ENTRY_POINTS) as process:
        yield process
