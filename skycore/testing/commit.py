"""Which state of the code a long run was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(file: str) -> str:
    """The commit that is checked out where ``file`` stands, with ``-dirty`` when something was changed after it."""
    command = ["git", "-C", str(Path(file).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or "unknown"
