"""Runtimes inside fake hosts; and the modules beside this file can be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skycore.testing.lab import FakeHost
from skycore.testing.oci import OciRuntime
from skycore.testing.pytest_plugin import require

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest, fake_host: FakeHost) -> Iterator[OciRuntime]:
    """Each of the two runtimes, alone."""
    require("busybox", request.param)
    with OciRuntime(fake_host, request.param) as runtime:
        yield runtime
