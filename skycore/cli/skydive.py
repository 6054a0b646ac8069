"""What makes `skydive` accept the spellings that Skydive's users have in their scripts."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

import click

from skycore.cli.lazy import Lazy, LazyGroup

_ROLES = {
    "agent": "Run an agent.",
    "analyzer": "Run an analyzer.",
    "allinone": "Run an agent and an analyzer in one process.",
}


class PersistentGroup(LazyGroup):
    """A group whose options may stand before or after its sub-command.

    `skydive -c FILE agent` is `skydive agent -c FILE`.
    An option that a sub-command does not know is not handed on.  Where the whole program takes `-c`, as `skydive`
    does, so do its commands that read no configuration: it changes nothing there.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is None:
            return name, command, rest
        known = {parameter.name: parameter.opts[-1] for parameter in command.params}
        handed_on: list[str] = []
        for parameter in self.params:
            option = known.get(parameter.name)
            if isinstance(parameter, click.Option) and option is not None:
                handed_on += _as_arguments(parameter, option, ctx.params.get(parameter.name or ""))
        return name, command, [*handed_on, *rest]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None or not _takes_conf(ctx.find_root().command) or _takes_conf(command):
            return command
        tolerant = copy.copy(command)
        tolerant.params = [
            *command.params,
            click.Option(["-c", "--conf"], multiple=True, hidden=True, expose_value=False),
        ]
        return tolerant


def _takes_conf(command: click.Command) -> bool:
    return any("--conf" in parameter.opts for parameter in command.params)


class RoleCommands(PersistentGroup):
    """The roles as commands: `skydive agent …` is `skycore run --role agent …`, with the same options."""

    def __init__(self, *args: Any, run: Lazy, lazy: Mapping[str, Lazy] | None = None, **kwargs: Any) -> None:
        roles = {name: run._replace(help=text) for name, text in _ROLES.items()}
        super().__init__(*args, lazy={**roles, **(lazy or {})}, **kwargs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None or cmd_name not in _ROLES:
            return command
        role = copy.copy(command)
        role.name = cmd_name
        role.help = _ROLES[cmd_name]
        role.params = [parameter for parameter in command.params if parameter.name != "role"]
        role.callback = functools.partial(command.callback, role=cmd_name) if command.callback else None
        return role


def _as_arguments(parameter: click.Option, option: str, value: Any) -> list[str]:
    if parameter.is_flag:
        return [option] if value else []
    if parameter.multiple:
        return [word for each in value or () for word in (option, str(each))]
    return [] if value is None else [option, str(value)]
