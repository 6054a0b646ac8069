"""The typed configuration, made out of a tree that was compared with the schema."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs

from skycore.config.document import Node, PathStep, Where, dotted, find, plain
from skycore.config.schema import Auth, Config, Storage
from skycore.config.structure import Fault, converter, structure
from skycore.config.tree import Kinds, Leaf, Section, child, sections
from skycore.config.values import is_secret_name
from skycore.errors import Problem


class Builder:
    """Makes the typed configuration out of a checked tree."""

    def __init__(self, tree: Node, schema: Section) -> None:
        self._tree = tree
        self._schema = schema
        self._converter = converter()
        self.problems: list[Problem] = []

    def build(self) -> Config:
        """The configuration; where something is wrong (see ``problems``) it has defaults."""
        value: Any = plain(self._tree)
        plugins: dict[str, Any] = {}
        for path, section in sections(self._schema):
            at = value
            for name in path[:-1]:
                at = at.get(name, {})
            plugins[".".join(path)] = self._make(at.pop(path[-1], {}), section.cls, path)
        made: dict[str, dict[str, Any]] = {}
        for name in ("storage", "auth"):
            kinds = self._schema.children[name]
            assert isinstance(kinds, Kinds)
            written = value.pop(name, {})
            # The section named as its kind exists without being written, unless some of its keys must be.
            for kind, section in kinds.kinds.items():
                if kind not in written and not structure(self._converter, {}, section.cls)[1]:
                    written[kind] = {kinds.choice: kind}
            made[name] = {each: self._kind(name, each, kinds, settings) for each, settings in written.items()}
        config = self._make(value, Config, ())
        assert isinstance(config, Config)
        return attrs.evolve(config, plugins=plugins, storage=made["storage"], auth=made["auth"])

    def _kind(self, parent: str, name: str, kinds: Kinds, written: dict[str, Any]) -> Storage | Auth:
        what = written.pop(kinds.choice)
        common = {key: written.pop(key) for key in kinds.common if key in written}
        path = (parent, name)
        settings = self._make(written, kinds.kinds[what].cls, path)
        if parent == "storage":
            return Storage(what, settings)
        auth = self._make({"type": what, **common, "settings": None}, Auth, path)
        assert isinstance(auth, Auth)
        return attrs.evolve(auth, settings=settings)

    def _make(self, value: object, cls: type, path: tuple[str, ...]) -> Any:
        """An instance of the class; without what is wrong, so that the rest can be checked as well."""
        result, faults = structure(self._converter, value, cls)
        if faults:
            self.problems += [self._problem(fault, path) for fault in faults]
            for fault in faults:
                _remove(value, fault.path)
            result, _ = structure(self._converter, value, cls)
        return result

    def _problem(self, fault: Fault, above: tuple[str, ...]) -> Problem:
        path: tuple[PathStep, ...] = (*above, *fault.path)
        entry = find(self._tree, path)
        cut = path
        while entry is None:
            cut = cut[:-1]
            entry = find(self._tree, cut)
        unknown_key = fault.message.startswith("unknown key")
        where = entry.where if unknown_key or cut != path else entry.node.where
        return where.problem(dotted(path), fault.hidden if self._is_secret(path) else fault.message)

    def _is_secret(self, path: Sequence[PathStep]) -> bool:
        item: Any = self._schema
        for step in path:
            if isinstance(step, str) and is_secret_name(step):
                return True
            item = child(item, str(step)) if item is not None else None
            if isinstance(item, Leaf):
                return item.secret
        return False


def _remove(value: Any, path: Sequence[PathStep]) -> None:
    """Take the value at a path out of nested maps; a list goes as a whole."""
    names = list(itertools.takewhile(lambda step: isinstance(step, str), path))
    for name in names[:-1]:
        if not isinstance(value, dict) or name not in value:
            return
        if not isinstance(value[name], dict):
            break
        value = value[name]
    if isinstance(value, dict) and names:
        value.pop(names[-1], None)


def cross_check(config: Config, tree: Node) -> list[Problem]:
    """What only several keys together can tell; ``tree`` is all that was written."""
    problems: list[Problem] = []

    def wrong(key: str, message: str) -> None:
        entry = find(tree, key.split("."))
        where = entry.node.where if entry is not None else Where("")
        problems.append(where.problem(key, message))

    for key, name, known in (
        ("analyzer.topology.backend", config.analyzer.topology.backend, config.storage),
        ("analyzer.flow.backend", config.analyzer.flow.backend, config.storage),
        ("agent.auth.api.backend", config.agent.auth.api.backend, config.auth),
        ("analyzer.auth.api.backend", config.analyzer.auth.api.backend, config.auth),
        ("analyzer.auth.cluster.backend", config.analyzer.auth.cluster.backend, config.auth),
    ):
        section = "storage" if known is config.storage else "auth"
        written = find(tree, [section])
        if name not in known and (written is None or name not in written.node.entries):
            allowed = ", ".join(sorted(known))
            wrong(key, f"there is no section {section}.{name}; expects one of {allowed}, or a section that you add")
    if config.analyzer.peers and not config.analyzer.cluster:
        wrong("analyzer.peers", "needs analyzer.cluster, the name of this cluster")
    for section, first, last in (
        ("agent.flow.pcapsocket", "min_port", "max_port"),
        ("agent.flow.sflow", "port_min", "port_max"),
        ("agent.flow.netflow", "port_min", "port_max"),
    ):
        settings = config.plugins.get(section)
        lowest, highest = getattr(settings, first, None), getattr(settings, last, None)
        if isinstance(lowest, int) and isinstance(highest, int) and lowest > highest:
            key = f"{section}.{last}" if find(tree, f"{section}.{last}".split(".")) else f"{section}.{first}"
            wrong(key, f"expects {first} ({lowest}) to be at most {last} ({highest})")
    return problems
