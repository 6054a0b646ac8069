"""From traversal to plan: operations fused where one can do the work of two, and a cache of plans."""

from __future__ import annotations

from collections import OrderedDict
from typing import final

import attrs

from skycore.gremlin import syntax
from skycore.gremlin.moment import Moment
from skycore.gremlin.operation import Operation
from skycore.gremlin.registry import StepRegistry
from skycore.gremlin.steps import core_registry
from skycore.gremlin.steps.context import InThePast
from skycore.gremlin.traversal import Traversal, check


@final
@attrs.frozen
class Plan:
    """What to do for a query: over which graph (``moment`` None: the live one), and the operations in their order."""

    text: str
    moment: Moment | None
    operations: tuple[Operation, ...]


def plan(traversal: Traversal) -> Plan:
    """Fuse the operations of a traversal: ``V().Has(…)`` becomes one look-up, a limit stops the step before it."""
    moment: Moment | None = None
    operations: list[Operation] = []
    for step in traversal.steps:
        if isinstance(step.operation, InThePast):
            moment = step.operation.moment
            continue
        fused = operations[-1].absorb(step.operation) if operations else None
        if fused is None:
            operations.append(step.operation)
        else:
            operations[-1] = fused
    return Plan(traversal.text, moment, tuple(operations))


_LONGEST_KEPT = 4096


@final
class Planner:
    """Makes plans of query texts, and keeps the ``size`` last used ones.

    A query with an error is never kept, nor is a text of more than 4096 characters, whose plan may take megabytes.
    """

    def __init__(self, registry: StepRegistry | None = None, size: int = 512) -> None:
        self.registry = registry or core_registry()
        self._size = size
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    def plan(self, text: str) -> Plan:
        """The plan for a query.  Raises GremlinError when the text is wrong."""
        known = self._plans.get(text)
        if known is not None:
            self._plans.move_to_end(text)
            return known
        made = plan(check(syntax.parse(text, self.registry.names), text, self.registry))
        if len(text) <= _LONGEST_KEPT:
            self._plans[text] = made
        if len(self._plans) > self._size:
            self._plans.popitem(last=False)
        return made
