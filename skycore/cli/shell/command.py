"""The command: reads lines, asks, prints; a script and a pipe are read the same way."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO, final

import click
import msgspec

from skycore.cli import options, query
from skycore.cli.harmless import harmless
from skycore.cli.output import print_table
from skycore.cli.shell.scan import scan
from skycore.cli.shell.suggest import Language, Suggester
from skycore.client import Client
from skycore.client.calls import Call
from skycore.errors import ClientError, SkycoreError

_PROMPT: Final = "skycore> "
_SUGGESTION_SECONDS: Final = 2.0
_HELP: Final = """\
A line is a query, such as G.V().Has('Type', 'veth'); one whose parentheses are open goes on in the next line.
TAB completes steps, keys and values, the arrows up and down bring back earlier lines, Ctrl-R looks for one.

  :output FORM    how results are printed: {forms}
  :steps [NAME]   the steps of the language, or one of them
  :help           this
  :quit           the end, as Ctrl-D is
"""


@click.command("shell")
@options.asking
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("~/.skycore_history"),
    show_default=True,
    help="Where lines are kept.",
)
@click.option(
    "--script", type=click.File("r", encoding="utf-8"), help="Read lines from this file, and end; '-' is stdin."
)
@options.output(*query.FORMS[:-1], default="table")
def shell(client: Client, history: Path, script: TextIO | None, form: str) -> None:
    """Ask one query after the other, with completion and history.

    A script, or what comes through a pipe, ends at the first error, with status 1.
    """
    asked = _Shell(client, form)
    if script is not None or not sys.stdin.isatty():
        for line in _statements(script or sys.stdin):
            if not asked.take(line):
                return
        return
    _interactive(asked, client, history.expanduser())


@final
class _Shell:
    def __init__(self, client: Client, form: str) -> None:
        self._client = client
        self.form = form
        self._suggester: Suggester | None = None

    @property
    def suggester(self) -> Suggester:
        """Made when it is first needed.  Raises ClientError when nobody answers."""
        if self._suggester is None:
            # Nobody waits long for a suggestion.
            client = Client(self._client.server.address, _SUGGESTION_SECONDS, self._client.server.access)
            language = client.run(Call("GET", "/api/gremlin", lambda body: msgspec.json.decode(body, type=Language)))
            self._suggester = Suggester(language, client.query)
        return self._suggester

    def take(self, line: str) -> bool:
        """Do what a line says; False when it ends the shell.  Raises SkycoreError."""
        line = line.strip()
        if not line or line.startswith("#"):
            return True
        if self._suggester is not None:
            self._suggester.forget()
        if line.startswith(":"):
            return self._command(line[1:].split())
        query.ask(line, self._client, self.form)
        return True

    def _command(self, words: list[str]) -> bool:
        match words:
            case ["quit" | "exit" | "q"]:
                return False
            case ["help" | "h" | "?"]:
                click.echo(_HELP.format(forms=", ".join(query.FORMS[:-1])), nl=False)
            case ["output" | "o", form] if form in query.FORMS[:-1]:
                self.form = form
            case ["steps"]:
                steps = self.suggester.steps
                print_table(["STEP", "MEANING"], [[f"{step.Name}{step.Parameters}", step.Summary] for step in steps])
            case ["steps", name]:
                step = self.suggester.step(name)
                if step is None:
                    raise ClientError(f"there is no step {name}; :steps lists them")
                click.echo(f"{step.Name}{step.Parameters}\n{step.Summary}")
                for taken, given in step.Gives.items():
                    click.echo(f"  {taken} → {given}")
            case _:
                raise ClientError(f"there is no command :{' '.join(words)}; :help lists them")
        return True


def _statements(lines: TextIO) -> Iterator[str]:
    """Lines, those together that are one query."""
    kept = ""
    for line in lines:
        kept += line
        if kept.lstrip().startswith((":", "#")) or scan(kept).complete:
            yield kept
            kept = ""
    if kept.strip():
        yield kept


def _interactive(asked: _Shell, client: Client, history: Path) -> None:
    try:
        # Imported here because only people need it; installed by the extra `cli`.
        from skycore.cli.shell.prompt import session  # noqa: PLC0415
    except ImportError as error:
        raise ClientError(f"the shell needs the extra cli: pip install 'skycore[cli]' ({error})") from error
    click.echo(f"Asking {client.server.address}; :help tells what can be typed, Ctrl-D ends.")
    lines = session(lambda: asked.suggester, _usable(history))
    while True:
        try:
            line = lines.prompt(_PROMPT)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            if not asked.take(line):
                return
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
        except SkycoreError as error:
            click.echo(harmless(str(error)), err=True)


def _usable(history: Path) -> Path | None:
    """The file, made for its owner only; None, and a word about it, when it cannot be kept."""
    try:
        os.close(os.open(history, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        click.echo(f"{history}: {error.strerror}; lines are not kept", err=True)
        return None
    return history
