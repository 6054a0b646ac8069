"""How the probe is told to look into a fake host."""

from __future__ import annotations

from typing import Any

from skycore.testing.lab import FakeHost

RUN_PATHS = ("/run/containerd/runc", "/run/runc", "/run/crun")


def settings(host: FakeHost, **more: Any) -> dict[str, Any]:
    """The probe runs in this process, outside the fake host, so it looks in through /proc."""
    return {
        "run_path": [host.path(path) for path in RUN_PATHS],
        "proc_path": host.proc_path,
        "root_path": host.path(""),
        "check": 0.1,
        **more,
    }
