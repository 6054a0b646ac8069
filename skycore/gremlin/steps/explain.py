"""``Explain``: how a query is answered, instead of its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import final

import attrs

from skycore.gremlin.operation import EXPLANATION, Execution, Kind, Operation, Stream, Work
from skycore.gremlin.registry import Call, step


@final
class _AfterAnything(Mapping[Kind, Kind]):
    """Every kind, those of plugins too, gives an explanation."""

    def __getitem__(self, kind: Kind) -> Kind:
        return EXPLANATION

    def __iter__(self) -> Iterator[Kind]:
        return iter(("anything",))

    def __len__(self) -> int:
        return 1


@final
@attrs.frozen
class Explained(Operation):
    """Makes the plan tell of itself; it never runs."""

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        return stream
        yield


@step("Explain", parameters="()", gives=_AfterAnything())
def explain(call: Call, kind: Kind) -> Operation:
    """How the query before it was answered: operations, indexes, rows and time, as one object."""
    call.refuse_parameters()
    return Explained()


STEPS = (explain,)
