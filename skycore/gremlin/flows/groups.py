"""``Group`` and ``MoreThan``: flows that belong together."""

from __future__ import annotations

from typing import Any, ClassVar, Final, final

import attrs
import msgspec

from skycore.filter import MISSING
from skycore.flow.evaluation import decode
from skycore.flow.fields import canonical_key, value
from skycore.gremlin.operation import FLOWS, GROUPS, Execution, Kind, Operation, Stream, Work, chunks
from skycore.gremlin.registry import Call, StepDefinition, step
from skycore.gremlin.syntax import Literal

_AT_A_TIME: Final = 256
_DEFAULT_KEY: Final = "TrackingID"


@final
@attrs.frozen
class GroupFlows(Operation):
    """The flows by the text of a field's value; flows without it are left out."""

    looks_around: ClassVar[bool] = False

    key: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        groups: dict[str, list[msgspec.Raw]] = {}
        for part in chunks(stream.items, _AT_A_TIME):
            for json in part:
                found = value(decode(json), self.key)
                if found is not MISSING:
                    groups.setdefault(_text(found), []).append(msgspec.Raw(json))
            yield
        return Stream(GROUPS, list(groups.items()))


def _text(found: Any) -> str:
    return found if isinstance(found, str) else msgspec.json.encode(found, order="deterministic").decode()


@step("Group", parameters="([key])", gives={FLOWS: GROUPS})
def group(call: Call, kind: Kind) -> Operation:
    """The flows by the value of a key (`TrackingID`): one object with a list for each."""
    key = call.one_text(f"Group accepts one key : {call.shown()}") if call.arguments else _DEFAULT_KEY
    return GroupFlows(canonical_key(key))


@final
@attrs.frozen
class LargeGroups(Operation):
    """Keep the groups with more than so many flows."""

    looks_around: ClassVar[bool] = False

    number: int

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        return Stream(GROUPS, [(key, flows) for key, flows in stream.items if len(flows) > self.number])
        yield


@step("MoreThan", parameters="([n])", gives={GROUPS: GROUPS})
def more_than(call: Call, kind: Kind) -> Operation:
    """Keeps the groups with more than n (1) flows."""
    if len(call.arguments) > 1:
        raise call.error(f"MoreThan accepts at most one parameter : {call.shown()}", call.arguments[1])
    number = 1
    if call.arguments:
        argument = call.arguments[0]
        given = argument.value if isinstance(argument, Literal) else None
        if not isinstance(given, int) or isinstance(given, bool) or given < 0:
            raise call.error(f"MoreThan parameter has to be a number, 0 or more : {call.shown()}", argument)
        number = given
    return LargeGroups(number)


STEPS: tuple[StepDefinition, ...] = (group, more_than)
