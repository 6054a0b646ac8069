"""`skycore top`: what carries most, now or in a time: interfaces, flows, and who talks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import click

from skycore.cli import options, output
from skycore.client import Client
from skycore.client.calls import Call
from skycore.errors import ClientError

_NOW: Final = ("interface", "flow")
_THEN: Final = ("address", "pair", "application", "node")
_OLD_MS: Final = 300_000
"""A counter that was read longer ago says nothing about now."""
_CANDIDATES: Final = 20
"""So many times more are asked for by one direction, to find those that are largest by both."""
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(?:\d+(?:ms|s|m|h|d))+")


@click.command("top")
@options.asking
@click.option(
    "--by",
    type=click.Choice((*_NOW, *_THEN)),
    default="interface",
    show_default=True,
    help="What is compared: interfaces and flows by their rate now, the others by all that they sent since --since.",
)
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="How far back, such as 90s, 10m, 1h30m.")
@click.option("--measure", type=click.Choice(("bytes", "packets")), default="bytes", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@click.option("--node", metavar="TID", help="Only what was seen at this node.")
@options.output("table", "json", "yaml", default="table")
def top(client: Client, by: str, since: str, measure: str, limit: int, node: str | None, form: str) -> None:
    """Show what carries most.

    Rates are those of the last update: of interfaces as often as `agent.topology.netlink.metrics_update` says, of flows
    as `flow.update` does. Sums are of whole minutes, by the place that saw the most.
    """
    if by == "interface":
        found = _interfaces(client, measure, limit, node)
    elif by == "flow":
        found = _flows(client, measure, limit, node)
    else:
        found = _talkers(client, by, _milliseconds(since), measure, limit, node)
    if form == "table":
        output.print_table(list(found[0]) if found else ["NOTHING"], [list(row.values()) for row in found])
    else:
        output.print_value(found, form)


def _interfaces(client: Client, measure: str, limit: int, node: str | None) -> list[dict[str, Any]]:
    word = "Bytes" if measure == "bytes" else "Packets"
    only = "" if node is None else f".Has('TID', {json.dumps(node)})"
    nodes_of = f"G.V(){only}.HasKey('LastUpdateMetric')"
    asked = [
        client.query(f"{nodes_of}.Sort(DESC, 'LastUpdateMetric.{way}{word}').Limit({limit * _CANDIDATES})")
        for way in ("Rx", "Tx")
    ]
    nodes = {one["ID"]: one for answer in asked for one in answer or ()}
    rows = (
        {
            "INTERFACE": output.path(one, "Metadata.Name"),
            "TYPE": output.path(one, "Metadata.Type"),
            "HOST": one.get("Host"),
            **_rates(output.path(one, "Metadata.LastUpdateMetric"), {"RX": f"Rx{word}", "TX": f"Tx{word}"}, measure),
        }
        for one in nodes.values()
    )
    return _largest(rows, ("RX", "TX"), measure, limit)


def _flows(client: Client, measure: str, limit: int, node: str | None) -> list[dict[str, Any]]:
    word = "Bytes" if measure == "bytes" else "Packets"
    only = "" if node is None else f"'NodeTID', {json.dumps(node)}"
    asked = [
        client.query(f"G.Flows({only}).Sort(DESC, 'LastUpdateMetric.{way}{word}').Limit({limit * _CANDIDATES})")
        for way in ("AB", "BA")
    ]
    # A conversation that is seen at many places is one.
    flows: dict[str, Mapping[str, Any]] = {}
    for one in (flow for answer in asked for flow in answer or ()):
        flows.setdefault(one.get("CommunityID") or one["TrackingID"], one)
    rows = (
        {
            "APPLICATION": one.get("Application"),
            "A": _end(one, "A"),
            "B": _end(one, "B"),
            **_rates(one.get("LastUpdateMetric"), {"AB": f"AB{word}", "BA": f"BA{word}"}, measure),
            "SEEN AT": output.path(one, "At.Name") or one.get("NodeTID"),
        }
        for one in flows.values()
    )
    return _largest(rows, ("AB", "BA"), measure, limit)


def _talkers(client: Client, by: str, since: int, measure: str, limit: int, node: str | None) -> list[dict[str, Any]]:
    now = time.time_ns() // 1_000_000
    asked = {"start": now - since, "end": now, "by": by, "measure": measure, "limit": limit, "node": node or ""}
    call = Call("GET", f"/api/flows/top?{urlencode(asked)}", json.loads)
    found: dict[str, Any] = client.run(call)
    names = _names(client, [one["A"] for one in found["Talkers"]] if by == "node" else [])
    word = measure.capitalize()
    return [
        {
            by.upper(): names.get(one["A"], one["A"]),
            **({"WITH": one["B"]} if by == "pair" else {}),
            "SENT": one[f"AB{word}"],
            "GOT": one[f"BA{word}"],
            "SHARE": _share(one[f"AB{word}"] + one[f"BA{word}"], found["Total"]),
        }
        for one in found["Talkers"]
    ]


def _names(client: Client, tids: list[str]) -> dict[str, str]:
    if not tids:
        return {}
    wanted = ", ".join(json.dumps(tid) for tid in tids)
    nodes = client.query(f"G.V().Has('TID', Within({wanted}))") or []
    return {output.path(one, "Metadata.TID"): f"{output.path(one, 'Metadata.Name')} @ {one['Host']}" for one in nodes}


def _rates(metric: Any, counters: Mapping[str, str], measure: str) -> dict[str, float]:
    """Bits or packets a second of a last update, 0 where there is none or it is old."""
    metric = metric if isinstance(metric, dict) else {}
    start, last = metric.get("Start", 0), metric.get("Last", 0)
    if last <= start or time.time() * 1000 - last > _OLD_MS:
        return dict.fromkeys(counters, 0.0)
    factor = (8 if measure == "bytes" else 1) * 1000 / (last - start)
    return {name: round(metric.get(counter, 0) * factor, 1) for name, counter in counters.items()}


def _largest(rows: Iterable[dict[str, Any]], keys: tuple[str, str], measure: str, limit: int) -> list[dict[str, Any]]:
    unit = "bit/s" if measure == "bytes" else "packets/s"
    busy = sorted((row for row in rows if row[keys[0]] + row[keys[1]]), key=lambda row: -(row[keys[0]] + row[keys[1]]))[
        :limit
    ]
    return [{f"{key} {unit}" if key in keys else key: value for key, value in row.items()} for row in busy]


def _end(flow: Mapping[str, Any], side: str) -> str:
    address = output.path(flow, f"Network.{side}") or output.path(flow, f"Link.{side}") or ""
    port = output.path(flow, f"Transport.{side}")
    return str(address) if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _milliseconds(text: str) -> int:
    if not _DURATION.fullmatch(text):
        raise ClientError(f"--since {text}: a time is written as 90s, 10m or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h|d)", text))
