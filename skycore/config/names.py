"""Keys as they were written against the keys that exist: case, old names, unknown ones, ones without effect."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import final

import attrs

from skycore.config import values
from skycore.config.document import Entry, Node, Where, dotted, find, mapping, merge
from skycore.config.tree import Item, Kinds, Leaf, Names, Section, child
from skycore.errors import Problem

RENAMED: Mapping[str, tuple[str, ...]] = {
    "auth.type": ("agent.auth.api.backend", "analyzer.auth.api.backend", "analyzer.auth.cluster.backend"),
    "auth.analyzer_username": ("agent.auth.cluster.username", "analyzer.auth.cluster.username"),
    "auth.analyzer_password": ("agent.auth.cluster.password", "analyzer.auth.cluster.password"),
    "agent.flow.stats_update": ("agent.capture.stats_update",),
    "agent.flow.pcapsocket.port_min": ("agent.flow.pcapsocket.min_port",),
    "agent.flow.pcapsocket.port_max": ("agent.flow.pcapsocket.max_port",),
    "sflow.bind_address": ("agent.flow.sflow.bind_address",),
    "sflow.port_min": ("agent.flow.sflow.port_min",),
    "sflow.port_max": ("agent.flow.sflow.port_max",),
    "docker.url": ("agent.topology.docker.url",),
    "docker.netns.run_path": ("agent.topology.docker.netns.run_path",),
    "netns.run_path": ("agent.topology.netns.run_path",),
    "analyzer.storage.backend": ("analyzer.flow.backend",),
    "analyzer.storage.max_flow_buffer_size": ("analyzer.flow.max_buffer_size",),
    "graph.backend": ("analyzer.topology.backend",),
    "k8s.config_file": ("analyzer.topology.k8s.config_file",),
    "k8s.probes": ("analyzer.topology.k8s.probes",),
}
"""Old names that Skydive's users may still have in their files, with the keys that they set now."""

_NO_EFFECT = "has no effect in this version"
_NO_PLUGIN = "no plugin that is installed and enabled reads this section"


@final
@attrs.frozen
class Ignored:
    """Something in the configuration that was accepted and does nothing (or stands under an old name), and why."""

    key: str
    where: Where
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.reason}" if self.key else f"{self.where}: {self.reason}"


def fold(node: Node, item: Item | None, problems: list[Problem], path: tuple[str, ...] = ()) -> Node:
    """The tree with its keys in lower case, down to the maps whose names are the user's own."""
    if not isinstance(node.value, dict) or isinstance(item, Leaf):
        return node
    entries: dict[str, Entry] = {}
    for written, entry in node.value.items():
        name = written.lower()
        below = fold(entry.node, child(item, name) if item is not None else None, problems, (*path, name))
        if name in entries:
            line = entries[name].where.line
            message = f"the key is already set in line {line} (upper and lower case mean the same)"
            problems.append(entry.where.problem(dotted((*path, name)), message))
        else:
            entries[name] = Entry(entry.where, below)
    return mapping(entries, node.where)


def rename(node: Node, ignored: list[Ignored]) -> Node:
    """The tree with what stands under old names moved to the present ones, which win when both are written."""
    for old, new in RENAMED.items():
        node, entry = _take(node, old.split("."))
        if entry is not None:
            ignored.append(Ignored(old, entry.where, f"is an old name; write {' and '.join(new)}"))
            for path in new:
                present = find(node, path.split("."))
                if present is not None and present.node.value is not None:
                    continue
                moved = entry
                for name in reversed(path.split(".")):
                    moved = Entry(entry.where, mapping({name: moved}, entry.where))
                node = merge(node, moved.node)
    return node


def _take(node: Node, path: list[str]) -> tuple[Node, Entry | None]:
    name, *rest = path
    entry = node.entries.get(name)
    if entry is None:
        return node, None
    others = {key: other for key, other in node.entries.items() if key != name}
    if not rest:
        if isinstance(entry.node.value, dict):
            return node, None
        return mapping(others, node.where), entry
    below, taken = _take(entry.node, rest)
    if taken is None:
        return node, None
    if below.entries:
        entries = {key: Entry(other.where, below) if key == name else other for key, other in node.entries.items()}
        return mapping(entries, node.where), taken
    return mapping(others, node.where), taken


class Checker:
    """Compares a tree with the schema, and keeps what of it can be given to the settings classes.

    ``enabled`` maps a section in which plugins have theirs (``agent.topology``) to the plugins that the
    configuration enables; their sections are accepted also when the plugin is not installed.
    """

    def __init__(self, enabled: Mapping[str, Collection[str]]) -> None:
        self._enabled = enabled
        self.problems: list[Problem] = []
        self.ignored: list[Ignored] = []

    def check(self, node: Node, item: Item, path: tuple[str, ...] = (), *, unread: bool = False) -> Node | None:
        """The tree without unknown keys and without nulls; ``unread`` inside a section that no plugin reads."""
        if node.value is None:
            return None
        if isinstance(item, Leaf):
            if not item.effective and not unread:
                self.ignored.append(Ignored(dotted(path), node.where, _NO_EFFECT))
            return node
        if not isinstance(node.value, dict):
            what = (
                "of names to sections" if isinstance(item, Names | Kinds) else f"with the keys {_list(item.children)}"
            )
            self.problems.append(node.where.problem(dotted(path), f"expects a map {what}, not {kind(node.value)}"))
            return None
        entries: dict[str, Entry] = {}
        for name, entry in node.value.items():
            below = (*path, name)
            if isinstance(item, Section):
                kept = self._known(item, entry, below, unread)
            elif isinstance(item, Names):
                kept = self.check(entry.node, item.section, below, unread=unread)
            else:
                kept = self._one_of(item, node, entry, below)
            if kept is not None:
                entries[name] = Entry(entry.where, kept)
        return mapping(entries, node.where)

    def _known(self, section: Section, entry: Entry, path: tuple[str, ...], unread: bool) -> Node | None:
        name = path[-1]
        item = section.children.get(name)
        if item is None:
            if section.plugin and not section.given:
                return None
            if isinstance(entry.node.value, dict | None) and name in self._enabled.get(dotted(path[:-1]), ()):
                self.ignored.append(Ignored(dotted(path), entry.where, f"the plugin {name} is not installed"))
                return None
            self.problems.append(entry.where.problem(dotted(path), _unknown(name, section)))
            return None
        return self._section(item, entry, path, unread)

    def _section(self, item: Item, entry: Entry, path: tuple[str, ...], unread: bool) -> Node | None:
        if isinstance(item, Section) and item.plugin and not item.given and not unread:
            if entry.node.entries:
                self.ignored.append(Ignored(dotted(path), entry.where, _NO_PLUGIN))
            unread = True
        elif isinstance(item, Section) and item.given:
            unread = False
        return self.check(entry.node, item, path, unread=unread)

    def _one_of(self, kinds: Kinds, parent: Node, entry: Entry, path: tuple[str, ...]) -> Node | None:
        node = entry.node
        if not isinstance(node.value, dict | None):
            message = f"expects a map with the key {kinds.choice}, not {kind(node.value)}"
            self.problems.append(node.where.problem(dotted(path), message))
            return None
        allowed = _list(kinds.kinds)
        chosen = node.entries.get(kinds.choice)
        if chosen is None or chosen.node.value is None:
            if path[-1] not in kinds.kinds:
                message = f"needs the key {kinds.choice}, one of {allowed}"
                self.problems.append(entry.where.problem(dotted(path), message))
                return None
            chosen = Entry(entry.where, Node(path[-1], entry.where, text=path[-1]))
        what = chosen.node.value.lower() if isinstance(chosen.node.value, str) else None
        if what not in kinds.kinds or what is None:
            message = f"expects one of {allowed}, not {kind(chosen.node.value, show=True)}"
            self.problems.append(chosen.node.where.problem(dotted((*path, kinds.choice)), message))
            return None
        chosen = Entry(chosen.where, attrs.evolve(chosen.node, value=what))
        own = mapping({**node.entries, kinds.choice: chosen}, node.where)
        kept = self._section(kinds.exactly(what), Entry(entry.where, own), path, False)
        general = parent.entries.get(what)
        if kept is not None and general is not None and path[-1] != what:
            # A section inherits what is written in the one that is named as its kind.
            silent = Checker(self._enabled).check(general.node, kinds.exactly(what), path, unread=True)
            kept = merge(silent, kept) if silent is not None else kept
        return kept


def kind(value: object, *, show: bool = False) -> str:
    """What a wrong value is, in words; ``show``: with the value itself."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    what = "true or false" if isinstance(value, bool) else "a number" if isinstance(value, int | float) else "a string"
    if not show:
        return what
    shown = str(value).lower() if isinstance(value, bool) else values.hide_credentials(repr(value))
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    return f"the string {shown}" if isinstance(value, str) else shown


def _unknown(name: str, section: Section) -> str:
    message = "unknown key"
    item: Item | None = section
    for step in name.split("."):
        item = child(item, step) if item is not None else None
    close = difflib.get_close_matches(name, section.children, 1) if len(name) <= 64 else []
    if "." in name and item is not None:
        first, rest = name.split(".", 1)
        message += f"; keys are nested: write {first}: and below it, indented, {rest.replace('.', ': ')}"
    elif close:
        message += f"; did you mean {close[0]}?"
    return f"{message} (allowed here: {_list(section.children)})" if section.children else f"{message} (no keys here)"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
