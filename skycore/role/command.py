"""The commands that start a process, and list what it could run."""

from __future__ import annotations

from typing import get_args

import attrs
import click

from skycore.cli import options, output
from skycore.config import Address, Config
from skycore.config.values import HostID
from skycore.plugin import discovery
from skycore.role import process, setup


@click.command("run")
@click.option(
    "--role",
    type=click.Choice(["allinone", "agent", "analyzer"]),
    default="allinone",
    show_default=True,
    help="What to run.",
)
@options.conf
@click.option("--listen", metavar="HOST:PORT", help="Where to listen, for the roles agent and analyzer.")
@click.option("--host-id", metavar="NAME", help="Name of this host, unique in the cluster.")
@click.option(
    "--insecure-listen", is_flag=True, help="Listen where others can reach us although nothing protects the API."
)
@click.option("--verbose", is_flag=True, help="Log at the level DEBUG.")
def run(
    role: process.Role,
    conf: tuple[str, ...],
    listen: str | None,
    host_id: str | None,
    insecure_listen: bool,
    verbose: bool,
) -> None:
    """Run an agent, an analyzer, or both in one process, until SIGINT or SIGTERM."""
    made, loaded = setup.read(conf, insecure_listen=insecure_listen)
    config = made.config
    if host_id is not None:
        rule = get_args(HostID)[1]
        if not rule.pattern.fullmatch(host_id):
            raise click.BadParameter(f"expects {rule.expected}", param_hint="--host-id")
        config = attrs.evolve(config, host_id=host_id)
    if listen is not None:
        config = _listening(config, role, listen)
    setup.configure_logging(config, verbose=verbose)
    setup.report_ignored(loaded)
    process.run(role, attrs.evolve(made, config=config))


def _listening(config: Config, role: str, listen: str) -> Config:
    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    if role == "agent":
        return attrs.evolve(config, agent=attrs.evolve(config.agent, listen=address))
    if role == "analyzer":
        return attrs.evolve(config, analyzer=attrs.evolve(config.analyzer, listen=address))
    raise click.BadParameter("allinone listens twice; set agent.listen and analyzer.listen", param_hint="--listen")


@click.command("plugins")
@options.output("table", "json", "yaml")
def plugins(form: str) -> None:
    """List the installed plugins, by kind, with the package that brings each."""
    kinds = (
        ("probe", discovery.PROBES),
        ("flow", discovery.FLOWS),
        ("injector", discovery.INJECTORS),
        ("storage", discovery.STORES),
        ("auth", discovery.AUTH),
    )
    found = [(kind, name, package) for kind, group in kinds for name, package in discovery.installed(group).items()]
    if form == "table":
        output.print_table(["KIND", "NAME", "PACKAGE"], found)
    else:
        keys = ("Kind", "Name", "Package")
        output.print_value([dict(zip(keys, row, strict=True)) for row in found], form)
