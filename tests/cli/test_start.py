"""What commands import: people wait for it at each start."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("trio", "trio_websocket", "rich", "yaml", "starlette", "numpy", "h11", "skycore.graph", "skycore.role")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--help", 0),
        ("query --help", 0),
        ("query G --analyzer 127.0.0.1:1", 1),
        ("node list --analyzer 127.0.0.1:1", 1),
        ("node-rule list --analyzer 127.0.0.1:1", 1),
        ("status --analyzer 127.0.0.1:1", 1),
        ("topology export --analyzer 127.0.0.1:1", 1),
        ("version", 0),
    ],
)
def test_a_command_imports_what_it_needs(words: str, code: int) -> None:
    script = (
        "import sys; from skycore.cli.main import skycore\n"
        "try: skycore.main(sys.argv[1:], 'skycore')\n"
        f"finally: print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words.split()], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert done.stderr.splitlines()[-1] == ""
