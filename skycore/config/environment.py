"""Configuration from variables of the environment: ``SKYDIVE_AGENT_LISTEN`` sets ``agent.listen``.

A variable's text is read by the type of its key: a list is split at white space (or is a JSON array), a map or
a section is a JSON object.  A variable for a section adds to it, and a variable for one key wins over it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, final

import attrs

from skycore.config import values
from skycore.config.document import MAX_DEPTH, Entry, Node, Where, dotted, find, from_plain, mapping, merge, scalar
from skycore.config.names import RENAMED, Ignored, fold
from skycore.config.tree import Item, Kinds, Leaf, Names, Section, child
from skycore.errors import Problem

PREFIX = "SKYDIVE_"
NOT_KEYS = frozenset(("SKYDIVE_ANALYZER", "SKYDIVE_USERNAME", "SKYDIVE_PASSWORD", "SKYDIVE_PUBLIC_INTERFACES"))
"""Variables of the command-line client, and one that stands for lines of a key (skycore.role.public)."""

_MAX_NAME = 200


@final
@attrs.frozen
class _Candidate:
    path: tuple[str, ...]
    item: Item | None
    free: int | None = None
    """Where in the path the name stands that the user chose, when there is one."""
    type: Any = Any

    @property
    def is_map(self) -> bool:
        return not isinstance(self.item, Leaf | None) or values.members(values.base(self.type)[0]) is not None


def read(
    environ: Mapping[str, str], schema: Section, written: Node, problems: list[Problem], ignored: list[Ignored]
) -> Node:
    """The tree of what the variables say; ``written`` is the tree of the files, whose free names are known."""
    found: list[tuple[tuple[str, ...], str, Node]] = []
    unclear: list[tuple[str, list[_Candidate]]] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or not text.strip() or variable in NOT_KEYS:
            continue
        if not _is_unicode(text):
            problems.append(_where(variable).problem("", "is not UTF-8 text"))
            continue
        candidates = _candidates(variable.removeprefix(PREFIX), text, schema)
        if len(candidates) > 1:
            unclear.append((variable, candidates))
        elif candidates:
            found.append((candidates[0].path, variable, _node(candidates[0], variable, text, problems)))
        else:
            ignored.append(Ignored("", _where(variable), "no configuration key has this name"))
    # What a clear variable names (SKYDIVE_STORAGE_MYES_DRIVER) tells how to read an unclear one.
    known = merge(written, _overlay(found, written))
    for variable, candidates in unclear:
        fitting = [each for each in candidates if _exists(each, known, schema)]
        if len(fitting) == 1:
            text = environ[variable]
            found.append((fitting[0].path, variable, _node(fitting[0], variable, text, problems)))
        else:
            choices = " or ".join(dotted(each.path) for each in candidates[:4])
            ignored.append(Ignored("", _where(variable), f"is ambiguous: {choices}; write it in a file"))
    return _overlay(found, written)


def _overlay(found: list[tuple[tuple[str, ...], str, Node]], written: Node) -> Node:
    tree = Node({}, Where("environment"))
    for path, variable, node in sorted(found, key=lambda each: (len(each[0]), each[1])):
        where = _where(variable)
        nested = node
        for name in reversed(_spelled(path, written)):
            nested = mapping({name: Entry(where, nested)}, where)
        tree = merge(tree, nested)
    return tree


def _spelled(path: tuple[str, ...], written: Node) -> tuple[str, ...]:
    """The path with its names as the files spell them: a variable has no case, and '_' for '-' and '.'."""
    spelled: tuple[str, ...] = ()
    for name in path:
        entry = find(written, spelled)
        there = entry.node.entries if entry is not None else {}
        spelled = (*spelled, next((other for other in there if _variable(other) == _variable(name)), name))
    return spelled


def _variable(name: str) -> str:
    return re.sub("[.-]", "_", name).upper()


def _where(variable: str) -> Where:
    return Where("environment", variable=variable)


def _exists(candidate: _Candidate, known: Node, schema: Section) -> bool:
    if candidate.free is None:
        return False
    above, chosen = candidate.path[: candidate.free], candidate.path[candidate.free]
    item: Item | None = schema
    for name in above:
        item = child(item, name) if item is not None else None
    if isinstance(item, Kinds) and chosen in item.kinds:
        return True
    entry = find(known, above)
    there = entry.node.entries if entry is not None else {}
    return _variable(chosen) in map(_variable, there)


def _candidates(name: str, text: str, schema: Section) -> list[_Candidate]:
    """What the variable may mean: fixed keys before free names, and maps only when it holds a JSON object."""
    for old in RENAMED:
        if _variable(old) == name:
            item: Item | None = schema
            for step in RENAMED[old][0].split("."):
                item = child(item, step) if item is not None else None
            return [_Candidate(tuple(old.split(".")), item, type=item.type if isinstance(item, Leaf) else Any)]
    every = list(_match(schema, name, ())) if 0 < len(name) <= _MAX_NAME else []
    fixed = [each for each in every if each.free is None]
    is_map = text.lstrip().startswith("{")
    return fixed or [each for each in every if each.is_map == is_map]


def _match(item: Item, rest: str, path: tuple[str, ...], free: int | None = None) -> Iterator[_Candidate]:
    if not rest:
        yield _Candidate(path, item, free, item.type if isinstance(item, Leaf) else Any)
    elif isinstance(item, Section):
        for name, below in item.children.items():
            variable = _variable(name)
            if rest == variable or rest.startswith(variable + "_"):
                yield from _match(below, rest[len(variable) + 1 :], (*path, name), free)
    elif isinstance(item, Names | Kinds):
        below_any = child(item, "")
        ends = [at for at, char in enumerate(rest) if char == "_" and at] + [len(rest)]
        for end in ends:
            name = rest[:end].lower()
            if below_any is not None:
                yield from _match(below_any, rest[end + 1 :], (*path, name), len(path))
    else:
        pair = values.members(values.base(item.type)[0])
        if pair is not None:
            yield _Candidate((*path, rest.lower()), None, len(path), pair[1])


def _node(candidate: _Candidate, variable: str, text: str, problems: list[Problem]) -> Node:
    where = _where(variable)
    item = candidate.item
    if candidate.is_map:
        value = _json(text)
        if not isinstance(value, dict):
            problems.append(where.problem(dotted(candidate.path), "expects a JSON object"))
            return Node(None, where)
        return fold(from_plain(value, where), item, problems, candidate.path)
    return from_plain(_value(candidate.type, text), where)


def _value(type_: Any, text: str) -> Any:
    plain, _ = values.base(type_)
    member = values.element(plain)
    if member is not None:
        if text.lstrip().startswith("["):
            value = _json(text)
            if isinstance(value, list):
                return value
        return [_value(member, word) for word in text.split()]
    if plain in (int, float, bool):
        text = text.strip()
        if plain is bool and text in ("0", "1"):
            return text == "1"
        try:
            return scalar(text)
        except ValueError:
            return text
    return text


def _is_unicode(text: str) -> bool:
    """Whether the variable was UTF-8; Python keeps other bytes as lone surrogates (PEP 383)."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _json(text: str) -> Any:
    """The value of a JSON text; None when it is none, or nested too deep."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        if _depth(value) > MAX_DEPTH:
            return None
        # Raises UnicodeEncodeError, a ValueError, for half of a surrogate pair, which no JSON that we write can hold.
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _depth(value: object) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + max(map(_depth, below), default=0)
