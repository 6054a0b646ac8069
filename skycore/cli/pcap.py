"""`skycore pcap`: the flows of a recording become history."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import click

from skycore.cli import options
from skycore.cli.harmless import harmless
from skycore.client import Client

_PIECE: Final = 1 << 17


@click.command("pcap")
@options.asking
@click.option(
    "-t",
    "--trace",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="The recording (pcap or pcapng, of any size); '-' reads standard input.",
)
def pcap(client: Client, trace: str) -> None:
    """Put the flows of a recording into history, with the times of the recording."""
    with click.open_file(trace, "rb") as file:
        size = None if trace == "-" else Path(trace).stat().st_size
        found = client.import_pcap(_shown(file, size))
    click.echo(f"{harmless(trace)} was successfully imported")
    click.echo(
        f"{found.Packets} packets in {found.Flows} flows from {_time(found.Start)} to {_time(found.End)}, "
        f"CaptureID {harmless(found.CaptureID)}"
    )
    left = {"link types that are not understood": found.Unread, "layers that are not understood": found.Ignored}
    for what, count in left.items():
        if count:
            click.echo(f"{count} packets were left out: {what}", err=True)
    if found.Warning:
        click.echo(f"warning: {harmless(found.Warning)}", err=True)


def _shown(file: IO[bytes], size: int | None) -> Iterator[bytes]:
    """The file in pieces; how far it is stands on standard error, when that is a terminal."""
    if size is None or not sys.stderr.isatty():
        while piece := file.read(_PIECE):
            yield piece
        return
    with click.progressbar(length=size, label="importing", file=sys.stderr, show_pos=True) as bar:
        while piece := file.read(_PIECE):
            yield piece
            bar.update(len(piece))


def _time(milliseconds: int) -> str:
    if not milliseconds:
        return "-"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
