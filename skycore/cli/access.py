"""Options that say who asks, and whom to trust."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

_ACCESS: tuple[Callable[[Any], Any], ...] = (
    click.option("--username", envvar="SKYDIVE_USERNAME", show_envvar=True, help="Who asks."),
    click.option(
        "--password",
        envvar="SKYDIVE_PASSWORD",
        show_envvar=True,
        help="The user's password. Others can read it here: use the variable, or be asked for it.",
    ),
    click.option("--cacert", metavar="FILE", help="Authorities that the server's certificate is checked with (PEM)."),
    click.option("--cert", metavar="FILE", help="Certificate to show to a server that asks for one (PEM)."),
    click.option("--key", metavar="FILE", help="Key of --cert (PEM)."),
    click.option("--insecure", is_flag=True, help="Use TLS and take any certificate."),
)


def access_words(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say who asks and whom to trust, one by one, for a group that only hands them on."""
    for option in reversed(_ACCESS):
        command = option(command)
    return command


def access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same options as one argument ``access``; a missing password is asked for on a terminal."""

    @functools.wraps(command)
    def with_access(
        *arguments: Any,
        username: str | None,
        password: str | None,
        cacert: str | None,
        cert: str | None,
        key: str | None,
        insecure: bool,
        **others: Any,
    ) -> Any:
        if username and password is None and sys.stdin.isatty():
            password = click.prompt("Password", hide_input=True, err=True)
        # Imported here because the group of the client's commands, which `--help` loads, has these options, too.
        from skycore.client.access import Access  # noqa: PLC0415

        given = Access(
            username=username or "",
            password=password or "",
            cacert=cacert or "",
            cert=cert or "",
            key=key or "",
            insecure=insecure,
        )
        return command(*arguments, access=given, **others)

    return access_words(with_access)
