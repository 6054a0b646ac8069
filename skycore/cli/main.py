"""The two programs: `skycore`, and `skydive` with the words that Skydive's users know."""

from __future__ import annotations

from typing import Any

import click

from skycore import __version__
from skycore.cli.access import access_words
from skycore.cli.lazy import Lazy, LazyGroup
from skycore.cli.skydive import PersistentGroup, RoleCommands

_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(
    cls=LazyGroup,
    context_settings=_HELP,
    lazy={
        "run": Lazy("skycore.role.command:run", "Run an agent, an analyzer, or both in one process."),
        "query": Lazy("skycore.cli.query:query", "Ask an analyzer or agent a Gremlin query."),
        "status": Lazy("skycore.cli.status:status", "Show the state of an analyzer or agent."),
        "plugins": Lazy("skycore.role.command:plugins", "List the installed plugins."),
        "config": Lazy("skycore.cli.config:config", "Look at the configuration."),
    },
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def skycore() -> None:
    """See what a network is made of and what flows through it, live and back in time."""


@skycore.command("version")
def _skycore_version() -> None:
    """Print the version."""
    click.echo(f"skycore {__version__}")


@click.group(cls=RoleCommands, context_settings=_HELP, run=Lazy("skycore.role.command:run", ""))
@click.option("-c", "--conf", multiple=True, metavar="FILE", help="Configuration file; several are merged in order.")
@click.option(
    "-b",
    "--config-backend",
    type=click.Choice(["file"]),
    default="file",
    show_default=True,
    expose_value=False,
    help="Where the configuration is read from.",
)
@click.option("--verbose", is_flag=True, help="Log at the level DEBUG.")
def skydive(conf: tuple[str, ...], verbose: bool) -> None:
    """The same program as `skycore`, in the words of Skydive."""


@skydive.group(
    "client",
    cls=PersistentGroup,
    lazy={
        "query": Lazy("skycore.cli.query:query", "Ask an analyzer or agent a Gremlin query."),
        "status": Lazy("skycore.cli.status:status", "Show the state of an analyzer or agent."),
    },
)
@click.option("--analyzer", metavar="HOST:PORT", help="The analyzer or agent to ask.")
@access_words
def _client(**_handed_on: Any) -> None:
    """Ask an analyzer or agent."""


@skydive.command("version")
def _skydive_version() -> None:
    """Print the version."""
    click.echo(f"skydive skycore {__version__}")
