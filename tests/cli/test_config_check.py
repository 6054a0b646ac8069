"""`skycore config check`, with the plugins that are installed here."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from skycore.cli.main import skycore


def check(tmp_path: Path, *texts: str) -> Result:
    arguments = ["config", "check"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yml").write_text(text)
        arguments += ["-c", str(tmp_path / f"{number}.yml")]
    return CliRunner().invoke(skycore, arguments, env={"SKYDIVE_AGENT_LISTEN": None}, catch_exceptions=False)


def test_a_right_file(tmp_path: Path) -> None:
    result = check(tmp_path, "agent:\n  listen: 127.0.0.1:8081\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"ok: {tmp_path}/0.yml\n"


def test_all_problems_of_all_files_at_once(tmp_path: Path) -> None:
    result = check(tmp_path, "agent:\n  listen: 127.0.0.1:999999\n  lissten: x\n", "flow:\n  expire: soon\n")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{tmp_path}/0.yml:2:11", "agent.listen"],
        [f"{tmp_path}/0.yml:3:3", "agent.lissten"],
        [f"{tmp_path}/1.yml:2:11", "flow.expire"],
    ]


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(skycore, ["config", "check", "-c", str(tmp_path / "none.yml")])
    assert result.exit_code == 2
    assert "none.yml: cannot be read: No such file" in result.stderr


def test_what_has_no_effect_is_listed(tmp_path: Path) -> None:
    result = check(tmp_path, "ui:\n  theme: dark\nagent:\n  topology:\n    probes: [absent]\n")
    assert result.exit_code == 0, result.stderr
    assert f"{tmp_path}/0.yml:2" in result.stdout
    assert "ui.theme" in result.stdout
    assert "agent.topology.probes: no installed package offers plugin 'absent'" in result.stdout


def test_settings_of_an_enabled_plugin_are_checked(tmp_path: Path) -> None:
    text = "agent:\n  topology:\n    probes: [docker]\n    docker:\n      url: [1]\n      colour: red\n"
    result = check(tmp_path, text)
    assert result.exit_code == 2, result.stdout
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "agent.topology.docker.url",
        "agent.topology.docker.colour",
    ]
