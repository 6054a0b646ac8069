"""``Sockets``: the sockets that the nodes of hosts have in their metadata, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, final

import attrs

from skycore.filter import MISSING, Filter, compile_filter, lookup, metadata_path
from skycore.gremlin.operation import NODES, SOCKETS, VALUES, Execution, Kind, Operation, Stream, Work, chunks, column
from skycore.gremlin.registry import Call, step

Socket: TypeAlias = dict[str, Any]


@final
@attrs.frozen
class TakeSockets(Operation):
    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        nodes = list(dict.fromkeys(stream.items))
        found = yield from column(execution, "node", "Sockets", nodes)
        pairs: list[tuple[str, list[Socket]]] = []
        for id, value in zip(nodes, found, strict=True):
            sockets = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
            if sockets:
                pairs.append((id, sockets))
        return Stream(SOCKETS, pairs)


@step("Sockets", parameters="()", gives={NODES: SOCKETS})
def sockets(call: Call, kind: Kind) -> Operation:
    """The sockets of each node that has some."""
    call.refuse_parameters()
    return TakeSockets()


@final
@attrs.frozen
class NarrowSockets(Operation):
    """Keep the sockets for which a filter holds, and the nodes that still have some."""

    filter: Filter

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        holds = compile_filter(self.filter)
        pairs: list[tuple[str, list[Socket]]] = []
        for part in chunks(stream.items, 16):
            for id, sockets in part:
                kept = [one for one in sockets if holds(_getter(one))]
                if kept:
                    pairs.append((id, kept))
            yield
        return Stream(SOCKETS, pairs)


@final
@attrs.frozen
class ValuesOfSockets(Operation):
    """A field of each socket; all of them must have it."""

    key: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        taken: list[Any] = []
        for _, sockets in stream.items:
            for one in sockets:
                value = _getter(one)(self.key)
                if value is MISSING:
                    raise execution.error("Field not found")
                taken.append(value)
            execution.hold(len(taken))
            yield
        return Stream(VALUES, taken)


def _getter(socket: Socket) -> Callable[[str], Any]:
    return lambda key: lookup(socket, metadata_path(key))


STEPS = (sockets,)
