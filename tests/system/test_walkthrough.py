"""docs/walkthrough.md, as it stands: its files, its processes, its commands, what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "walkthrough.md").read_text()
PROGRAMS = Path(sys.executable).parent
ROLES = {"ctl1": "analyzer", "ctl2": "analyzer", "web1": "agent", "web2": "agent", "web3": "agent"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The files of the page, and a process for each."""
    files = re.findall(r"^```yaml\n# (\w+)\.yml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == list(ROLES)
    with ExitStack() as stack:
        for name, text in files:
            (tmp_path / f"{name}.yml").write_text(text)
        for name, role in ROLES.items():
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            command = [str(PROGRAMS / "skycore"), "run", "--role", role, "-c", f"{name}.yml"]
            popen = stack.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log))
            stack.callback(popen.kill)
            (tmp_path / f"{name}.pid").write_text(str(popen.pid))
        yield tmp_path


def steps() -> list[tuple[str, str]]:
    """Each command of the page, with what it prints."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            found.append((command, printed))
    return found


def matches(printed: str, expected: str) -> bool:
    return re.fullmatch(re.escape(expected).replace("…", ".*"), printed) is not None


def test_the_page_is_true(folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    for variable in ("SKYDIVE_ANALYZER", "SKYDIVE_USERNAME", "SKYDIVE_PASSWORD"):
        environment.pop(variable, None)
    checked = 0
    for command, expected in steps():
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value
            continue
        if command == "skycore query G":
            os.kill(int((folder / "ctl1.pid").read_text()), signal.SIGINT)
        # Agents connect and rules take effect in their own time.  What makes something is typed once.
        deadline = time.monotonic() + (60 if " create " not in command else 0)
        while True:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            if matches(done.stdout, expected):
                break
            assert time.monotonic() < deadline, f"$ {command}\n{done.stdout}\nexpected:\n{expected}"
            time.sleep(0.1)
        checked += 1
    assert checked >= 10
