"""Steps of installed plugins, in real processes of both roles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from skycore.errors import RequestRefused
from tests.plugin.running import add_distribution
from tests.storage.analyzers import running

INSTALLED = Path(__file__).parent / "installed"


def options(folder: Path, role: str) -> dict[str, Any]:
    add_distribution(folder / "site", {"stepping": "stepping:Stepping", "stumbling": "stumbling:Stumbling"})
    probes = {"topology": {"probes": ["stepping", "stumbling", "-netlink", "-netns"]}}
    return {
        "environment": {"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{INSTALLED}"},
        role: {"listen": "127.0.0.1:0", **probes},
    }


@pytest.mark.parametrize("role", ["agent", "analyzer"])
def test_steps_of_plugins_work_in_both_roles(tmp_path: Path, role: str) -> None:
    with running(role, tmp_path, **options(tmp_path, role)) as process:
        process.until(lambda: process.status()["Gremlin"]["Faults"])
        assert process.status()["Gremlin"]["Faults"] == {"stumbling": "RuntimeError: stumbled"}
        (line,) = [one for one in process.log() if one["event"] == "the plugin's Gremlin steps are left out"]
        assert (line["plugin"], line["error"]) == ("stumbling", "RuntimeError: stumbled")
        assert process.ask("G.V().Values('@ID').Backwards().Count()") == (1 if role == "agent" else 0)
        with pytest.raises(RequestRefused, match=r"got: Backward \(did you mean Backwards\?\)"):
            process.ask("G.V().Backward()")
        with pytest.raises(RequestRefused, match="Expected step function, got: Half"):
            process.ask("G.V().Half()")
        if role == "analyzer":
            assert process.ask("G.At(NOW).V().Backwards().Count()") == 0
            assert process.ask("G.At(NOW, '1h').V().Backwards()") == []
