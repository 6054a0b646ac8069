"""From traversal to plan: operations fused where one can do the work of two, and a cache of plans."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import final

import attrs

from skycore.gremlin import syntax
from skycore.gremlin.moment import Moment
from skycore.gremlin.operation import NODES, Operation
from skycore.gremlin.registry import StepRegistry
from skycore.gremlin.steps import core_registry
from skycore.gremlin.steps.context import InThePast
from skycore.gremlin.steps.explain import Explained
from skycore.gremlin.steps.sources import CountSource, Source
from skycore.gremlin.syntax import write_step
from skycore.gremlin.traversal import Traversal, check


@final
@attrs.frozen
class Planned:
    """One operation of a plan, and the steps of the query that it does: their text, and where the first one stands."""

    operation: Operation
    text: str
    offset: int


@final
@attrs.frozen
class Plan:
    """What to do for a query: over which graph (``moment`` None: the live one), and the operations in their order.

    ``moment_offset`` is where the query names the moment.

    ``explain``: the answer is how the query was answered.
    """

    text: str
    moment: Moment | None
    planned: tuple[Planned, ...]
    explain: bool = False
    moment_offset: int = 0

    single: Operation | None = attrs.field(init=False)
    """The only operation, of a query about the present that has but one."""

    @single.default
    def _single(self) -> Operation | None:
        alone = len(self.planned) == 1 and self.moment is None and not self.explain
        return self.planned[0].operation if alone else None

    @property
    def only_node(self) -> str | None:
        """The one node that all is about, None when others may be looked at."""
        if not self.planned or any(one.operation.looks_around for one in self.planned):
            return None
        first = self.planned[0].operation
        source = first.source if isinstance(first, CountSource) else first
        return source.id if isinstance(source, Source) and source.kind == NODES else None

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(one.operation for one in self.planned)


def plan(traversal: Traversal) -> Plan:
    """Make a plan: two operations become one where that can do the work of both.

    ``V().Has(…)`` becomes one look-up, a limit stops the step before it, ``Sort(…).Limit(n)`` keeps no more than n.
    Where only the first of equal elements matters (``Dedup``), the moves before leave out repetitions, too; where
    only the number matters (``Count``), nobody sorts.
    """
    moment: Moment | None = None
    span = explain = False
    moment_offset = 0
    planned: list[Planned] = []
    for step in traversal.steps:
        if isinstance(step.operation, InThePast):
            moment = step.operation.moment
            span, moment_offset = moment.duration != 0, step.call.step.offset
            continue
        if isinstance(step.operation, Explained):
            explain = True
            continue
        text = write_step(step.call.step)
        fused: Operation | None = None
        if planned:
            before = planned[-1].operation
            fused = (before.absorb_in_span if span else before.absorb)(step.operation)
        if fused is None:
            planned.append(Planned(step.operation, text, step.call.step.offset))
        else:
            planned[-1] = attrs.evolve(planned[-1], operation=fused, text=f"{planned[-1].text}.{text}")
    _tell_back(planned, lambda one: one.ignores_repetitions, lambda one: one.without_repetitions())
    if not span:
        # There the order decides which of an element's revisions is the first.
        _tell_back(planned, lambda one: one.ignores_order, lambda one: one.in_any_order())
    return Plan(traversal.text, moment, tuple(planned), explain, moment_offset)


def _tell_back(
    planned: list[Planned], ignores: Callable[[Operation], bool], change: Callable[[Operation], Operation | None]
) -> None:
    """Tell each operation, from the last to the first, what those after it do not care about."""
    wanted = False
    for index in reversed(range(len(planned))):
        one = planned[index]
        changed = change(one.operation) if wanted else None
        if changed is not None:
            planned[index] = attrs.evolve(one, operation=changed)
        wanted = changed is not None or ignores(one.operation)


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

    def use(self, registry: StepRegistry) -> None:
        """Go on with other steps."""
        self.registry = registry
        self._plans.clear()

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
