"""Plugins that fail, each in its way, inside a real `skycore run`: named in the status, and nothing else harmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skycore.graph.identity import Key, node_id
from skycore.storage.embedded import EmbeddedStore
from tests.plugin.running import INSTALLED, Process, add_distribution, skycore_run

CLASSES = {
    "fine": "Fine",
    "wrong": "WrongSettings",
    "no_run": "NoRun",
    "bad_roles": "BadRoles",
    "bad_precedence": "BadPrecedence",
    "bad_section": "BadSection",
    "odd_settings": "OddSettings",
    "elsewhere": "ElsewhereSection",
    "at_start": "CrashAtStart",
    "before_started": "CrashBeforeStarted",
    "later": "CrashLater",
    "exits": "Exits",
    "interrupts": "Interrupts",
    "bare": "RaisesBare",
    "unreported": "NeverReports",
    "finishes": "Finishes",
    "blocks": "Blocks",
}
ENTRY_POINTS = {
    **{name: f"awkward_probes:{cls}" for name, cls in CLASSES.items()},
    "import_error": "awkward_import_error:Probe",
    "exit": "awkward_exit:Probe",
    "no_class": "awkward_probes:time",
}
CONFIGURATION = """\
agent:
  listen: 127.0.0.1:0
  topology:
    probes: [{probes}]
    wrong:
      interval: soon
      intervall: 1
    somewhere:
      depth: deep
analyzers: []
logging:
  encoder: json
storage:
  embedded:
    path: {path}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def agent(folder: Path) -> Iterator[Process]:
    configuration = CONFIGURATION.format(probes=", ".join(["-netns", "absent", *ENTRY_POINTS]), path=folder / "state")
    with skycore_run(folder, "agent", configuration, ENTRY_POINTS) as process:
        yield process


def test_the_others_run(agent: Process) -> None:
    """Among eighteen that fail: one that was asked for, one that is implied, and none that was refused."""
    agent.probe("fine", Status="running", Error=None, Restarts=0, Stale=None)
    agent.probe("netlink", Status="running")
    assert "netns" not in agent.probes()
    assert agent.query("G.V().Has('Name', 'fine').Values('Said')") == ["first"]
    assert agent.query("G.V().Has('Name', 'lo').Count()") == 1


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("absent", "no installed package offers plugin 'absent'"),
        ("absent", "pip install skydive-probe-absent"),
        ("import_error", "cannot be imported: ModuleNotFoundError: No module named 'a_library_that_nobody_has'"),
        ("exit", "cannot be imported: SystemExit: nothing to do for me here"),
        ("no_class", "is no class with an async run(); see docs/plugins.md"),
        ("no_run", "is no class with an async run(); see docs/plugins.md"),
        ("bad_roles", "roles is a set of names, such as frozenset({'agent'}), not None"),
        ("bad_precedence", "precedence['Name'] is a set of names"),
        ("bad_section", "a plugin's section cannot stand at"),
        ("odd_settings", "its Settings are no attrs class"),
        ("wrong", "skycore.yml:6:17: agent.topology.wrong.interval: expects a number, not the string 'soon'"),
        ("wrong", "skycore.yml:7:7: agent.topology.wrong.intervall: unknown key; did you mean interval?"),
        ("elsewhere", "skycore.yml:9:14: agent.topology.somewhere.depth: expects an integer, not the string 'deep'"),
    ],
)
def test_what_cannot_be_started_is_reported_and_not_tried_again(agent: Process, name: str, error: str) -> None:
    status = agent.probe(name, Status="failed", Restarts=0)
    assert error in status["Error"]
    (logged,) = [line for line in agent.logged("plugin cannot be started") if line["plugin"] == name]
    assert logged["level"] == "error"
    assert logged["error"] == status["Error"]


def test_a_failing_import_is_not_tried_again(agent: Process, folder: Path) -> None:
    """Once to learn its settings, once to start it; what has crashed five times meanwhile shows that time passed."""
    agent.until(lambda: agent.probes()["later"]["Restarts"] >= 2)
    assert (folder / "imports").read_text() == "imported\n" * 2


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("at_start", "OSError: the device is not there"),
        ("before_started", "LookupError: no inventory to be had"),
        ("later", "RuntimeError: lost the thread"),
        ("exits", "SystemExit: 3"),
        ("interrupts", "KeyboardInterrupt: not from the keyboard"),
        ("bare", "BaseException: as bare as can be"),
        ("unreported", "RuntimeError: child exited without calling task_status.started()"),
    ],
)
def test_what_crashes_is_named_and_started_again(agent: Process, name: str, error: str) -> None:
    agent.until(lambda: agent.probes()[name]["Restarts"] >= 1)
    agent.probe(name, Status="crashed", Error=error, Stale=error)
    lines = [line for line in agent.logged("plugin crashed; it will be started again") if line["plugin"] == name]
    assert lines[0]["error"] == error
    assert "Traceback" in lines[0]["trace"] or name == "unreported"


def test_what_a_crashed_probe_said_is_kept_and_stale(agent: Process) -> None:
    agent.until(lambda: agent.query("G.V().Has('Said', 'still here', '@Stale', true).Count()") == 1)
    assert agent.query("G.V().Has('Name', 'fine', '@Stale', false).Count()") == 1


def test_a_probe_may_end_when_there_is_nothing_left_to_follow(agent: Process) -> None:
    agent.probe("finishes", Status="finished", Error=None, Restarts=0, Stale=None)
    assert agent.query("G.V().Has('Name', 'finished', '@Stale', false).Values('Said')") == ["all there was"]


def test_a_probe_that_blocks_the_loop_is_named(agent: Process) -> None:
    status = agent.probe("blocks", Status="running", Blocked=1)
    assert 1.0 < status["BlockedLongest"] < 5.0
    (line,) = agent.logged("the event loop is blocked")
    assert line["by"] == "blocks"
    assert "time.sleep(1.5)" in line["stack"]


def test_interrupted_from_the_keyboard_the_process_ends_in_order(agent: Process, folder: Path) -> None:
    """The last test of this agent.  A real SIGINT is nobody's KeyboardInterrupt."""
    agent.probe("fine", Status="running")
    assert agent.stop(signal.SIGINT) < 4.0
    assert agent.popen.returncode == 0
    assert agent.logged("stopping")
    assert not agent.logged("plugin is stuck")
    assert {line["error"] for line in agent.log() if "KeyboardInterrupt" in str(line.get("error"))} == {
        "KeyboardInterrupt: not from the keyboard"
    }


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("docker:\n      url: [1]", "6:12: agent.topology.docker.url"),
        ("netlink: {metrics_update: often}", "5:31: agent.topology.netlink.metrics_update"),
    ],
)
def test_wrong_settings_of_a_known_plugin(tmp_path: Path, section: str, place: str) -> None:
    """The core itself knows the keys of some plugins; that must not make their mistakes fatal."""
    text = f"agent:\n  listen: 127.0.0.1:0\n  topology:\n    probes: [docker, fine, -netns]\n    {section}\n"
    text += f"storage:\n  embedded:\n    path: {tmp_path}/state\nlogging:\n  encoder: json\n"
    name = section.partition(":")[0]
    with skycore_run(tmp_path, "agent", text, {"fine": "awkward_probes:Fine"}) as process:
        status = process.probe(name, Status="failed")
        process.probe("fine", Status="running")
        assert f"skycore.yml:{place}" in status["Error"]
        process.stop()
    assert process.popen.returncode == 0


def test_config_check_ends_with_2_when_settings_of_a_plugin_are_wrong(folder: Path) -> None:
    (folder / "check.yml").write_text(CONFIGURATION.format(probes="wrong, elsewhere, bad_section", path="/x"))
    command: list[str | Path] = [
        Path(sys.executable).with_name("skycore"),
        "config",
        "check",
        "-c",
        folder / "check.yml",
    ]
    add_distribution(folder / "checked", ENTRY_POINTS)
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'checked'}:{INSTALLED}", "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=20, check=False)
    assert done.returncode == 2, done.stdout
    assert [line.split(": ")[0].rpartition("/")[2] for line in done.stderr.splitlines()] == [
        "check.yml:6:17",
        "check.yml:7:7",
        "check.yml:9:14",
    ]


def test_the_configuration_may_come_from_standard_input_all_the_same(tmp_path: Path) -> None:
    """It is read twice when a plugin's settings are wrong, and standard input can be read only once."""
    add_distribution(tmp_path, {"wrong": "awkward_probes:WrongSettings"})
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{INSTALLED}", "XDG_CACHE_HOME": str(tmp_path)}
    program = (
        "from skycore.role import setup\n"
        "made, _ = setup.read(['-'], insecure_listen=False)\n"
        "print(made.config.agent.listen, *made.faults)\n"
    )
    text = "agent: {listen: '127.0.0.1:7', topology: {probes: [wrong], wrong: {interval: soon}}}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        timeout=20,
        check=True,
    )
    assert done.stdout == "127.0.0.1:7 agent.topology.wrong\n"


def test_stuck_probes_do_not_keep_the_process(tmp_path: Path) -> None:
    """Stuck are named after five seconds, what they said is withdrawn, what others said last is in the store."""
    text = (
        "agent:\n  listen: 127.0.0.1:0\n  topology:\n    probes: [-netlink, -netns, fine, shields, swallows]\n"
        "analyzer:\n  listen: 127.0.0.1:0\nhost_id: one\nlogging:\n  encoder: json\n"
        f"storage:\n  embedded:\n    path: {tmp_path}/state\n"
    )
    classes = {name: f"awkward_probes:{name.title()}" for name in ("fine", "shields", "swallows")}
    with skycore_run(tmp_path, "allinone", text, classes) as process:
        process.probe("shields", Status="running")
        process.probe("swallows", Status="running")
        assert 5.0 <= process.stop(seconds=15) < 9.0
        stuck = process.logged("plugin is stuck")
        assert {line["plugin"] for line in stuck} == {"shields", "swallows"}
        (left,) = process.logged("left without waiting for stuck probes")
        assert left["probes"] == ["shields", "swallows"]
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(tmp_path / "state" / "analyzer")))
    store.open()
    try:
        nodes = {node["Name"]: node for node in (revision.metadata() for revision in store.current())}
        assert nodes["fine"]["Said"] == "last words"
        assert not nodes.keys() & {"shielding", "swallowing"}
        ends = [store.revisions(node_id("one", Key(kind, "1")))[-1].deleted_at for kind in ("shielding", "swallowing")]
        assert None not in ends
    finally:
        store.close()
