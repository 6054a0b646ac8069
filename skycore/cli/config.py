"""`skycore config`: look at the configuration without running anything."""

from __future__ import annotations

from collections.abc import Mapping

import click

from skycore.cli import options
from skycore.cli.lazy import LazyGroup, load
from skycore.config import Enabled
from skycore.config import load as load_configuration


@click.group("config", cls=LazyGroup)
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@options.conf
def check(conf: tuple[str, ...]) -> None:
    """Check configuration files, the environment, and the settings of enabled plugins.

    Problems are printed on stderr, one per line, each with file, line, column and key; the exit code is then 2.
    Otherwise what was accepted and has no effect is printed.
    """
    failures: list[str] = []

    def plugin_sections(enabled: Enabled) -> Mapping[str, type]:
        # The command line does not import the roles, which know the plugins; see docs/decisions/0005.
        sections, wrong = load("skycore.role.sections:plugin_sections")(enabled)
        failures.extend(wrong)
        return dict(sections)

    loaded = load_configuration(conf, plugin_sections=plugin_sections)
    for line in (*map(str, loaded.ignored), *failures):
        click.echo(line)
    click.echo(f"ok: {', '.join(loaded.sources) or 'no file, only defaults and the environment'}")
