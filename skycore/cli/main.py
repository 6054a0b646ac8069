"""The two programs: `skycore`, and `skydive` with the words that Skydive's users know."""

from __future__ import annotations

from typing import Any

import click

from skycore import __version__
from skycore.cli import options
from skycore.cli.lazy import Lazy, LazyGroup
from skycore.cli.skydive import PersistentGroup, RoleCommands

_HELP = {"help_option_names": ["-h", "--help"]}
_CLIENT = {
    "query": Lazy("skycore.cli.query:query", "Ask an analyzer or agent a Gremlin query."),
    "path": Lazy("skycore.cli.path.command:path", "Show the way of a packet from one place to another."),
    "shell": Lazy("skycore.cli.shell.command:shell", "Ask one query after the other, with completion and history."),
    "status": Lazy("skycore.cli.status:status", "Show the state of an analyzer or agent."),
    "top": Lazy("skycore.cli.top:top", "Show what carries most."),
    "topology": Lazy("skycore.cli.topology:topology", "Export, import and query the graph."),
    "capture": Lazy("skycore.cli.capture:capture", "Manage captures of packets."),
    "flows": Lazy("skycore.cli.flows:flows", "Show flows as they come, or those of a file."),
    "injection": Lazy("skycore.cli.injection:injection", "Send packets from nodes."),
    "inject-packet": Lazy("skycore.cli.injection:injection", "The same as injection."),
    "pcap": Lazy("skycore.cli.pcap:pcap", "Put the flows of a recording into history."),
    "node": Lazy("skycore.cli.elements:node", "Manage nodes."),
    "edge": Lazy("skycore.cli.elements:edge", "Manage edges."),
    "node-rule": Lazy("skycore.cli.rules:node_rule", "Manage rules that make nodes, or change them."),
    "edge-rule": Lazy("skycore.cli.rules:edge_rule", "Manage rules that make edges."),
    "user-metadata": Lazy("skycore.cli.rules:user_metadata", "Manage values that users give to nodes."),
}
_COMPLETION = Lazy("skycore.cli.completion:completion", "Print what a shell needs to complete this command.")


@click.group(
    cls=LazyGroup,
    context_settings=_HELP,
    lazy={
        "run": Lazy("skycore.role.command:run", "Run an agent, an analyzer, or both in one process."),
        **_CLIENT,
        "plugins": Lazy("skycore.role.command:plugins", "List the installed plugins."),
        "config": Lazy("skycore.cli.config:config", "Look at the configuration."),
        "completion": _COMPLETION,
    },
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def skycore() -> None:
    """See what a network is made of and what flows through it, live and back in time."""


@skycore.command("version")
def _skycore_version() -> None:
    """Print the version."""
    click.echo(f"skycore {__version__}")


@click.group(
    cls=RoleCommands,
    context_settings=_HELP,
    run=Lazy("skycore.role.command:run", ""),
    lazy={
        "completion": _COMPLETION,
        "bash-completion": Lazy("skycore.cli.completion:bash_completion", "Write the same for bash to a file."),
    },
)
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


@skydive.group("client", cls=PersistentGroup, lazy=_CLIENT)
@options.handed_on
def _client(**_handed_on: Any) -> None:
    """Ask an analyzer or agent."""


@click.group("skydive-cli", cls=PersistentGroup, lazy=_CLIENT, context_settings=_HELP)
@click.option("-c", "--conf", multiple=True, hidden=True, expose_value=False)
@options.handed_on
def skydive_cli(**_handed_on: Any) -> None:
    """The commands of `skydive client`, as a program of their own."""


@skydive.command("version")
def _skydive_version() -> None:
    """Print the version."""
    click.echo(f"skydive skycore {__version__}")
