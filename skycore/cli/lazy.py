"""A command group that imports a command when it is used, and not before.

It keeps ``skycore --help`` quick, and lets a command live in the room it belongs to (``run`` stands beside the
roles that it starts) without an import from here to there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from skycore.cli.harmless import harmless
from skycore.errors import ConfigurationError, SkycoreError


def load(target: str) -> Any:
    """Import ``module:attribute``.  Raises ImportError or AttributeError when it is not there."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Lazy(NamedTuple):
    """Where a command is (``module:attribute``, a click command), and the line that help shows for it."""

    target: str
    help: str

    def load(self) -> click.Command:
        """Import the command.  Raises ImportError or AttributeError, and TypeError when it is something else."""
        command = load(self.target)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is no click command")
        return command


class LazyGroup(click.Group):
    """A click group whose ``lazy`` commands are imported on use.

    An error of Skycore's own that leaves a command is shown on stderr without a traceback; the program then
    ends with exit code 2 when the configuration is wrong, and with 1 otherwise.  Ctrl-C ends it with 130.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy:
            return self.lazy[cmd_name].load()
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                rows.append((name, self.lazy[name].help))
            elif command := super().get_command(ctx, name):
                rows.append((name, command.get_short_help_str(limit=formatter.width)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # Importing all commands, as click does, would take a second at each press of the key.
        named = [
            CompletionItem(name, help=self.lazy[name].help if name in self.lazy else None)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SkycoreError as error:
            for line in _lines(error):
                click.echo(harmless(line), err=True)
            ctx.exit(2 if isinstance(error, ConfigurationError) else 1)
        except KeyboardInterrupt:
            # What a shell says of a program that SIGINT ended.
            ctx.exit(130)


def _lines(error: SkycoreError) -> Sequence[str]:
    if isinstance(error, ConfigurationError):
        return [str(problem) for problem in error.problems]
    return [str(error)]
