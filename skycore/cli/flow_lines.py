"""A flow as one line for a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import click

from skycore.cli.flow_filter import Flow, member, number, rates, recent
from skycore.cli.harmless import one_line

_COLOURS: Final = {"TCP": "cyan", "UDP": "green", "SCTP": "magenta", "ICMPV4": "yellow", "ICMPV6": "yellow"}
_ENDINGS: Final = {1: "timeout", 2: "closed", 3: "reset"}
_UNITS: Final = ("", "k", "M", "G", "T")


def line(flow: Flow) -> str:
    """Who with whom, what, how fast, how far away, where it was seen; colours are left out for whom they are no use."""
    last = number(flow, "Last")
    at = datetime.fromtimestamp(last / 1000).strftime("%H:%M:%S") if 0 < last < 1 << 45 else "--:--:--"
    there, back = rates(flow)
    application = str(flow.get("Application") or flow.get("LayersPath") or "?")
    words = [
        click.style(at, dim=True),
        f"{_end(flow, 'A', 'From')} {click.style('→', dim=True)} {_end(flow, 'B', 'To')}",
        click.style(one_line(application), fg=_COLOURS.get(_kind(flow))),
        f"↑ {amount(there)}b/s ↓ {amount(back)}b/s",
        f"{amount(_packets(flow))}p/s",
    ]
    rtt = number(flow, "Metric.RTT")
    if rtt:
        words.append(f"rtt {rtt / 1e6:.3g} ms")
    words.append(click.style(one_line(_place(flow)), fg="blue"))
    ending = flow.get("FinishType")
    if isinstance(ending, int) and ending in _ENDINGS:
        words.append(click.style(_ENDINGS[ending], fg="red" if ending == 3 else None, dim=ending != 3))
    return "  ".join(words)


def amount(value: float) -> str:
    """Three digits and a unit: ``1.23 M``; ends with a space where the unit is to follow."""
    if 0 < value < 0.1:
        return "<0.1 "
    for unit in _UNITS[:-1]:
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} {_UNITS[-1]}"


def _packets(flow: Flow) -> float:
    key = recent(flow)
    seconds = max(1, number(flow, f"{key}.Last") - number(flow, f"{key}.Start")) / 1000
    return (number(flow, f"{key}.ABPackets") + number(flow, f"{key}.BAPackets")) / seconds


def _end(flow: Flow, end: str, who: str) -> str:
    address = member(flow, f"Network.{end}") or member(flow, f"Link.{end}") or "?"
    name = next(
        (found for key in ("Pod", "Container", "Service", "Name") if (found := member(flow, f"{who}.{key}"))), None
    )
    port = member(flow, f"Transport.{end}")
    text = one_line(str(address))
    if port is not None:
        text = f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
    return f"{click.style(one_line(_text(name)), bold=True)} {text}" if name else text


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("Name", ""))
    return str(value)


def _place(flow: Flow) -> str:
    known = flow.get("At")
    name = member(flow, "At.Name") if isinstance(known, Mapping) else None
    host = member(flow, "At.Host") if isinstance(known, Mapping) else None
    return "@".join(str(word) for word in (name or str(flow.get("NodeTID", ""))[:8], host) if word)


def _kind(flow: Flow) -> str:
    if "ICMP" in flow:
        return "ICMPV4"
    return str(member(flow, "Transport.Protocol") or "")
