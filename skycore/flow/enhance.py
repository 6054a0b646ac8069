"""Flows get what the graph knows of them: where they were captured, whom they are from and to.

Three keys are added to the JSON of a record, each only where it is not there and something is known: ``At``, ``From``
and ``To``.  What the graph says of an end is worked out once for all flows of it, until the graph has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, cast, final

import msgspec
import structlog

from skycore.flow.ends import EndSeen, Processes, describe, node_of_end
from skycore.flow.places import Place, Places
from skycore.graph.graph import Graph

log = structlog.get_logger(__name__)

_ENDS: Final = 100_000
_FRESH: Final = 1.0
"""Seconds after which the graph is looked at again; a burst of changes makes what is known anew once in this time."""

_FOREIGN: Final = "foreign"
_NONE: Final = cast(Any, None)
_encode: Final = msgspec.json.Encoder().encode


class FlowEnhancer(Protocol):
    """Knows more of the ends of flows than the graph tells by itself, as a driver of an SDN does."""

    def describe(self, end: EndSeen) -> Mapping[str, Any]:
        """Keys with JSON values to be added to an end; empty: it knows nothing.

        It is asked once for each end, and again when the graph has changed; it must not wait.  Keys of Skycore's own
        (docs/flows.md#where-from-and-to) stay as they are.
        """
        ...


class _Layer(msgspec.Struct, frozen=True, gc=False):
    A: str = ""
    B: str = ""


class _Transport(msgspec.Struct, frozen=True, gc=False):
    Protocol: str = ""
    A: int = 0
    B: int = 0


class _Flow(msgspec.Struct, gc=False):
    UUID: str
    NodeTID: str = ""
    Link: _Layer = _Layer()
    Network: _Layer = _Layer()
    Transport: _Transport = _NONE
    At: msgspec.Raw = _NONE
    From: msgspec.Raw = _NONE
    To: msgspec.Raw = _NONE


_flow: Final = msgspec.json.Decoder(_Flow).decode


@final
class _End:
    """What is known of an end; its JSON with each process that was found behind it."""

    __slots__ = ("_by_process", "_known", "namespace")

    def __init__(self, known: dict[str, Any], namespace: Place | None) -> None:
        self.namespace = namespace
        self._known = known
        self._by_process = {"": _encode(known) if known else b""}

    def json(self, process: str) -> bytes:
        found = self._by_process.get(process)
        if found is None:
            found = self._by_process[process] = _encode({**self._known, "Process": process})
        return found


@final
class Enhancer:
    """Adds to records what a graph knows; for the event loop, as all that reads the live graph."""

    def __init__(self, graph: Graph, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = Places(graph)
        self._processes = Processes()
        self._enhancers: list[tuple[str, FlowEnhancer]] = []
        self._faults: dict[str, str] = {}
        self._clock = clock
        self._looked = float("-inf")
        self._generation = -1
        self._ends: dict[tuple[str, str, str, str], _End] = {}

    @property
    def faults(self) -> Mapping[str, str]:
        """Why what some plugins know is left out, by plugin."""
        return self._faults

    def use(self, enhancers: Iterable[tuple[str, FlowEnhancer]]) -> None:
        """Ask these, too, by the names of their plugins; the first that has a key gives it."""
        self._enhancers = list(enhancers)
        self._ends.clear()

    async def settle(self) -> None:
        """Catch up with the graph in slices, so that what follows need not do so at one go."""
        if self._is_due():
            await self._places.settle()
            self._forget_what_changed()

    def enhance(self, json: bytes) -> bytes:
        """A record with what is known now; a record that is none comes back as it is."""
        if self._is_due():
            self._places.refresh()
            self._forget_what_changed()
        try:
            flow = _flow(json)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return json
        added = b""
        if flow.At is None:
            found = self._end("At", flow.NodeTID, "", "").json("")
            if found:
                added += b',"At":' + found
        for side, said, turned in (("From", flow.From, False), ("To", flow.To, True)):
            if said is None and (found := self._json(side, flow, turned=turned)):
                added += b',"%b":%b' % (side.encode(), found)
        return json.rstrip()[:-1] + added + b"}" if added else json

    def enhanced(self, records: Sequence[bytes]) -> list[bytes]:
        """All of several records."""
        return [self.enhance(record) for record in records]

    def close(self) -> None:
        self._places.close()

    # ------------------------------------------------------------------ private

    def _is_due(self) -> bool:
        now = self._clock()
        if now - self._looked < _FRESH:
            return False
        self._looked = now
        self._processes.look_again()
        return True

    def _forget_what_changed(self) -> None:
        if self._places.generation != self._generation or len(self._ends) > _ENDS:
            self._generation = self._places.generation
            self._ends.clear()

    def _json(self, side: str, flow: _Flow, *, turned: bool) -> bytes:
        link, network, transport = flow.Link, flow.Network, flow.Transport
        mac, address = (link.B, network.B) if turned else (link.A, network.A)
        end = self._end(side, flow.NodeTID, mac, address)
        namespace = end.namespace
        if namespace is None or transport is None or not address:
            return end.json("")
        revision = self._places.revision(namespace)
        if revision is None:
            return end.json("")
        here, there = (network.A, transport.A), (network.B, transport.B)
        if turned:
            here, there = there, here
        return end.json(self._processes.name(revision, transport.Protocol, here, there))

    def _end(self, side: str, tid: str, mac: str, address: str) -> _End:
        key = side, tid, mac, address
        if address and not self._enhancers and (count := self._places.count(address)) < 2:
            # All that no node has are one end to the graph, and one that a single node has is the same everywhere.
            key = (side, "", "", address) if count else (side, tid, mac, _FOREIGN)
        end = self._ends.get(key)
        if end is None:
            end = self._ends[key] = self._look_up(*key)
        return end

    def _look_up(self, side: str, tid: str, mac: str, address: str) -> _End:
        places = self._places
        at = places.with_tid(tid) if tid else None
        place = at if side == "At" else node_of_end(places, at, mac, address)
        known: dict[str, Any] = {} if place is None else describe(places, place)
        for plugin, enhancer in self._enhancers:
            if plugin not in self._faults:
                revision = None if place is None else places.revision(place)
                metadata = {} if revision is None else revision.metadata()
                seen = EndSeen(side, mac, address, "" if place is None else place.host, metadata)
                known = {**self._asked(plugin, enhancer, seen), **known}
        return _End(known, None if place is None or side == "At" else places.namespace(place))

    def _asked(self, plugin: str, enhancer: FlowEnhancer, end: EndSeen) -> dict[str, Any]:
        """What a plugin knows; one that fails is not asked again."""
        try:
            found = {str(key): value for key, value in enhancer.describe(end).items() if key not in _OURS}
            _encode(found)
        except Exception as error:
            self._faults[plugin] = f"{type(error).__name__}: {error}"
            log.error("what the plugin knows of flows is left out", plugin=plugin, error=self._faults[plugin])
            return {}
        return found


_OURS: Final = frozenset({"Node", "Name", "Type", "Host", "Namespace", "Container", "Pod", "Service", "Process"})
