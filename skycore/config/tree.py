"""The schema as a tree of sections and keys, built from the settings classes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias, final

import attrs

from skycore.config import values
from skycore.config.address import Address
from skycore.config.schema import Config, Peer
from skycore.config.sections import AUTH, SECTIONS, STORAGE


@final
@attrs.frozen
class Leaf:
    """One key.  ``default`` is as attrs has it: a value, a factory, or NOTHING when the key must be written."""

    type: Any
    default: Any
    default_text: str | None
    doc: str
    effective: bool
    secret: bool


@final
@attrs.frozen
class Section:
    """A map with known keys.

    ``plugin`` says that it belongs to a plugin, ``given`` that this plugin's own class is used; then all of its
    keys have an effect.
    """

    cls: type
    children: Mapping[str, Item]
    plugin: bool = False
    given: bool = False


@final
@attrs.frozen
class Names:
    """A map of free names to sections of one kind (``analyzer.peers``)."""

    section: Section


@final
@attrs.frozen
class Kinds:
    """A map of free names to sections of several kinds; the key ``choice`` of a section names its kind.

    ``common`` are the keys (besides ``choice``) of every kind.  A section without ``choice`` whose name is a
    kind is of that kind.
    """

    choice: str
    common: Mapping[str, Leaf]
    kinds: Mapping[str, Section]

    def any_kind(self) -> Section:
        """The keys of all kinds together, for when the kind is not known yet."""
        children: dict[str, Item] = {}
        for section in self.kinds.values():
            children.update(section.children)
        return Section(object, {**children, **self.common, self.choice: _CHOICE})

    def exactly(self, kind: str) -> Section:
        section = self.kinds[kind]
        return attrs.evolve(section, children={**section.children, **self.common, self.choice: _CHOICE})


Item: TypeAlias = Leaf | Section | Names | Kinds
_CHOICE = Leaf(values.Word, "", None, "What the section is.", True, False)
_ROLE = Leaf(str, "admin", None, "Role of users of whom rbac.policy says nothing.", True, False)


def build(plugin_sections: Mapping[str, type] = MappingProxyType({})) -> Section:
    """The schema of the core, with the settings classes of plugins at their places.

    ``plugin_sections`` maps a dotted path (``agent.topology.docker``, ``storage.elasticsearch`` for a storage
    driver, ``auth.ldap`` for an authentication type) to a settings class.
    """
    root = _section(Config)
    children = dict(root.children)
    children.pop("plugins")
    storage = {kind: _section(cls, plugin=kind not in ("embedded", "memory")) for kind, cls in STORAGE.items()}
    children["storage"] = Kinds("driver", {}, storage)
    auth = {kind: _section(cls, plugin=kind not in ("basic", "noauth")) for kind, cls in AUTH.items()}
    children["auth"] = Kinds("type", {"role": _ROLE}, auth)
    root = attrs.evolve(root, children=children)
    for path, cls in SECTIONS.items():
        root = _place(root, path.split("."), _section(cls, plugin=True))
    for path, cls in sorted(plugin_sections.items(), key=lambda item: item[0].count(".")):
        root = _place(root, path.lower().split("."), _section(cls, plugin=True, given=True))
    return root


def _place(parent: Section, path: list[str], section: Section) -> Section:
    name, *rest = path
    item = parent.children.get(name)
    if not rest:
        # What other plugins have inside this section stays theirs.
        inner = item.children if isinstance(item, Section) else {}
        others = {name: below for name, below in inner.items() if isinstance(below, Section) and below.plugin}
        placed: Item = attrs.evolve(section, children={**others, **section.children})
    elif isinstance(item, Kinds) and len(rest) == 1:
        placed = attrs.evolve(item, kinds={**item.kinds, rest[0]: section})
    elif isinstance(item, Section):
        placed = _place(item, rest, section)
    else:
        raise ValueError(f"a plugin's section cannot stand at {'.'.join(path)}: there is no section {name}")
    return attrs.evolve(parent, children={**parent.children, name: placed})


@functools.cache
def _section(cls: type, *, plugin: bool = False, given: bool = False) -> Section:
    children: dict[str, Item] = {}
    for field in attrs.fields(attrs.resolve_types(cls)):
        pair = values.members(field.type)
        if isinstance(field.type, type) and attrs.has(field.type) and field.type is not Address:
            children[field.name] = _section(field.type)
        elif pair is not None and pair[1] is Peer:
            children[field.name] = Names(_section(Peer))
        else:
            secret = field.metadata.get("secret", False) or values.is_secret_name(field.name)
            children[field.name] = Leaf(
                field.type,
                field.default,
                field.metadata.get("default_text"),
                field.metadata.get("doc", ""),
                given or field.metadata.get("effective", False),
                secret,
            )
    if given:
        children = {name: _given(item) for name, item in children.items()}
    return Section(cls, children, plugin, given)


def _given(item: Item) -> Item:
    if isinstance(item, Section):
        return attrs.evolve(item, given=True, children={name: _given(child) for name, child in item.children.items()})
    return attrs.evolve(item, effective=True) if isinstance(item, Leaf) else item


def child(parent: Item, name: str) -> Item | None:
    """What stands below a section under a (lower-case) name."""
    if isinstance(parent, Section):
        return parent.children.get(name)
    if isinstance(parent, Names):
        return parent.section
    if isinstance(parent, Kinds):
        return parent.any_kind()
    return None


def leaves(parent: Item, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Every key with its path; free names are written ``<name>``, kinds of sections ``<kind>``."""
    if isinstance(parent, Leaf):
        yield path, parent
    elif isinstance(parent, Section):
        for name, item in parent.children.items():
            yield from leaves(item, (*path, name))
    elif isinstance(parent, Names):
        yield from leaves(parent.section, (*path, "<name>"))
    else:
        for name, leaf in {parent.choice: _CHOICE, **parent.common}.items():
            yield (*path, "<name>", name), leaf
        for kind, section in parent.kinds.items():
            yield from leaves(section, (*path, f"<{kind}>"))


def sections(parent: Section, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Section]]:
    """The sections of plugins at fixed places, the innermost first."""
    for name, item in parent.children.items():
        if isinstance(item, Section):
            yield from sections(item, (*path, name))
            if item.plugin:
                yield (*path, name), item
