"""Which flows `skycore flows` shows: each option in any of its values, and all options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, final

import attrs

Flow = Mapping[str, Any]
Network = IPv4Network | IPv6Network
_ENDS = (("A", "From"), ("B", "To"))


def network(text: str) -> Network | None:
    """An address or network; None when it is neither."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


@final
@attrs.frozen(kw_only=True)
class FlowFilter:
    """Empty: no matter.  ``ends``, ``sources``, ``targets`` are addresses, networks or names; ``rate`` is bits/s."""

    ends: Sequence[str] = ()
    sources: Sequence[str] = ()
    targets: Sequence[str] = ()
    ports: Sequence[int] = ()
    protocols: Sequence[str] = ()
    nodes: Sequence[str] = ()
    captures: Sequence[str] = ()
    tracking: Sequence[str] = ()
    rate: float = 0.0

    def test(self) -> Callable[[Flow], bool]:
        """Whether a flow is to be shown."""
        tests: list[Callable[[Flow], bool]] = []
        for wanted, ends in ((self.sources, _ENDS[:1]), (self.targets, _ENDS[1:]), (self.ends, _ENDS)):
            if wanted:
                tests.append(_at_ends([(text, network(text)) for text in wanted], ends))
        if self.ports:
            ports = frozenset(self.ports)
            tests.append(lambda flow: any(member(flow, f"Transport.{end}") in ports for end in "AB"))
        if self.protocols:
            protocols = frozenset(word.casefold() for word in self.protocols)
            tests.append(lambda flow: not protocols.isdisjoint(_protocols(flow)))
        if self.nodes:
            nodes = frozenset(self.nodes)
            tests.append(lambda flow: not nodes.isdisjoint(_places(flow)))
        for key, values in (("CaptureID", self.captures), ("TrackingID", self.tracking)):
            if values:
                tests.append(_is_one_of(key, frozenset(values)))
        if self.rate:
            tests.append(lambda flow: sum(rates(flow)) >= self.rate)
        return lambda flow: all(test(flow) for test in tests)


def member(flow: Flow, dotted: str) -> Any:
    """The member of nested objects at a dotted path; None when there is none."""
    value: Any = flow
    for key in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def number(flow: Flow, dotted: str) -> int:
    """A number, 0 when there is none."""
    found = member(flow, dotted)
    return found if isinstance(found, int) else 0


def recent(flow: Flow) -> str:
    """The key of the counters that say what it did lately: since the last update, or all when it had none yet."""
    return "LastUpdateMetric" if isinstance(flow.get("LastUpdateMetric"), Mapping) else "Metric"


def rates(flow: Flow) -> tuple[float, float]:
    """Bits a second from A to B and back, lately."""
    key = recent(flow)
    seconds = max(1, number(flow, f"{key}.Last") - number(flow, f"{key}.Start")) / 1000
    return number(flow, f"{key}.ABBytes") * 8 / seconds, number(flow, f"{key}.BABytes") * 8 / seconds


def _at_ends(wanted: Sequence[tuple[str, Network | None]], ends: Sequence[tuple[str, str]]) -> Callable[[Flow], bool]:
    names = frozenset(text.casefold() for text, _ in wanted)
    networks = [one for _, one in wanted if one is not None]

    def test(flow: Flow) -> bool:
        for end, who in ends:
            if not names.isdisjoint(_names(flow, end, who)):
                return True
            if networks and _within(member(flow, f"Network.{end}"), networks):
                return True
        return False

    return test


def _names(flow: Flow, end: str, who: str) -> Iterator[str]:
    """How an end may be called: its addresses, and what the analyzer knows of it."""
    for found in (member(flow, f"Network.{end}"), member(flow, f"Link.{end}")):
        if isinstance(found, str):
            yield found.casefold()
    known = flow.get(who)
    for found in known.values() if isinstance(known, Mapping) else ():
        if isinstance(found, str):
            yield found.casefold()


def _within(address: object, networks: Sequence[Network]) -> bool:
    if not isinstance(address, str):
        return False
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in one for one in networks if one.version == found.version)


def _protocols(flow: Flow) -> Iterator[str]:
    for layer in str(flow.get("LayersPath", "")).split("/"):
        yield layer.casefold()
    yield str(flow.get("Application", "")).casefold()
    if "ICMP" in flow:
        yield "icmp"


def _places(flow: Flow) -> Iterator[str]:
    yield str(flow.get("NodeTID", ""))
    known = flow.get("At")
    for found in known.values() if isinstance(known, Mapping) else ():
        if isinstance(found, str):
            yield found


def _is_one_of(key: str, values: frozenset[str]) -> Callable[[Flow], bool]:
    return lambda flow: flow.get(key) in values
