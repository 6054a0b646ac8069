"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from skycore.cli.access import access_options, access_words

DEFAULT_ANALYZER = "127.0.0.1:8082"

_ANALYZER_HELP = "The analyzer or agent to ask."

analyzer = click.option(
    "--analyzer",
    metavar="HOST:PORT",
    envvar="SKYDIVE_ANALYZER",
    default=DEFAULT_ANALYZER,
    show_default=True,
    show_envvar=True,
    help=_ANALYZER_HELP,
)

timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="The longest to wait for the whole answer.",
)

conf = click.option(
    "-c",
    "--conf",
    multiple=True,
    metavar="FILE",
    help="Configuration file; several are merged in order, later ones win; '-' reads standard input.",
)


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whom to ask, as whom and how long, as one argument ``client``."""

    @functools.wraps(command)
    def with_client(*arguments: Any, analyzer: str, access: Any, timeout: float, **others: Any) -> Any:
        # Imported here because help needs none of it.
        from skycore.client import Client  # noqa: PLC0415

        return command(*arguments, client=Client(analyzer, timeout, access), **others)

    return analyzer(access_options(timeout(with_client)))


def handed_on(group: Callable[..., Any]) -> Callable[..., Any]:
    """The same options for a `PersistentGroup`, which hands them on to its commands."""
    return click.option("--analyzer", metavar="HOST:PORT", help=_ANALYZER_HELP)(access_words(group))


def output(*forms: str, default: str | None = None) -> Callable[..., Any]:
    """The option ``-o``; a list is a table for `skycore`, and JSON for `skydive`, unless ``default`` says otherwise."""
    return click.option(
        "-o",
        "--output",
        "--format",
        "form",
        type=click.Choice(forms),
        default=default or _usual,
        show_default=default or "table; json for skydive",
        help="How to print it.",
    )


def _usual() -> str:
    return "table" if click.get_current_context().find_root().command.name == "skycore" else "json"
