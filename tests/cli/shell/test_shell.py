"""The shell against a real all-in-one: in a terminal, as a script, through a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from tests.storage.analyzers import Running, running

SKYCORE = Path(sys.executable).with_name("skycore")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("allinone", tmp_path_factory.mktemp("allinone")) as made:
        made.until(lambda: made.ask("G.V().Has('Type', 'host').Count()") == 1)
        yield made


class Terminal:
    """`skycore shell` in a terminal of its own; ``lines`` is what stands on its screen."""

    def __init__(self, address: str, home: Path) -> None:
        environment = {**os.environ, "SKYDIVE_ANALYZER": address, "HOME": str(home), "TERM": "xterm"}
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 160, 0, 0))
        self._screen = pyte.Screen(160, 60)
        self._screen.write_process_input = self.type  # type: ignore[method-assign, assignment]
        self._stream = pyte.ByteStream(self._screen)
        self.popen = subprocess.Popen(
            [SKYCORE, "shell"], stdin=there, stdout=there, stderr=there, env=environment, start_new_session=True
        )
        os.close(there)

    def type(self, text: str) -> None:
        os.write(self._here, text.encode())

    def until(self, text: str) -> None:
        """Wait until a line of the screen ends so."""
        deadline = time.monotonic() + 30
        while not any(line.endswith(text) for line in self.lines):
            assert time.monotonic() < deadline, "\n".join(["this did not come: " + text, *self.lines])
            if select.select([self._here], [], [], 0.2)[0]:
                self._stream.feed(os.read(self._here, 1 << 16))

    def ready(self) -> None:
        """Wait for the prompt, and begin with an empty screen."""
        deadline = time.monotonic() + 30
        while not self.lines or self.lines[-1] != "skycore>":
            assert time.monotonic() < deadline, "\n".join(self.lines)
            if select.select([self._here], [], [], 0.2)[0]:
                self._stream.feed(os.read(self._here, 1 << 16))

    @property
    def lines(self) -> list[str]:
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def end(self) -> int:
        """The status it ends with."""
        return self.popen.wait(30)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        os.close(self._here)


@pytest.fixture
def terminal(process: Running, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(str(process.client.server.address), tmp_path)
    try:
        made.ready()
        yield made
    finally:
        made.close()


def test_a_person_types(terminal: Terminal, tmp_path: Path, process: Running) -> None:
    name = process.ask("G.V().Has('Type', 'host').Values('Name')")[0]
    terminal.type("G.V().Has('Type', 'ho\t")
    terminal.until("> G.V().Has('Type', 'host'")
    terminal.type(").Values('Name').Cou\t")
    terminal.until("> G.V().Has('Type', 'host').Values('Name').Count()")
    terminal.type("\r")
    terminal.ready()
    terminal.type("G.V().Has('Type'\r")
    terminal.until("     ...")
    terminal.type(", 'host').Values('Name')\r")
    terminal.until(f" {name}")
    terminal.ready()
    terminal.type("G.V().Nonsense()\r")
    terminal.until("G.V().Nonsense()")
    terminal.ready()
    assert any("400 Bad Request" in line for line in terminal.lines)
    terminal.type(":output tree\rG.V().Has('Type', 'host')\r")
    terminal.until(f"└── {name} (host)")
    terminal.ready()
    terminal.type(":steps shortestpathto\r")
    terminal.until("V → P")
    terminal.ready()
    # Ctrl-C gives the line up, Ctrl-D ends.
    terminal.type("G.V(")
    terminal.until("> G.V(")
    terminal.type("\x03")
    terminal.ready()
    terminal.type("\x04")
    assert terminal.end() == 0
    kept = tmp_path / ".skycore_history"
    assert "G.V().Nonsense()" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_lines_come_back(terminal: Terminal, process: Running, tmp_path: Path) -> None:
    terminal.type("G.V().Has('Name', 'remembered').Count()\r")
    terminal.until("0")
    terminal.ready()
    terminal.type(":quit\r")
    assert terminal.end() == 0
    again = Terminal(str(process.client.server.address), tmp_path)
    try:
        again.ready()
        again.type("\x1b[A")
        again.until("> :quit")
        again.type("\x1b[A")
        again.until("> G.V().Has('Name', 'remembered').Count()")
        again.type("\x15\x04")
        assert again.end() == 0
    finally:
        again.close()


def _run(process: Running, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SKYDIVE_ANALYZER": str(process.client.server.address)}
    return subprocess.run(
        [SKYCORE, "shell", *words],
        input=input,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_script(process: Running, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(
        "# a line goes on while something is open\nG.V().Has('Type',\n 'host').Count()\n\n"
        ":output yaml\nG.V().Has('Type', 'nothing')\n:quit\nG(\n"
    )
    done = _run(process, "--script", str(script), "-o", "json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n[]\n", "")


def test_a_pipe_ends_at_the_first_error(process: Running) -> None:
    done = _run(process, "-o", "json", input="G.V().Has('Type', 'host').Count()\nG.V().Nonsense()\nG.V().Count()\n")
    assert done.returncode == 1
    assert done.stdout == "1\n"
    assert "Nonsense" in done.stderr
    assert _run(process, input=":nonsense\n").stderr == "there is no command :nonsense; :help lists them\n"
    assert "TAB completes" in _run(process, input=":help\n").stdout


def test_graphs_and_trees(process: Running) -> None:
    name = process.ask("G.V().Has('Type', 'host').Values('Name')")[0]
    done = _run(process, "-o", "graph", input="G.V().Has('Type', 'host').SubGraph()\n")
    assert done.stdout.startswith(f"{name} (host)")
    done = _run(process, "-o", "graph", input="G.V().Count()\n")
    assert "end it with SubGraph()" in done.stderr
