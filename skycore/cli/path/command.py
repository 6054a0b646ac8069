"""The command: the hops in a table, and where packets between the two ends were seen last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from skycore.cli import options, output
from skycore.cli.path.find import Finder, Hop, Way
from skycore.client import Client
from skycore.errors import ClientError, RequestRefused


@click.command("path")
@click.argument("source")
@click.argument("target")
@options.asking
@click.option("--at", metavar="TIME", help="The way at a moment of the past, as the step At takes it: '-10m', '-1h'.")
@options.output("table", "json", "yaml", default="table")
def path(client: Client, source: str, target: str, at: str | None, form: str) -> None:
    """Show the way of a packet from SOURCE to TARGET, hop by hop.

    Each is an IP address, a name, an ID, or a query that gives one node: interfaces, containers, namespaces, hosts.
    The way leads along links of layer 2, and from router to router by their routing tables.
    """
    moment = f"G.At({json.dumps(at)})" if at else "G"
    way = Finder(lambda query: client.query(moment + query)).find(source, target)
    seen = _seen(client, moment, way)
    if form == "table":
        _print(way, seen)
    else:
        output.print_value(_plain(way, seen), form)
    if way.missing:
        raise ClientError(way.missing)


def _seen(client: Client, moment: str, way: Way) -> Mapping[str, Mapping[str, Any]]:
    """By the TID of each hop the flow between the two ends that was seen there last; nothing without flows."""
    if way.source is None or way.target is None or not any(_captures(hop) for hop in way.hops):
        return {}
    query = f"{moment}.Flows('Network', '{way.source}', 'Network', '{way.target}').Sort(DESC, 'Last')"
    try:
        flows = client.query(query) or []
    except RequestRefused:
        # A process that keeps no flows has no past of them.
        return {}
    latest: dict[str, Mapping[str, Any]] = {}
    for flow in flows:
        latest.setdefault(str(flow.get("NodeTID")), flow)
    return latest


def _print(way: Way, seen: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        [
            str(number),
            ("route → " if hop.routed else "") + str(_of(hop, "Name") or hop.node["ID"]),
            _of(hop, "Type"),
            hop.node.get("Host"),
            " ".join(_list(hop, "IPV4") + _list(hop, "IPV6")),
            _of(hop, "MAC"),
            _of(hop, "MTU"),
            _of(hop, "State"),
            " ".join(_captures(hop)),
            _last(seen.get(str(_of(hop, "TID")))),
        ]
        for number, hop in enumerate(way.hops, 1)
    ]
    headers = ["HOP", "NAME", "TYPE", "HOST", "ADDRESSES", "MAC", "MTU", "STATE", "CAPTURES", "LAST SEEN"]
    output.print_table(headers, rows)


def _plain(way: Way, seen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    hops = [
        {
            "Node": hop.node,
            "Routed": hop.routed,
            "Captures": _captures(hop),
            "Flow": seen.get(str(_of(hop, "TID"))),
        }
        for hop in way.hops
    ]
    source, target = (None if end is None else str(end) for end in (way.source, way.target))
    return {"Source": source, "Target": target, "Missing": way.missing, "Hops": hops}


def _of(hop: Hop, key: str) -> Any:
    return output.path(hop.node, f"Metadata.{key}")


def _list(hop: Hop, key: str) -> list[str]:
    found = _of(hop, key)
    return [str(one) for one in found] if isinstance(found, list) else []


def _captures(hop: Hop) -> list[str]:
    """What is captured there: the captures' names, or their kinds."""
    found = _of(hop, "Captures")
    some: Sequence[Any] = found if isinstance(found, list) else ()
    return [str(one.get("Name") or one.get("Type") or "?") for one in some if isinstance(one, dict)]


def _last(flow: Mapping[str, Any] | None) -> str:
    if flow is None or not isinstance(flow.get("Last"), int):
        return ""
    return datetime.fromtimestamp(flow["Last"] / 1000, UTC).astimezone().isoformat(" ", "seconds")
