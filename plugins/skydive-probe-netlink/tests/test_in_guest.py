"""Runs guest_kinds.py under Debian's kernel, which has the kinds of links that the machine's kernel may lack."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skycore.testing.guest import PROGRAMS, run_in_guest

TESTS = Path(__file__).parent / "guest_kinds.py"


@pytest.mark.needs("root", *PROGRAMS)
def test_kinds_of_debians_kernel(pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--durations=5", str(TESTS)]
    ended = run_in_guest(command, folder=pytestconfig.rootpath, timeout=360)
    assert ended.status == 0, ended.output
    assert "passed" in ended.output
