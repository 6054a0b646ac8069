"""``Sockets``: the sockets that the nodes of hosts have in their metadata, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, final

import attrs

from skycore.filter import MISSING, Filter, compile_filter, lookup, metadata_path
from skycore.graph.fields import freeze
from skycore.gremlin.operation import NODES, SOCKETS, VALUES, Execution, Kind, Operation, Stream, Work, chunks
from skycore.gremlin.registry import Call, step
from skycore.gremlin.span import node_values

Socket: TypeAlias = dict[str, Any]


@final
@attrs.frozen
class TakeSockets(Operation):
    """The sockets of each node; over a span the different ones that its revisions have."""

    looks_around: ClassVar[bool] = False

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        pairs: list[tuple[str, list[Socket]]] = []
        for part in chunks((yield from node_values(execution, "Sockets", stream.items))):
            for id, values in part:
                found = [value for value in values if isinstance(value, list)]
                sockets = [one for value in found for one in value if isinstance(one, dict)]
                if len(found) > 1:
                    sockets = list({freeze(one): one for one in sockets}.values())
                if sockets:
                    pairs.append((id, sockets))
            yield
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

    looks_around: ClassVar[bool] = False

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

    looks_around: ClassVar[bool] = False

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
