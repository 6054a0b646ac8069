"""An Open vSwitch for each module of tests, empty for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skycore.testing.lab import FakeHost
from skycore.testing.openvswitch import PROGRAMS, OpenVSwitch
from skycore.testing.pytest_plugin import require

# The modules ovs_*.py beside this file, which the soak test uses without pytest.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def module_ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    require(*PROGRAMS)
    with OpenVSwitch(FakeHost(), tmp_path_factory.mktemp("ovs") / "ovs.log") as ovs:
        yield ovs


@pytest.fixture
def ovs(module_ovs: OpenVSwitch) -> OpenVSwitch:
    """A running switch without bridges."""
    module_ovs.remove_all()
    return module_ovs
