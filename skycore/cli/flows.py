"""`skycore flows`: flows as they come, or those of a file, a line each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, final

import click
import msgspec

from skycore.cli import options
from skycore.cli.flow_filter import FlowFilter
from skycore.cli.flow_lines import line
from skycore.cli.harmless import harmless
from skycore.client import Client
from skycore.errors import ClientError

if TYPE_CHECKING:
    from skycore.client.flows import FlowEvent

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_flow = msgspec.json.Decoder(dict[str, Any]).decode


class _Rate(click.ParamType[float]):
    """Bits a second: ``2500``, ``10k``, ``1.5M``, ``1G``."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        unit = text[-1:] if text[-1:] in _UNITS and text[-1:] else ""
        try:
            return float(text.removesuffix(unit)) * _UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is no rate; write bits a second as 2500, 10k, 1.5M or 1G", param, ctx)


@click.command("flows")
@click.argument("file", required=False, type=click.File("rb"))
@options.asking
@options.output("table", "json")
@click.option("--ip", "ends", multiple=True, metavar="WHO", help="Either end: an address, network, MAC or name.")
@click.option("--from", "sources", multiple=True, metavar="WHO", help="The end that began.")
@click.option("--to", "targets", multiple=True, metavar="WHO", help="The other end.")
@click.option("--port", "ports", multiple=True, type=click.IntRange(0, 65535), help="A port of either end.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="A layer or application: tcp, dns, vxlan.")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Seen there: TID, name of the interface or host.")
@click.option("--capture", "captures", multiple=True, metavar="UUID", help="Seen by this capture.")
@click.option("--tracking", multiple=True, metavar="ID", help="This conversation, wherever it was seen.")
@click.option(
    "--min-rate", "rate", type=_Rate(), default=0.0, metavar="BITS", help="At least so many bits/s: 10k, 1.5M."
)
@click.option("-n", "--limit", type=click.IntRange(1), metavar="COUNT", help="End after so many flows.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
def flows(client: Client, form: str, file: IO[bytes] | None, limit: int | None, color: str, **wanted: Any) -> None:
    """Show flows as an analyzer stores them, until Ctrl-C: who with whom, how fast, how far away, seen where.

    With FILE ('-': standard input), those of a file that `-o json` has written.  Options that are given several
    times want any of their values; different ones must all be true.
    """
    printer = _Printer(FlowFilter(**wanted).test(), form, limit, {"always": True, "never": False}.get(color))
    if file is not None:
        _read_file(file, printer)
        return
    # Imported here because it brings trio and WebSockets.
    from skycore.cli.interrupt import until_interrupted  # noqa: PLC0415
    from skycore.client.flows import follow_flows  # noqa: PLC0415

    captures = wanted["captures"]
    only = captures[0] if len(captures) == 1 else ""
    try:
        until_interrupted(partial(follow_flows, client.server, partial(_hear, printer), only))
    except _Enough:
        return


class _Enough(ClientError):
    """As many as were wanted are shown."""


@final
class _Printer:
    def __init__(
        self, test: Callable[[dict[str, Any]], bool], form: str, limit: int | None, color: bool | None
    ) -> None:
        self._test = test
        self._form = form
        self._left = limit
        self._color = color

    def show(self, json: bytes) -> None:
        """Print a flow if it is wanted.  Raises _Enough after the last, msgspec.MsgspecError for what is none."""
        flow = _flow(json)
        if not self._test(flow):
            return
        if self._form == "json":
            click.echo(harmless(json.decode()))
        else:
            click.echo(line(flow), color=self._color)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                raise _Enough("")


def _read_file(file: IO[bytes], printer: _Printer) -> None:
    wrong = 0
    for place, json in enumerate(file, 1):
        if not json.strip():
            continue
        try:
            printer.show(json.strip())
        except _Enough:
            return
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            wrong += 1
            if wrong == 1:
                click.echo(harmless(f"line {place} is no flow: {error}"), err=True)
    if wrong:
        raise ClientError(f"{wrong} of the lines are no flows and were left out")


def _hear(printer: _Printer, event: FlowEvent) -> None:
    from skycore.client.flows import Listening, Missed, Stored  # noqa: PLC0415

    match event:
        case Stored(flows):
            for one in flows:
                printer.show(bytes(one))
        case Missed(count):
            click.echo(f"{count} flows were left out: this terminal is too slow for them", err=True)
        case Listening():
            if sys.stderr.isatty():
                click.echo("listening; flows come when a capture's update is stored", err=True)
        case lost:
            click.echo(harmless(f"lost: {lost.reason}; trying again"), err=True)
