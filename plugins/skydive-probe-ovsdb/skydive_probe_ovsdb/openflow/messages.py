"""Rules and groups as the answers of a bridge hold them.

Sources: OpenFlow 1.0 to 1.5, "Individual Flow Statistics", "Group Description", "Flow Monitoring"; for OpenFlow 1.0
the extensions of Open vSwitch's ``openflow/nicira-ext.h`` (NXST_FLOW, NXST_FLOW_MONITOR), whose matches say everything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import attrs

from skydive_probe_ovsdb.errors import BadAnswer
from skydive_probe_ovsdb.openflow import actions, match
from skydive_probe_ovsdb.openflow.wire import EXPERIMENTER_STATS, OF10, OF11, OF12, OF13, OF14, OF15

FLOW: Final = 1
GROUP_DESC: Final = 7
FLOW_MONITOR: Final = 16
_NXST_FLOW: Final = 0
_NXST_FLOW_MONITOR: Final = 2
_ONF: Final = 0x4F4E4600
_ONFST_FLOW_MONITOR: Final = 1870
_ANY: Final = 0xFFFFFFFF
_ALL_GROUPS: Final = 0xFFFFFFFC
_EMPTY_MATCH: Final = struct.pack("!HH4x", 1, 4)
# OpenFlow 1.1, struct ofp_match with everything wild
_WILD_MATCH: Final = struct.pack("!HHII", 0, 88, 0, 0x3FF) + b"\0" * 6 + b"\xff" * 6 + b"\0" * 6 + b"\xff" * 6 + (
    b"\0" * 8 + b"\0" * 4 + b"\xff" * 4 + b"\0" * 4 + b"\xff" * 4 + b"\0" * 12 + b"\0" * 8 + b"\xff" * 8
)  # fmt: skip

FLAGS: Final = ("SendFlowRem", "CheckOverlap", "ResetCounts", "NoPktCounts", "NoBytCounts")


@attrs.frozen(eq=False)
class RawRule:
    """A rule as it lies in an answer: the parts that name it, those that say what it does, and its counters.

    ``match`` and ``doing`` are bytes, so that a rule that has not changed need not be decoded to know it.
    """

    table: int
    priority: int
    match: bytes
    doing: bytes
    cookie: int
    idle: int
    hard: int
    flags: int = 0
    importance: int = 0
    packets: int = -1
    octets: int = -1


@attrs.frozen
class Change:
    """What a flow monitor tells of one rule."""

    deleted: bool
    rule: RawRule


# ---------------------------------------------------------------------- questions


def flow_request(version: int) -> tuple[int, bytes]:
    """Kind and body of the question for all rules."""
    if version == OF10:
        return EXPERIMENTER_STATS, struct.pack("!II4xHHB3x", actions.NICIRA, _NXST_FLOW, 0xFFFF, 0, 0xFF)
    everything = _WILD_MATCH if version == OF11 else _EMPTY_MATCH
    return FLOW, struct.pack("!B3xII4xQQ", 0xFF, _ANY, _ANY, 0, 0) + everything


def monitor_request(version: int) -> tuple[int, bytes]:
    """Kind and body of the request to be told of each change."""
    # Added, deleted and modified rules, with what they do; the initial ones are asked for apart.
    flags = 2 | 4 | 8 | 16
    if version >= OF14:
        return FLOW_MONITOR, struct.pack("!IIIHBB", 1, _ANY, _ANY, flags, 0xFF, 0) + _EMPTY_MATCH
    if version == OF13:
        body = struct.pack("!IHHIB3x", 1, flags, 4, _ANY, 0xFF) + _EMPTY_MATCH
        return EXPERIMENTER_STATS, struct.pack("!II", _ONF, _ONFST_FLOW_MONITOR) + body
    header = struct.pack("!II4x" if version == OF10 else "!II", actions.NICIRA, _NXST_FLOW_MONITOR)
    return EXPERIMENTER_STATS, header + struct.pack("!IHHHB5x", 1, flags, 0xFFFF, 0, 0xFF)


def group_request(version: int) -> tuple[int, bytes] | None:
    """Kind and body of the question for all groups; None in OpenFlow 1.0, which has none."""
    if version == OF10:
        return None
    return GROUP_DESC, struct.pack("!I4x", _ALL_GROUPS) if version >= OF15 else b""


def asynchronous(version: int) -> bytes | None:
    """Body of a set-async message: only requests of others that change groups (OpenFlow 1.4 and later)."""
    if version < OF14:
        return None
    return b"".join(struct.pack("!HHI", kind, 8, 1 if kind >= 10 else 0) for kind in range(12))


# ---------------------------------------------------------------------- answers


def _vendor(kind: int, body: bytes, wanted: int) -> bytes | None:
    """The body behind the vendor's header, when it has this subtype."""
    if kind != EXPERIMENTER_STATS or len(body) < 8:
        return None
    vendor, subtype = struct.unpack_from("!II", body)
    if (vendor, subtype) == (_ONF, wanted):
        return body[8:]
    return body[12:] if (vendor, subtype) == (actions.NICIRA, wanted) else None


def rules_of(version: int, kind: int, body: bytes) -> Iterator[RawRule] | None:
    """The rules in a part of an answer; None when it answers something else.  Iterating raises BadAnswer."""
    if version == OF10:
        inner = _vendor(kind, body, _NXST_FLOW)
        return None if inner is None else _nicira_rules(inner)
    if kind != FLOW:
        return None
    return _described_rules(body) if version >= OF15 else _rules(body, version)


_NX_FLOW: Final = struct.Struct("!HBxIIHHHHHHQQQ")
_OF_FLOW: Final = struct.Struct("!HBxIIHHHHH2xQQQ")
_OF_DESC: Final = struct.Struct("!H2xBxHHHHHQ")


def _entries(body: bytes, least: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(body):
        if at + 2 > len(body):
            raise BadAnswer("an entry without its length")
        (length,) = struct.unpack_from("!H", body, at)
        if length < least or at + length > len(body):
            raise BadAnswer(f"an entry of {length} bytes, which is not there")
        yield at, at + length
        at += length


def _nicira_rules(body: bytes) -> Iterator[RawRule]:
    for at, end in _entries(body, _NX_FLOW.size):
        _, table, _, _, priority, idle, hard, size, _, _, cookie, packets, octets = _NX_FLOW.unpack_from(body, at)
        start = at + _NX_FLOW.size
        after = start + (size + 7) // 8 * 8
        if after > end:
            raise BadAnswer("a rule whose match is longer than the rule")
        yield RawRule(
            table, priority, body[start : start + size], body[after:end], cookie, idle, hard, 0, 0, packets, octets
        )


def _rules(body: bytes, version: int) -> Iterator[RawRule]:
    for at, end in _entries(body, _OF_FLOW.size + 8):
        _, table, _, _, priority, idle, hard, flags, importance, cookie, packets, octets = _OF_FLOW.unpack_from(
            body, at
        )
        start = at + _OF_FLOW.size
        after = start + match.match_size(body[:end], start)
        if version < OF13:
            flags = 0
        shown = importance if version >= OF14 else 0
        yield RawRule(
            table, priority, body[start:after], body[after:end], cookie, idle, hard, flags, shown, packets, octets
        )


def _described_rules(body: bytes) -> Iterator[RawRule]:
    """OpenFlow 1.5: counters are a list of OXS fields (7.2.4), of which packets are number 4 and bytes number 5."""
    for at, end in _entries(body, _OF_DESC.size + 8):
        _, table, priority, idle, hard, flags, importance, cookie = _OF_DESC.unpack_from(body, at)
        start = at + _OF_DESC.size
        after = start + match.match_size(body[:end], start)
        (size,) = struct.unpack_from("!H", body, after + 2) if after + 4 <= end else (0,)
        counters_end = after + (size + 7) // 8 * 8
        if size < 4 or counters_end > end:
            raise BadAnswer("a rule whose counters are longer than the rule")
        packets, octets = _counters(body, after + 4, after + size)
        doing = body[counters_end:end]
        yield RawRule(table, priority, body[start:after], doing, cookie, idle, hard, flags, importance, packets, octets)


def _counters(body: bytes, at: int, end: int) -> tuple[int, int]:
    found = {4: 0, 5: 0}
    while at + 4 <= end:
        _, field, length = struct.unpack_from("!HBB", body, at)
        found[field >> 1] = int.from_bytes(body[at + 4 : min(at + 4 + length, end)], "big")
        at += 4 + length
    return found[4], found[5]


_NX_UPDATE: Final = struct.Struct("!HHHHHHHBxQ")
_OF_UPDATE: Final = struct.Struct("!HHBBHHH4xQ")


def changes_of(version: int, kind: int, body: bytes) -> list[Change] | None:
    """What a flow monitor's message tells; None when it is another message.  Raises BadAnswer.

    In OpenFlow 1.1 and 1.2 the monitor names rules in other words than the answer to ``flow_request`` does; that it
    tells something is all that is taken from it: an empty list.
    """
    if version >= OF14:
        return list(_updates(body)) if kind == FLOW_MONITOR else None
    if version in (OF11, OF12):
        return [] if kind == EXPERIMENTER_STATS else None
    inner = _vendor(kind, body, _NXST_FLOW_MONITOR if version < OF13 else _ONFST_FLOW_MONITOR)
    return None if inner is None else list(_early_updates(inner, version))


def _updates(body: bytes) -> Iterator[Change]:
    for at, end in _entries(body, 4):
        (event,) = struct.unpack_from("!H", body, at + 2)
        # 0 initial, 1 added, 2 removed, 3 modified; the others tell nothing of rules.
        if event > 3:
            continue
        if end - at < _OF_UPDATE.size + 8:
            raise BadAnswer("a change that is cut off")
        _, _, table, _, idle, hard, priority, cookie = _OF_UPDATE.unpack_from(body, at)
        start = at + _OF_UPDATE.size
        after = start + match.match_size(body[:end], start)
        yield Change(event == 2, RawRule(table, priority, body[start:after], body[after:end], cookie, idle, hard))


def _early_updates(body: bytes, version: int) -> Iterator[Change]:
    for at, end in _entries(body, 4):
        (event,) = struct.unpack_from("!H", body, at + 2)
        # 0 added, 1 deleted, 2 modified, 3 abbreviated
        if event > 2:
            continue
        if end - at < _NX_UPDATE.size:
            raise BadAnswer("a change that is cut off")
        _, _, _, priority, idle, hard, size, table, cookie = _NX_UPDATE.unpack_from(body, at)
        start = at + _NX_UPDATE.size
        if version == OF10:
            after = start + (size + 7) // 8 * 8
            raw = body[start : start + size]
        else:
            after = start + match.match_size(body[:end], start)
            raw = body[start:after]
        if after > end:
            raise BadAnswer("a change whose match is longer than the change")
        yield Change(event == 1, RawRule(table, priority, raw, body[after:end], cookie, idle, hard))


# ---------------------------------------------------------------------- meaning


def filters(version: int, rule: RawRule) -> list[dict[str, Any]]:
    """``Filters`` of a rule; raises BadAnswer."""
    try:
        if version == OF10:
            return match.fields(rule.match, 0, len(rule.match))
        return match.match(rule.match)
    except struct.error as error:
        raise BadAnswer("a match that is cut off") from error


def doing(version: int, rule: RawRule) -> dict[str, Any]:
    """``Actions`` and their like; raises BadAnswer."""
    if version == OF10:
        return {"Actions": actions.read(rule.doing, version) or [{"Type": "drop"}]}
    return actions.instructions(rule.doing, version)


def flags(bits: int) -> dict[str, bool]:
    """``Flags`` of a rule."""
    return {name: True for index, name in enumerate(FLAGS) if bits >> index & 1}


_GROUP_TYPES: Final = ("all", "select", "indirect", "ff")


def groups_of(version: int, kind: int, body: bytes) -> dict[int, dict[str, Any]] | None:
    """Group ID → metadata, of a part of an answer; None when it answers something else.  Raises BadAnswer."""
    if kind != GROUP_DESC:
        return None
    found = {}
    try:
        for at, end in _entries(body, 8):
            _, type, id = struct.unpack_from("!HBxI", body, at)
            if version >= OF15:
                (size,) = struct.unpack_from("!H", body, at + 8)
                buckets = list(_buckets15(body, at + 16, min(at + 16 + size, end), version))
            else:
                buckets = list(_buckets(body, at + 8, end, version))
            name = _GROUP_TYPES[type] if type < len(_GROUP_TYPES) else str(type)
            found[id] = {"GroupId": id, "GroupType": name, "Buckets": buckets}
    except struct.error as error:
        raise BadAnswer("a group that is cut off") from error
    return found


def _bucket(length: int, weight: int, port: int, group: int, done: list[Any], id: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"Len": length, "Weight": weight, "Actions": done}
    for name, value in (("WatchPort", port), ("WatchGroup", group)):
        if value != _ANY:
            found[name] = value
    return found if id is None else {"Id": id, **found}


def _buckets(body: bytes, at: int, end: int, version: int) -> Iterator[dict[str, Any]]:
    while at < end:
        length, weight, port, group = struct.unpack_from("!HHII", body, at)
        if length < 16 or at + length > end:
            raise BadAnswer(f"a bucket of {length} bytes, which is not there")
        yield _bucket(length, weight, port, group, actions.read(body[at + 16 : at + length], version))
        at += length


def _buckets15(body: bytes, at: int, end: int, version: int) -> Iterator[dict[str, Any]]:
    while at < end:
        length, size, id = struct.unpack_from("!HHI", body, at)
        if length < 8 or at + length > end or 8 + size > length:
            raise BadAnswer(f"a bucket of {length} bytes, which is not there")
        values = {0: 0, 1: _ANY, 2: _ANY}
        place = at + 8 + size
        while place + 4 <= at + length:
            kind, long = struct.unpack_from("!HH", body, place)
            if long < 4:
                raise BadAnswer("a property of a bucket without length")
            values[kind] = int.from_bytes(body[place + 4 : place + (6 if kind == 0 else 8)], "big")
            place += (long + 7) // 8 * 8
        done = actions.read(body[at + 8 : at + 8 + size], version)
        yield _bucket(length, values[0], values[1], values[2], done, id)
        at += length
