"""How answers are printed: as JSON, YAML or a table."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from skycore.cli.harmless import harmless, is_harmful, one_line
from skycore.errors import ClientError

_WIDEST: Final = 60
"""Characters of a cell of a table that goes into a file or pipe; a terminal's are as wide as there is room."""


def print_value(value: Any, form: str) -> None:
    """Print a value of JSON as ``json`` or ``yaml``."""
    if form == "yaml":
        click.echo(yaml_text(value), nl=False)
    else:
        print_json(msgspec.json.encode(value))


def print_json(answer: bytes) -> None:
    """Print JSON indented by two spaces, keys and numbers as the server wrote them.

    Raises ClientError when it is no JSON.
    """
    try:
        click.echo(harmless(msgspec.json.format(answer, indent=2).decode()))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ClientError(f"the answer is no JSON ({error}); is this an analyzer or agent?") from error


def decoded(answer: bytes) -> Any:
    """The value of JSON.  Raises ClientError when it is none."""
    try:
        return msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ClientError(f"the answer is no JSON ({error}); is this an analyzer or agent?") from error


def yaml_text(value: Any) -> str:
    """A value of JSON as YAML."""
    # Imported here because few ask for it.
    import yaml  # noqa: PLC0415

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        # Only double quotes allow for the escapes of what is harmful.
        style = '"' if is_harmful(text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, text)
    written: str = yaml.dump(value, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=120)
    # What is no list and no object would end with a mark of its own.
    return harmless(written.removesuffix("...\n"))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under headers; values that are no text are written as JSON."""
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty() and _print_rich(headers, cells):
        return
    lines = [list(headers), *([_cut(cell) for cell in row] for row in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def path(value: Any, dotted: str) -> Any:
    """The member of nested objects at a dotted path; None when there is none."""
    for key in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    try:
        # Imported here because it is needed by people only, and installed by the extra `cli`.
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout).print(table)
    return True


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return one_line(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…"
