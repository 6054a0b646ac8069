"""docs/troubleshooting.md, as it stands: each command in a lab with real traffic, and what it prints."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from skycore.testing.lab import FakeHost, LabError
from tests.system.processes import Process, until
from tests.system.routed import ADDRESS, CONFIGURATION, furnish, knock, serve, talk, tell

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text()
PROGRAMS = Path(sys.executable).parent


def steps() -> list[tuple[str, str]]:
    """Each command of the page, with what it prints."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            found.append((command, printed))
    return found


STEPS = steps()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHost]:
    with ExitStack() as stack:
        host = stack.enter_context(FakeHost())
        furnish(host)
        process = Process(host, "allinone", tmp_path_factory.mktemp("all"), CONFIGURATION, address=ADDRESS)
        stack.enter_context(process).start()
        until(
            lambda: process.query("G.V().Has('IPV4', Ipv4Range('10.77.2.2/32')).HasKey('RoutingTables').Count()") == 1
        )
        run(host, STEPS[0][0])
        until(lambda: process.query("G.V().Has('Captures.State', 'active').Count()") == 4)
        serve(host)
        listening = "G.V().Sockets().Has('LocalPort', 8080, 'State', 'LISTEN').Count()"
        until(lambda: process.query(listening) == 1, seconds=30)
        talk(host)
        knock(host)
        tell(host, "10.77.2.2", 7777)
        tell(host, "10.77.2.9", 5000)
        yield host


def run(host: FakeHost, command: str) -> str:
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return host.run("env", f"PATH={path}", f"SKYDIVE_ANALYZER={ADDRESS}", "bash", "-c", command)


def test_there_are_ten_questions() -> None:
    assert len(re.findall(r"^## \d+\. .*\?$", PAGE, flags=re.MULTILINE)) == 10


@pytest.mark.parametrize(("command", "printed"), STEPS[1:], ids=[f"{n}" for n in range(1, len(STEPS))])
def test_the_answer(lab: FakeHost, command: str, printed: str) -> None:
    expected = re.escape(printed.strip()).replace("…", ".*")
    answers: list[str] = []

    def as_written() -> bool:
        try:
            answers.append(run(lab, command))
        except LabError as error:
            answers.append(str(error))
        return re.fullmatch(expected, answers[-1].strip(), flags=re.DOTALL) is not None

    # Flows are told each second, sockets and routes in their own time.
    until(as_written, seconds=30, why=lambda: f"{command}\n{answers[-1]}")
