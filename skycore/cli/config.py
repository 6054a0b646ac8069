"""`skycore config`: look at the configuration without running anything."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import click

from skycore.cli import options, output
from skycore.cli.harmless import harmless
from skycore.cli.lazy import LazyGroup, load
from skycore.config import Enabled
from skycore.config import load as load_configuration


@click.group("config", cls=LazyGroup)
def config() -> None:
    """Look at the configuration."""


@config.command("password")
@click.argument("user")
def password(user: str) -> None:
    """Print a line for an htpasswd file (key auth.<basic>.file): USER and the argon2 hash of a password.

    The password is asked for; without a terminal it is two equal lines of standard input.
    """
    if not user or ":" in user or not user.isprintable():
        raise click.BadParameter("a name has no colon and no control characters", param_hint="USER")
    # On stderr, as the line itself goes into a file.
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    click.echo(f"{user}:{load('skycore.server.auth.htpasswd:make')(password)}")


@config.command("check")
@options.conf
def check(conf: tuple[str, ...]) -> None:
    """Check configuration files, the environment, the settings of enabled plugins, and the files with passwords,
    certificates and the cluster token.

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
    load("skycore.role.access:check")(loaded)
    for line in (*map(str, loaded.ignored), *failures):
        click.echo(harmless(line))
    click.echo(f"ok: {', '.join(loaded.sources) or 'no file, only defaults and the environment'}")


@config.command("schema")
@options.conf
@options.output("table", "json", "yaml", default="table")
def schema(conf: tuple[str, ...], form: str) -> None:
    """List all keys: type, default, meaning, and whether they have an effect in this version.

    Those of plugins are listed when the configuration enables the plugin.
    """
    enabled: dict[str, type] = {}

    def plugin_sections(these: Enabled) -> Mapping[str, type]:
        sections, wrong = load("skycore.role.sections:plugin_sections")(these)
        for line in wrong:
            click.echo(harmless(line), err=True)
        enabled.update(sections)
        return enabled

    load_configuration(conf, plugin_sections=plugin_sections)
    keys = load("skycore.config.reference:describe")(enabled)
    if form != "table":
        return output.print_value([attrs.asdict(key) for key in keys], form)
    rows = ([key.key, key.type, key.default, "yes" if key.effective else "not yet", key.doc] for key in keys)
    return output.print_table(["KEY", "TYPE", "DEFAULT", "EFFECT", "MEANING"], rows)
