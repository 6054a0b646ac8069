"""`skycore completion`: what a shell needs to complete our commands."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


def script(program: click.Command, name: str, shell: str) -> str:
    """What the shell reads to complete the program of this name."""
    made = get_completion_class(shell)
    assert made is not None
    return made(program, {}, name, f"_{name.upper()}_COMPLETE").source()


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what SHELL needs to complete this command.

    For this shell only: source <(skycore completion bash)
    """
    program = click.get_current_context().find_root().command
    click.echo(script(program, program.name or "skycore", shell))


@click.command("bash-completion")
def bash_completion() -> None:
    """Write skydive-bash-completion.sh to the current folder."""
    program = click.get_current_context().find_root().command
    Path("skydive-bash-completion.sh").write_text(script(program, "skydive", "bash"))
