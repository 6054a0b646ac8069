"""Loading: files and environment in, one typed configuration or every problem out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO, TypeAlias, final

import attrs

from skycore.config import environment
from skycore.config.building import Builder, cross_check
from skycore.config.document import MAX_BYTES, Entry, Node, Where, find, mapping, merge, read
from skycore.config.names import Checker, Ignored, fold, rename
from skycore.config.schema import Config
from skycore.config.tree import Kinds, Section, build
from skycore.errors import ConfigurationError, Problem

DEFAULT_FILES = ("/etc/skycore/skycore.yml", "/etc/skydive/skydive.yml")
MOST_PROBLEMS = 200
"""More problems than these are counted, not listed."""

_ENABLING = ("agent.topology", "analyzer.topology", "agent.flow")


@final
@attrs.frozen
class Enabled:
    """The plugins that the configuration names, before anything else of it is checked.

    ``probes`` maps ``agent.topology``, ``analyzer.topology`` and ``agent.flow`` to the words of their list
    ``probes``, as written (with ``-name`` for those left out); ``storage`` and ``auth`` are the drivers and
    types that sections name.
    """

    probes: Mapping[str, tuple[str, ...]]
    storage: tuple[str, ...]
    auth: tuple[str, ...]


PluginSections: TypeAlias = Mapping[str, type] | Callable[[Enabled], Mapping[str, type]]


@final
@attrs.frozen
class Loaded:
    """A configuration, what in it was ``ignored`` and why, and the ``sources`` (files) that it came from."""

    config: Config
    ignored: tuple[Ignored, ...]
    sources: tuple[str, ...]
    _tree: Node = attrs.field(repr=False, eq=False)

    def where(self, key: str) -> Where | None:
        """Where a dotted key was written; None when it has its default."""
        entry = find(self._tree, key.split("."))
        return None if entry is None else entry.where


def load(
    files: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    plugin_sections: PluginSections = MappingProxyType({}),
    *,
    stdin: BinaryIO | None = None,
    left_out: Collection[str] = (),
) -> Loaded:
    """Read the files in order (later ones win, ``-`` is standard input), then the environment.

    Without files, those of ``DEFAULT_FILES`` that exist are read.  ``environ`` is ``os.environ`` by default.
    ``plugin_sections`` maps dotted sections (``agent.topology.docker``, ``storage.elasticsearch``,
    ``auth.basic``) to the settings classes of enabled plugins, or is a function that is told which plugins are
    enabled and returns that map.  What is written in the sections ``left_out`` is not looked at.  Blocks while reading.

    Raises ConfigurationError with every problem found, and ValueError for a plugin whose section lies where no
    section can be.
    """
    problems: list[Problem] = []
    documents, sources = _documents(files, problems, stdin)
    environ = os.environ if environ is None else environ
    # The documents are folded by the core's schema first to learn which plugins are enabled.
    schema = build()
    tree = _assemble(documents, environ, schema, [], [])
    enabled = _enabled(tree, schema)
    if callable(plugin_sections):
        plugin_sections = plugin_sections(enabled)
    ignored: list[Ignored] = []
    if plugin_sections:
        schema = build(plugin_sections)
    tree = _assemble(documents, environ, schema, problems, ignored)
    for section in left_out:
        tree = _without(tree, section.lower().split("."))
    checker = Checker(
        {path: [word.lower().removeprefix("-") for word in words] for path, words in enabled.probes.items()}
    )
    kept = checker.check(tree, schema) or Node({}, tree.where)
    builder = Builder(kept, schema)
    config = builder.build()
    problems += checker.problems + builder.problems + cross_check(config, tree)
    if problems:
        raise ConfigurationError(_ordered(problems, [*sources, "environment"]))
    return Loaded(config, tuple(ignored + checker.ignored), tuple(sources), kept)


def _documents(files: Sequence[str], problems: list[Problem], stdin: BinaryIO | None) -> tuple[list[Node], list[str]]:
    documents: list[Node] = []
    sources: list[str] = []
    wanted = list(files) or [path for path in DEFAULT_FILES if os.path.lexists(path)]
    for path in wanted:
        name = "<stdin>" if path == "-" else path
        if name in sources:
            problems.append(Problem(name, 0, 0, "", "is given twice"))
            continue
        sources.append(name)
        try:
            if path == "-":
                data = (stdin or sys.stdin.buffer).read(MAX_BYTES + 1)
            else:
                with open(path, "rb") as file:
                    data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            problems.append(Problem(name, 0, 0, "", f"cannot be read: {reason}"))
            continue
        document, found = read(data, name)
        problems += found
        if document is not None:
            documents.append(document)
    return documents, sources


def _assemble(
    documents: Sequence[Node],
    environ: Mapping[str, str],
    schema: Section,
    problems: list[Problem],
    ignored: list[Ignored],
) -> Node:
    # A key that must be written and is not belongs into the last file.
    tree = Node({}, Where(documents[-1].where.file if documents else DEFAULT_FILES[0]))
    for document in documents:
        tree = merge(tree, rename(fold(document, schema, problems), ignored))
    return merge(tree, rename(environment.read(environ, schema, tree, problems, ignored), ignored))


def _without(node: Node, path: Sequence[str]) -> Node:
    name, *rest = path
    entry = node.entries.get(name)
    if entry is None:
        return node
    entries = {key: other for key, other in node.entries.items() if rest or key != name}
    if rest:
        entries[name] = Entry(entry.where, _without(entry.node, rest))
    return mapping(entries, node.where)


def _enabled(tree: Node, schema: Section) -> Enabled:
    probes: dict[str, tuple[str, ...]] = {}
    for path in _ENABLING:
        entry = find(tree, [*path.split("."), "probes"])
        words = entry.node.value if entry is not None and isinstance(entry.node.value, list) else []
        probes[path] = tuple(word.value for word in words if isinstance(word.value, str))
    kinds: dict[str, tuple[str, ...]] = {}
    for name in ("storage", "auth"):
        item = schema.children[name]
        entry = find(tree, [name])
        entries = entry.node.entries if entry is not None else {}
        assert isinstance(item, Kinds)
        chosen = {
            str(below.node.entries[item.choice].node.value).lower() if item.choice in below.node.entries else key
            for key, below in entries.items()
        }
        kinds[name] = tuple(sorted(chosen))
    return Enabled(probes, kinds["storage"], kinds["auth"])


def _ordered(problems: Sequence[Problem], sources: Sequence[str]) -> list[Problem]:
    place = {name: index for index, name in enumerate(sources)}
    ordered = sorted(
        dict.fromkeys(problems), key=lambda each: (place.get(each.file, len(place)), each.line, each.column, each.key)
    )
    if len(ordered) > MOST_PROBLEMS:
        more = len(ordered) - MOST_PROBLEMS
        last = ordered[MOST_PROBLEMS - 1]
        ordered = [
            *ordered[:MOST_PROBLEMS],
            Problem(last.file, last.line, last.column, "", f"{more} more problems follow"),
        ]
    return ordered
