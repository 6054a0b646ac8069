"""What ovs-ofctl prints of rules and groups, as metadata.

Source: ovs-ofctl(8), "Flow Syntax" and "Group Syntax"; ovs-actions(7).  The shapes (``Filters`` of Key, Value, Mask;
``Actions`` of Function, Arguments, Key) are those that Skydive's clients know from this source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from skydive_probe_ovsdb.errors import BadAnswer

_META: Final = frozenset(
    [
        "duration",
        "n_packets",
        "n_bytes",
        "idle_age",
        "hard_age",
        "idle_timeout",
        "hard_timeout",
        "importance",
        "send_flow_rem",
        "check_overlap",
        "reset_counts",
        "no_packet_counts",
        "no_byte_counts",
        "cookie",
        "table",
        "priority",
        "out_port",
        "out_group",
    ]
)
"""What a rule's line says beside its match."""
_CLOCKS: Final = re.compile(r" (?:duration|n_packets|n_bytes|idle_age|hard_age)=[^ ,]*,?")
_DEEPEST: Final = 32
_OPENING, _CLOSING = "([{", ")]}"


@attrs.frozen
class TextRule:
    """A rule's line.  ``filter`` is its match as printed, without the priority."""

    table: int
    priority: int
    cookie: int
    filter: str
    metadata: dict[str, Any]


def split(text: str, separator: str = ",") -> Iterator[str]:
    """The parts between separators that stand outside of brackets; empty ones are left out."""
    depth = start = 0
    for at, letter in enumerate(text):
        if letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter == separator and depth <= 0:
            if text[start:at].strip():
                yield text[start:at].strip()
            start = at + 1
    if text[start:].strip():
        yield text[start:].strip()


def steady(line: str) -> str:
    """A rule's line without what changes while the rule does not: age and counters."""
    return _CLOCKS.sub("", line).strip()


def rule(line: str) -> TextRule:
    """Read a line of ``dump-flows``, or of ``monitor`` behind its event; raises BadAnswer."""
    before, separator, done = line.strip().partition("actions=")
    if not separator and "=" not in line:
        raise BadAnswer(f"no rule: {line[:100]!r}")
    numbers = {"table": 0, "priority": 32768, "cookie": 0}
    filters: list[str] = []
    meta: list[dict[str, Any]] = []
    for word in before.split():
        for item in split(word):
            name, _, value = item.partition("=")
            if name in numbers:
                numbers[name] = _number(value, line)
            elif name in _META or name in ("event", "reason"):
                if name not in ("event", "reason", "duration", "n_packets", "n_bytes", "idle_age", "hard_age"):
                    meta.append({"Key": name, **({"Value": value} if value else {})})
            else:
                filters.append(item)
    metadata: dict[str, Any] = {
        "Cookie": f"0x{numbers['cookie']:x}",
        "Table": numbers["table"],
        "Priority": numbers["priority"],
        "Filters": [_filter(item) for item in filters],
        "Actions": actions(done),
    }
    if meta:
        metadata["Meta"] = meta
    return TextRule(numbers["table"], numbers["priority"], numbers["cookie"], ",".join(filters), metadata)


def group(line: str) -> tuple[int, dict[str, Any]]:
    """Read a line of ``dump-groups``: the group's ID and its metadata; raises BadAnswer."""
    buckets: list[dict[str, Any]] = []
    meta: list[dict[str, str]] = []
    found: dict[str, Any] = {}
    head, *rest = re.split(r",bucket=", line.strip())
    for item in split(head):
        name, _, value = item.partition("=")
        if name == "group_id":
            found["GroupId"] = _number(value, line)
        elif name == "type":
            found["GroupType"] = value
        else:
            meta.append({"Key": name, "Value": value})
    if "GroupId" not in found:
        raise BadAnswer(f"no group: {line[:100]!r}")
    for index, text in enumerate(rest):
        before, _, done = text.partition("actions=")
        bucket: dict[str, Any] = {"Id": index, "Actions": actions(done)}
        more = []
        for item in split(before):
            name, _, value = item.partition(":")
            if name == "bucket_id":
                bucket["Id"] = _number(value, line)
            else:
                more.append({"Key": name, "Value": value})
        if more:
            bucket["Meta"] = more
        buckets.append(bucket)
    found["Buckets"] = buckets
    if meta:
        found["Meta"] = meta
    return found["GroupId"], found


def actions(text: str) -> list[dict[str, Any]]:
    """``[{Function, Arguments?, Key?}]`` of a list of actions; raises BadAnswer when they are nested too deep."""
    return [_action(item, 0) for item in split(text.strip())]


def _filter(item: str) -> dict[str, Any]:
    name, _, value = item.partition("=")
    value, slash, mask = value.partition("/")
    return {"Key": name, "Value": value, **({"Mask": mask} if slash else {})}


def _argument(text: str, deep: int) -> dict[str, Any] | None:
    return _action(text, deep + 1) if text else None


def _arguments(*texts: str, deep: int) -> list[dict[str, Any] | None]:
    return [_argument(text.strip(), deep) for text in texts]


def _action(text: str, deep: int) -> dict[str, Any]:
    if deep > _DEEPEST:
        raise BadAnswer("actions nested too deep")
    word = re.match(r"[A-Za-z_][A-Za-z0-9_]*", text)
    name, rest = (word[0], text[word.end() :]) if word else ("", text)
    if name and rest.startswith("(") and rest.endswith(")"):
        inner = list(_with_empty(rest[1:-1]))
        if name == "learn":
            return {"Function": name, "Arguments": [_learned(item, deep) for item in inner]}
        return {"Function": name, "Arguments": _arguments(*inner, deep=deep)} if inner else {"Function": name}
    if name and rest.startswith("[") and rest.endswith("]"):
        begin, _, end = rest[1:-1].partition("..")
        parts = [name, *([begin, end or begin] if begin else [])]
        return {"Function": "range", "Arguments": [{"Function": part} for part in parts]}
    if name and rest.startswith(":"):
        return {"Function": name, "Arguments": _colon(name, rest[1:], deep)}
    if name and rest.startswith("=") and deep:
        return {**(_argument(rest[1:], deep) or {"Function": ""}), "Key": name}
    return {"Function": text}


def _with_empty(text: str) -> Iterator[str]:
    """Like ``split``, but an empty part between two separators counts (``resubmit(,2)``)."""
    depth = start = 0
    for at, letter in enumerate(text):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth <= 0:
            yield text[start:at].strip()
            start = at + 1
    if text:
        yield text[start:].strip()


def _colon(name: str, rest: str, deep: int) -> list[dict[str, Any] | None]:
    if name in ("set_field", "load", "move", "reg_load", "reg_move"):
        value, _, target = rest.rpartition("->")
        if name == "set_field":
            value, _, mask = value.partition("/")
            return [{"Function": value}, {"Function": mask} if mask else None, _argument(target, deep)]
        return [_argument(value, deep) if name == "move" else {"Function": value}, _argument(target, deep)]
    if name == "enqueue":
        return [{"Function": part} for part in rest.split(":", 1)]
    return [{"Function": rest}] if name != "output" or "[" not in rest else [_argument(rest, deep)]


_LEARN_WORDS: Final = frozenset(
    [
        "idle_timeout",
        "hard_timeout",
        "priority",
        "cookie",
        "send_flow_rem",
        "delete_learned",
        "table",
        "fin_idle_timeout",
        "fin_hard_timeout",
        "limit",
        "result_dst",
    ]
)


def _learned(item: str, deep: int) -> dict[str, Any] | None:
    name, separator, value = item.partition("=")
    if not separator or name in _LEARN_WORDS:
        return _argument(item, deep)
    return {"Function": "=", "Arguments": [_argument(name, deep), _argument(value, deep)]}


def _number(text: str, line: str) -> int:
    try:
        return int(text.rstrip(","), 0)
    except ValueError as error:
        raise BadAnswer(f"{text!r} is no number in {line[:100]!r}") from error
