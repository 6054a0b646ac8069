"""The pytest plugin of Skycore's tests: real systems as fixtures, and no test that is silently skipped.

Activated by ``pytest_plugins = ["skycore.testing.pytest_plugin"]`` in the root ``conftest.py``.

A test says what it needs by ``@pytest.mark.needs("dockerd", "root")``; the fixtures check for themselves.  What is
missing fails the test.  The only skips are those that ``tests/cannot-run-here.toml`` lists::

    [[cannot_run]]
    test = "plugins/skydive-probe-x/tests/test_x.py::test_y"   # a test, or a file or class with all its tests
    reason = "the test machines' kernel has no module z"

They are printed at the end; any other skip fails the run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from skycore.testing.dockerd import Dockerd
from skycore.testing.lab import PROGRAMS, FakeHost, LabError, NamedNetns, Underlay, make_netns, missing_programs

CANNOT_RUN: Final = "tests/cannot-run-here.toml"

_HINT = "the second command of README.md installs all that the tests need"
_cannot_run = pytest.StashKey[Mapping[str, str]]()
_skipped_by_list = pytest.StashKey[dict[str, str]]()
_skipped_otherwise = pytest.StashKey[dict[str, str]]()


def read_cannot_run(path: Path) -> dict[str, str]:
    """Read the list of permitted skips: node ID → reason; a file that does not exist is an empty list.

    Raises pytest.UsageError for anything that is not such a list, and for tests in files that do not exist.
    """
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"{path}: no TOML: {error}") from error
    entries = document.pop("cannot_run", [])
    if document or not isinstance(entries, list):
        raise pytest.UsageError(f"{path}: only tables [[cannot_run]] are allowed, with the keys test and reason")
    permitted: dict[str, str] = {}
    for entry in entries:
        if (
            not isinstance(entry, dict)
            or set(entry) != {"test", "reason"}
            or not all(isinstance(value, str) and value.strip() for value in entry.values())
        ):
            raise pytest.UsageError(f"{path}: {entry!r} must have the keys test and reason, both text")
        if not (path.parent.parent / entry["test"].partition("::")[0]).exists():
            raise pytest.UsageError(f"{path}: {entry['test']} lies in a file that does not exist; remove the entry")
        permitted[entry["test"]] = entry["reason"]
    return permitted


def _reason_for(node_id: str, permitted: Mapping[str, str]) -> str | None:
    """The reason of the entry that is this test, or that holds it (its file, class or parametrized function)."""
    for test, reason in permitted.items():
        if node_id == test or node_id.startswith((f"{test}::", f"{test}[")):
            return reason
    return None


def require(*programs: str) -> None:
    """Fail the running test when a program is missing (``root``: when we are not root)."""
    missing = missing_programs(programs)
    if missing:
        packages = sorted({PROGRAMS[name] for name in missing if name in PROGRAMS})
        brought = f" (Debian packages: {', '.join(packages)})" if packages else ""
        pytest.fail(f"this test needs {', '.join(missing)}{brought}; {_HINT}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): what the test needs; missing, it fails")
    config.stash[_cannot_run] = read_cannot_run(config.rootpath / CANNOT_RUN)
    config.stash[_skipped_by_list] = {}
    config.stash[_skipped_otherwise] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = _reason_for(item.nodeid, item.config.stash[_cannot_run])
    if reason is not None:
        item.config.stash[_skipped_by_list][item.nodeid] = reason
        pytest.skip(reason)
    for mark in item.iter_markers("needs"):
        require(*mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        arguments: dict[str, Any] = getattr(item, "funcargs", {})
        for daemon in {id(value): value for value in arguments.values() if isinstance(value, Dockerd)}.values():
            report.sections.append((f"dockerd's log ({daemon.log})", daemon.tail()))
    # An expected failure that is not even run is a skip by another name.
    expected = getattr(report, "wasxfail", None)
    if report.skipped and (expected is None or "[NOTRUN]" in expected):
        _note_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _note_skip(collector.config, report)
    return report


def _note_skip(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.nodeid not in config.stash[_skipped_by_list]:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail and not run"
        config.stash[_skipped_otherwise][report.nodeid] = text


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[_skipped_otherwise] and session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    by_list, otherwise = config.stash[_skipped_by_list], config.stash[_skipped_otherwise]
    if by_list:
        terminalreporter.section("cannot run here")
        for test, reason in by_list.items():
            terminalreporter.line(f"{test}: {reason}")
    if otherwise:
        terminalreporter.section("skipped without permission", red=True)
        for test, reason in otherwise.items():
            terminalreporter.line(f"{test}: {reason}")
        terminalreporter.line(f"Only tests listed in {CANNOT_RUN} may be skipped; the run has failed.", red=True)


@pytest.fixture
def netns() -> Iterator[Callable[[], NamedNetns]]:
    """Makes named network namespaces (``/run/netns/skt-…``), removed at the end."""
    require("root", "ip", "nsenter")
    with ExitStack() as stack:
        yield lambda: stack.enter_context(make_netns())


@pytest.fixture
def fake_host() -> Iterator[FakeHost]:
    """One fake host, alone."""
    require("root", "ip", "nsenter", "unshare", "bash")
    with FakeHost() as host:
        yield host


@pytest.fixture
def fake_hosts() -> Iterator[Callable[[int], list[FakeHost]]]:
    """Makes so many fake hosts that reach each other as 10.200.0.1, 10.200.0.2 … over ``eth0``."""
    require("root", "ip", "nsenter", "unshare", "bash")
    with ExitStack() as stack:

        def make(count: int) -> list[FakeHost]:
            hosts = [stack.enter_context(FakeHost()) for _ in range(count)]
            stack.enter_context(Underlay(hosts))
            return hosts

        yield make


@pytest.fixture(scope="module")
def _module_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    require("root", "ip", "nsenter", "unshare", "bash", "dockerd", "containerd", "runc", "docker", "busybox")
    log = tmp_path_factory.mktemp("dockerd") / "dockerd.log"
    try:
        daemon = Dockerd(FakeHost(), log)
    except LabError as error:
        pytest.fail(str(error), pytrace=False)
    with daemon:
        yield daemon


@pytest.fixture
def dockerd(_module_dockerd: Dockerd) -> Dockerd:
    """A docker daemon in a fake host, without containers; one daemon serves all tests of a module."""
    if not _module_dockerd.answers():
        _module_dockerd.restart()
    _module_dockerd.remove_all()
    return _module_dockerd
