"""Groups that import their commands on use, and Skydive's spelling of options."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from skycore.cli.lazy import Lazy, LazyGroup
from skycore.cli.main import skycore
from skycore.cli.skydive import PersistentGroup, RoleCommands
from skycore.errors import ConfigurationError, Problem, SkycoreError


@click.command("run")
@click.option("--role", type=click.Choice(["agent", "analyzer", "allinone"]), default="allinone")
@click.option("-c", "--conf", multiple=True)
@click.option("--verbose", is_flag=True)
@click.option("--listen")
def show_run(role: str, conf: tuple[str, ...], verbose: bool, listen: str | None) -> None:
    click.echo(f"{role} {list(conf)} {verbose} {listen}")


@click.command("ask")
@click.option("--analyzer", default="here")
@click.argument("question")
def ask(analyzer: str, question: str) -> None:
    click.echo(f"{analyzer} {question}")


@click.command("fail")
@click.argument("how")
def fail(how: str) -> None:
    if how == "configuration":
        raise ConfigurationError(
            [Problem("a.yml", 3, 5, "flow.expire", "wrong"), Problem("environment", 0, 0, "X", "bad")]
        )
    raise SkycoreError("it broke\nline 1, column 2")


def roles() -> click.Group:
    @click.group(cls=RoleCommands, run=Lazy(f"{__name__}:show_run", ""))
    @click.option("-c", "--conf", multiple=True)
    @click.option("--verbose", is_flag=True)
    def program(conf: tuple[str, ...], verbose: bool) -> None:
        pass

    @program.group("client", cls=PersistentGroup, lazy={"ask": Lazy(f"{__name__}:ask", "Ask.")})
    @click.option("--analyzer")
    def client(analyzer: str | None) -> None:
        pass

    return program


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("agent", "agent [] False None"),
        ("analyzer -c a --listen :1", "analyzer ['a'] False :1"),
        ("-c a -c b --verbose allinone -c c", "allinone ['a', 'b', 'c'] True None"),
        ("client ask why", "here why"),
        ("client --analyzer there ask why", "there why"),
        ("client --analyzer there ask --analyzer elsewhere why", "elsewhere why"),
        ("-c a client ask -c b why", "here why"),
    ],
)
def test_options_stand_before_or_after_the_command(arguments: str, output: str) -> None:
    result = CliRunner().invoke(roles(), arguments.split(), catch_exceptions=False)
    assert (result.output, result.exit_code) == (output + "\n", 0)


@pytest.mark.parametrize("arguments", ["agent --role analyzer", "agent --colour", "nothing", "client --listen x ask y"])
def test_what_is_unknown_is_refused(arguments: str) -> None:
    result = CliRunner().invoke(roles(), arguments.split(), catch_exceptions=False)
    assert result.exit_code == 2
    assert "No such" in result.output


@pytest.mark.parametrize(
    ("how", "code", "lines"),
    [
        ("configuration", 2, ["a.yml:3:5: flow.expire: wrong", "environment: X: bad"]),
        ("else", 1, ["it broke", "line 1, column 2"]),
    ],
)
def test_our_own_errors_end_without_a_traceback(how: str, code: int, lines: list[str]) -> None:
    program = LazyGroup("program", lazy={"fail": Lazy(f"{__name__}:fail", "Fail.")})
    result = CliRunner().invoke(program, ["fail", how], catch_exceptions=False)
    assert result.exit_code == code
    assert result.stderr.splitlines() == lines
    assert result.stdout == ""


def test_help_imports_no_command() -> None:
    script = (
        "import sys; from skycore.cli.main import skycore; skycore.main(['--help'], standalone_mode=False); "
        "print(*sorted(m for m in ('trio', 'msgspec', 'yaml', 'starlette', 'skycore.role', 'skycore.client') "
        "if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr.split() == []
    for name, lazy in skycore.lazy.items():
        assert f"  {name} " in done.stdout
        assert lazy.help in done.stdout
