"""Options that several commands share, and how answers are printed."""

from __future__ import annotations

import click
import msgspec

from skycore.errors import ClientError

DEFAULT_ANALYZER = "127.0.0.1:8082"

analyzer = click.option(
    "--analyzer",
    metavar="HOST:PORT",
    envvar="SKYDIVE_ANALYZER",
    default=DEFAULT_ANALYZER,
    show_default=True,
    show_envvar=True,
    help="The analyzer or agent to ask.",
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


def print_json(answer: bytes) -> None:
    """Print JSON indented by two spaces, keys and numbers as the server wrote them.

    Raises ClientError when it is no JSON.
    """
    try:
        click.echo(msgspec.json.format(answer, indent=2))
    except msgspec.DecodeError as error:
        raise ClientError(f"the answer is no JSON ({error}); is this an analyzer or agent?") from error
