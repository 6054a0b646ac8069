"""One YAML document, read with the place of every key and value.

The language is YAML 1.2 with its core schema (https://yaml.org/spec/1.2.2/#103-core-schema): ``no``, ``on``
and ``12:30:45`` are strings.  Merge keys (``<<``, https://yaml.org/type/merge.html) are understood because
Skydive's configurations may hold them.  The text is untrusted: size, depth and the number of values, also
those that aliases repeat, are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, final

import attrs
import yaml

from skycore.errors import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_DIGITS = 200

Scalar: TypeAlias = str | int | float | bool | None
PathStep: TypeAlias = str | int

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# https://yaml.org/spec/1.2.2/#51-character-set
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# libyaml counts these as line breaks, as YAML 1.1 did.
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TAG = "tag:yaml.org,2002:"


@final
@attrs.frozen
class Where:
    """A place in a file (line and column from 1; 0: unknown), or a variable of the environment."""

    file: str
    line: int = 0
    column: int = 0
    variable: str = ""

    def __str__(self) -> str:
        if self.variable:
            return f"{self.file}: {self.variable}"
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def problem(self, key: str, message: str) -> Problem:
        """Something is wrong here."""
        if self.variable:
            return Problem(self.file, 0, 0, self.variable, f"{message} (key {key})" if key else message)
        return Problem(self.file, self.line, self.column, key, message)


@final
@attrs.frozen
class Node:
    """A value and its place; ``text`` is a scalar as it was written.  Aliased nodes are shared.

    ``size`` counts the values below, those that aliases repeat included; ``depth`` is 0 for a scalar.
    """

    value: Scalar | list[Node] | dict[str, Entry]
    where: Where
    text: str = ""
    size: int = 1
    depth: int = 0

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries of a map; none for anything else."""
        return self.value if isinstance(self.value, dict) else {}


@final
@attrs.frozen
class Entry:
    """A key of a map: its place and its value."""

    where: Where
    node: Node


def mapping(entries: dict[str, Entry], where: Where) -> Node:
    return Node(
        entries,
        where,
        size=1 + sum(entry.node.size for entry in entries.values()),
        depth=1 + max((entry.node.depth for entry in entries.values()), default=0),
    )


def plain(node: Node) -> object:
    """The value without its places."""
    if isinstance(node.value, dict):
        return {key: plain(entry.node) for key, entry in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def from_plain(value: object, where: Where) -> Node:
    """A value that came without places (JSON in the environment)."""
    if isinstance(value, Mapping):
        return mapping({str(key): Entry(where, from_plain(item, where)) for key, item in value.items()}, where)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Node([from_plain(item, where) for item in value], where)
    assert value is None or isinstance(value, str | int | float)
    return Node(value, where, text=str(value))


def merge(earlier: Node, later: Node) -> Node:
    """Maps are merged deeply; anything else of ``later`` replaces what was there, except null, which says nothing."""
    if later.value is None:
        return earlier
    if not isinstance(earlier.value, dict) or not isinstance(later.value, dict):
        return later
    entries = dict(earlier.value)
    for key, entry in later.value.items():
        before = entries.get(key)
        if before is not None and entry.node.value is None:
            continue
        if before is None:
            entries[key] = entry
        else:
            both_maps = isinstance(before.node.value, dict) and isinstance(entry.node.value, dict)
            entries[key] = Entry(before.where if both_maps else entry.where, merge(before.node, entry.node))
    return mapping(entries, earlier.where)


def find(node: Node, path: Sequence[PathStep]) -> Entry | None:
    """The entry at a path of keys and list positions."""
    entry = Entry(node.where, node)
    for step in path:
        value = entry.node.value
        if isinstance(value, dict) and isinstance(step, str):
            inner = value.get(step) or next((value[name] for name in value if name.lower() == step), None)
            if inner is None:
                return None
            entry = inner
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            entry = Entry(value[step].where, value[step])
        else:
            return None
    return entry


def dotted(path: Sequence[PathStep]) -> str:
    """A path as it is shown: ``agent.metadata_config.files[0].path``; over-long names are cut."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in path).removeprefix(".")


class _Wrong(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def scalar(text: str) -> Scalar:
    """What a plain scalar means in YAML's core schema.  Raises ValueError for a number that is too long."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError("the number is too long")
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def read(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """Read one document; an empty one is an empty map.

    Returns its tree (None when it cannot be read at all), and the problems of reading it.
    """
    try:
        composer = _Composer(_decode(data, file), file)
        return composer.compose(), composer.problems
    except _Wrong as wrong:
        return None, [wrong.problem]


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise _Wrong(Problem(file, 0, 0, "", f"the file is larger than {MAX_BYTES} bytes"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        line, column = _position(before)
        raise _Wrong(Problem(file, line, column, "", "the file is not UTF-8 text")) from None
    bad = _NOT_PRINTABLE.search(text)
    if bad is not None:
        line, column = _position(text[: bad.start()])
        raise _Wrong(Problem(file, line, column, "", f"character U+{ord(bad[0]):04X} is not allowed in YAML"))
    return text


def _position(before: str) -> tuple[int, int]:
    lines = _LINE_BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


@attrs.define
class _Open:
    """A list or map whose end was not read yet."""

    where: Where
    anchor: str | None
    items: list[Node] | None
    entries: dict[str, Entry] = attrs.Factory(dict)
    merges: list[Node] = attrs.Factory(list)
    key: Node | None = None
    merging: bool = False
    size: int = 1
    depth: int = 1


class _Composer:
    """Builds the tree from libyaml's events.

    PyYAML's own composer recurses in C without a bound, so a deep document would kill the process.
    """

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._parser = yaml.CSafeLoader(text)
        self._file = file
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._count = 0
        self._root: Node | None = None
        self.problems: list[Problem] = []

    def compose(self) -> Node:
        try:
            while self._parser.check_event():
                event = self._parser.get_event()
                if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                    raise self._wrong(self._where(event), "a second YAML document begins; one file holds one document")
                if isinstance(event, yaml.NodeEvent):
                    self._node(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self._close()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = ", ".join(part for part in (error.context, error.problem) if part)
            raise _Wrong(Problem(self._file, *self._inside(mark), "", f"wrong YAML: {message}")) from None
        except yaml.YAMLError as error:
            raise _Wrong(Problem(self._file, 0, 0, "", f"wrong YAML: {error}")) from None
        finally:
            self._parser.dispose()
        root = self._root
        if root is None or root.value is None:
            return Node({}, Where(self._file, 1, 1))
        if not isinstance(root.value, dict):
            raise self._wrong(root.where, "the document must be a map of keys to values")
        return root

    def _node(self, event: yaml.NodeEvent) -> None:
        where = self._where(event)
        self._count += 1
        if self._count > MAX_NODES:
            raise self._wrong(where, f"more than {MAX_NODES} values")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._wrong(where, f"the alias *{event.anchor} has no anchor before it")
            known = self._anchors[event.anchor]
            if known is None:
                raise self._wrong(where, f"the alias *{event.anchor} stands inside its own anchor")
            self._add(known)
        elif isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event, where), where, text=event.value)
            if event.anchor:
                self._anchors[event.anchor] = node
            top = self._open[-1] if self._open else None
            at_key = top is not None and top.items is None and top.key is None and not top.merging
            if top is not None and at_key and event.value == "<<" and event.implicit[0]:
                top.merging = True
            else:
                self._add(node)
        elif isinstance(event, yaml.CollectionStartEvent):
            is_list = isinstance(event, yaml.SequenceStartEvent)
            if event.tag not in (None, "!", _TAG + ("seq" if is_list else "map")):
                raise self._wrong(where, f"the tag {event.tag} is not allowed here")
            if len(self._open) >= MAX_DEPTH:
                raise self._wrong(where, f"nested more than {MAX_DEPTH} deep")
            if event.anchor:
                self._anchors[event.anchor] = None
            self._open.append(_Open(where, event.anchor, [] if is_list else None))

    def _scalar(self, event: yaml.ScalarEvent, where: Where) -> Scalar:
        text: str = event.value
        tag = event.tag
        if tag in (_TAG + "str", "!") or (tag is None and not event.implicit[0]):
            return text
        try:
            value = scalar(text)
        except ValueError as error:
            raise self._wrong(where, str(error)) from None
        if tag is None:
            return value
        kinds: dict[str, type | tuple[type, ...]] = {
            "null": type(None),
            "bool": bool,
            "int": int,
            "float": (int, float),
        }
        kind = kinds.get(tag.removeprefix(_TAG))
        if kind is None or not tag.startswith(_TAG):
            raise self._wrong(where, f"the tag {tag} is not allowed here")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._wrong(where, f"the value does not fit its tag {tag}")
        return float(text) if kind == (int, float) and isinstance(value, int) else value

    def _close(self) -> None:
        done = self._open.pop()
        for source in done.merges:
            for key, entry in source.entries.items():
                done.entries.setdefault(key, entry)
        value = done.items if done.items is not None else done.entries
        node = Node(value, done.where, size=done.size, depth=done.depth)
        if done.anchor:
            self._anchors[done.anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        top = self._open[-1]
        top.size += node.size
        top.depth = max(top.depth, node.depth + 1)
        if top.size > MAX_NODES:
            raise self._wrong(top.where, f"more than {MAX_NODES} values, counting what aliases repeat")
        if len(self._open) + node.depth > MAX_DEPTH:
            raise self._wrong(node.where, f"nested more than {MAX_DEPTH} deep")
        if top.items is not None:
            top.items.append(node)
        elif top.merging:
            top.merging = False
            sources = node.value if isinstance(node.value, list) else [node]
            if not all(isinstance(source.value, dict) for source in sources):
                raise self._wrong(node.where, "'<<' takes a map or a list of maps")
            top.merges += sources
        elif top.key is None:
            if isinstance(node.value, list | dict):
                raise self._wrong(node.where, "a key must be a word, not a list or map")
            top.key = node
        else:
            key, top.key = top.key, None
            before = top.entries.get(key.text)
            if before is not None:
                path = dotted([*self._path(), key.text])
                self.problems.append(key.where.problem(path, f"the key is already set in line {before.where.line}"))
            else:
                top.entries[key.text] = Entry(key.where, node)

    def _path(self) -> list[PathStep]:
        """Where the innermost open map stands."""
        return [
            len(place.items) if place.items is not None else place.key.text if place.key is not None else "<<"
            for place in self._open[:-1]
        ]

    def _where(self, event: yaml.Event) -> Where:
        mark = event.start_mark
        return Where(self._file) if mark is None else Where(self._file, mark.line + 1, mark.column + 1)

    def _inside(self, mark: yaml.Mark | None) -> tuple[int, int]:
        """Line and column of a mark; libyaml puts the end of the text one line too far."""
        if mark is None:
            return 0, 0
        lines = _LINE_BREAK.split(self._text)
        if mark.line < len(lines):
            return mark.line + 1, min(mark.column, len(lines[mark.line])) + 1
        return len(lines), len(lines[-1]) + 1

    def _wrong(self, where: Where, message: str) -> _Wrong:
        return _Wrong(where.problem("", message))
