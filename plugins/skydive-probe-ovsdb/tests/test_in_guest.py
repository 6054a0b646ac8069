"""Runs guest_datapath.py under Debian's kernel, which has Open vSwitch's module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skycore.testing import openvswitch
from skycore.testing.guest import PROGRAMS, run_in_guest

TESTS = Path(__file__).parent / "guest_datapath.py"


@pytest.mark.needs(*openvswitch.PROGRAMS, *PROGRAMS)
def test_the_kernels_datapath(pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--durations=5", str(TESTS)]
    ended = run_in_guest(command, folder=pytestconfig.rootpath)
    assert ended.status == 0, ended.output
    assert "passed" in ended.output
