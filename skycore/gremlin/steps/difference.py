"""``Diff`` and ``Revisions``: what became of elements, with the keys that changed and their values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, final

import attrs
import msgspec

from skycore.graph.element import Revision
from skycore.graph.past import between, since_of
from skycore.graph.view import Difference, Gap, History
from skycore.gremlin.changes import Changes, changes_between
from skycore.gremlin.moment import Moment
from skycore.gremlin.operation import (
    DIFFERENCE,
    EDGES,
    ELEMENT_KINDS,
    GRAPH,
    NODES,
    REVISIONS,
    Execution,
    Kind,
    Operation,
    Stream,
    Work,
    chunks,
)
from skycore.gremlin.registry import Call, step
from skycore.gremlin.result import DifferenceResult, RevisionsResult
from skycore.gremlin.span import by_element
from skycore.gremlin.steps.context import read_moment

_encode = msgspec.json.Encoder().encode
_LIVES_A_QUESTION: Final = 16
_COMPARED_AT_A_TIME: Final = 64


@final
@attrs.frozen
class Compare(Operation):
    """What is different between two moments; of what changed only that in which one of the keys did."""

    start: Moment
    end: Moment
    keys: tuple[str, ...]
    end_offset: int

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        start, end = (moment.resolve(execution.now)[0] for moment in (self.start, self.end))
        if start > end:
            raise execution.error("the second moment of Diff is before the first one", self.end_offset)
        difference, execution.gaps = yield from execution.ask(_difference(start, end))
        execution.hold(len(difference.appeared) + len(difference.vanished) + len(difference.changed))
        changed: list[tuple[Revision, bytes]] = []
        for part in chunks(difference.changed, _COMPARED_AT_A_TIME):
            for one in part:
                changes = changes_between(one.before, one.after, self.keys)
                if changes:
                    changed.append((one.after, _entry({}, one.after, changes)))
            yield
        result = DifferenceResult(start, end, difference.appeared, difference.vanished, changed)
        return Stream(DIFFERENCE, (result,))


def _difference(start: int, end: int) -> Callable[[History], tuple[Difference, tuple[Gap, ...]]]:
    return lambda history: (history.diff(start, end), tuple(history.gaps(start, end)))


@step("Diff", parameters="(moment, moment[, key, …])", gives={GRAPH: DIFFERENCE}, must_be_first=True)
def diff(call: Call, kind: Kind) -> Operation:
    """What appeared, vanished and changed from one moment to a later one; with keys: only what changed in these."""
    arguments = call.arguments
    if len(arguments) < 2:
        raise call.error(f"Diff requires two moments : {call.shown()}")
    keys = tuple(call.text(argument, f"keys should be of string type : {call.shown()}") for argument in arguments[2:])
    return Compare(read_moment(call, arguments[0]), read_moment(call, arguments[1]), keys, arguments[1].offset)


@final
@attrs.frozen
class TakeRevisions(Operation):
    """The revisions of each element, lowest first: of the time asked about, or all; with keys: where these changed."""

    looks_around: ClassVar[bool] = False

    keys: tuple[str, ...]

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind, view = ELEMENT_KINDS[stream.kind], execution.root
        live = execution.span is None
        # What the store does not know yet is at hand before others run.
        asked = yield from by_element(execution.view, stream.items)
        latest = {id: view.get(kind, items[0]) for id, items in asked.items()} if live else dict.fromkeys(asked)
        if live:
            execution.gaps = yield from execution.ask(_all_gaps)
        found: dict[str, list[bytes]] = {}
        held = 0
        for part in chunks(latest, _LIVES_A_QUESTION):
            lives = yield from execution.ask(_lives(part))
            for id in part:
                found[id] = yield from self._entries(lives[id], latest[id], execution.span)
                held += len(found[id])
                execution.hold(held)
        return Stream(REVISIONS, (RevisionsResult({id: one for id, one in found.items() if one}),))

    def _entries(
        self, life: list[Revision], newest: Revision | None, span: tuple[int, int] | None
    ) -> Work[list[bytes]]:
        if newest is not None and (not life or life[-1].revision < newest.revision):
            life = [*life, newest]
        if span is not None:
            # Of a moment: all up to then.
            start, end = span if span[0] < span[1] else (0, span[1])
            wanted = {one.revision for one in between(life, start, end)} if life else set()
        else:
            wanted = {one.revision for one in life}
        entries: list[bytes] = []
        for place, revision in enumerate(life):
            if revision.revision not in wanted:
                continue
            before = life[place - 1] if place else None
            appeared = before is None or before.deleted_at is not None
            changes = None if before is None or appeared else changes_between(before, revision, self.keys)
            if self.keys and changes == {} and revision.deleted_at is None:
                continue
            until = since_of(life[place + 1]) if place + 1 < len(life) else None
            entries.append(_entry({"At": since_of(revision), "Until": until}, revision, changes))
            if place % _COMPARED_AT_A_TIME == _COMPARED_AT_A_TIME - 1:
                yield
        return entries


def _lives(ids: Sequence[str]) -> Callable[[History], Mapping[str, list[Revision]]]:
    return lambda history: {id: history.revisions(id) for id in ids}


def _all_gaps(history: History) -> tuple[Gap, ...]:
    return tuple(history.gaps(0, 1 << 62))


def _entry(before: Mapping[str, Any], revision: Revision, changes: Changes | None) -> bytes:
    """``{…, "Element": …, "Changes": …}``; the element's own bytes are used."""
    fields = b"".join(_encode(name) + b":" + _encode(value) + b"," for name, value in before.items())
    return b"{" + fields + b'"Element":' + revision.json + b',"Changes":' + _encode(changes) + b"}"


@step("Revisions", parameters="([key, …])", gives=dict.fromkeys((NODES, EDGES), REVISIONS))
def revisions(call: Call, kind: Kind) -> Operation:
    """What became of each element, revision by revision, and what changed; with keys: only where these did."""
    keys: Collection[str] = [
        call.text(argument, f"keys should be of string type : {call.shown()}") for argument in call.arguments
    ]
    return TakeRevisions(tuple(keys))


STEPS = (diff, revisions)
