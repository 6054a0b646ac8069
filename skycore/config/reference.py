"""The reference of all keys; ``python -m skycore.config.reference`` writes docs/configuration.md to its output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import final

import attrs

from skycore.config import values
from skycore.config.tree import Leaf, build, leaves


@final
@attrs.frozen
class Key:
    """One key: dotted path (``<name>`` for a free name, ``<elasticsearch>`` for any section of that kind), type and
    default in words, one-line description, and whether it has an effect in this version."""

    key: str
    type: str
    default: str
    doc: str
    effective: bool


def describe(plugin_sections: Mapping[str, type] = MappingProxyType({})) -> list[Key]:
    """Every key in the order of the schema, with the settings of the given plugins at their places."""
    return [
        Key(".".join(path), values.name(leaf.type), _default(leaf), leaf.doc, leaf.effective)
        for path, leaf in leaves(build(plugin_sections))
    ]


def _default(leaf: Leaf) -> str:
    if leaf.default_text is not None:
        return leaf.default_text
    if leaf.default is attrs.NOTHING:
        return "must be written"
    value = leaf.default.factory() if isinstance(leaf.default, attrs.Factory) else leaf.default  # type: ignore[arg-type]
    return _written(value)


def _written(value: object) -> str:
    """As it would be written in YAML."""
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_written(item)}' for name, item in value.items())}}}"
    return str(value)


_INTRODUCTION = """\
# Configuration

This page is made by `python -m skycore.config.reference > docs/configuration.md`; a test compares it with the code.

The configuration is YAML (1.2: `no`, `on` and `12:30:45` are strings). `-c FILE` may be given several times: maps are
merged deeply, a later file wins, lists are replaced, and `-` is standard input. A key whose value is null is not set.
Without `-c`, `/etc/skycore/skycore.yml` and then `/etc/skydive/skydive.yml` are read where they exist. Keys are
case-insensitive; only names that you choose yourself below a key of type *map* keep their case.

Every key can be set by a variable of the environment, which wins over the files: `agent.listen` by
`SKYDIVE_AGENT_LISTEN`. A list is split at white space, or is a JSON array; a map or a whole section is a JSON object,
and leaves its other keys as they are. `SKYDIVE_ANALYZER`, `SKYDIVE_USERNAME` and `SKYDIVE_PASSWORD` belong to the
command line and are no keys.

A wrong value or an unknown key is an error, and all errors are shown at once, each with file, line, column and key.
Keys that have no effect in this version, sections that no enabled plugin reads, old names of keys, and unknown
variables are accepted and listed once at start.

A `storage.<name>` section has the keys of its `driver`, and an `auth.<name>` section those of its `type`; below, these
are shown as `storage.<elasticsearch>.hosts`. Sections named as a driver or type exist without being written, and what
they say is the default of all other sections of that driver or type.
"""


def markdown() -> str:
    """The reference as a page."""
    parts = [_INTRODUCTION]
    group = ""
    for key in describe():
        first = key.key.split(".")[0]
        heading = first if "." in key.key else "global"
        if heading != group:
            group = heading
            parts.append(f"\n## {heading}\n\n| Key | Type | Default | Meaning | Effect |\n|---|---|---|---|---|\n")
        cells = (
            f"`{key.key}`",
            key.type,
            f"`{key.default}`" if key.default else "",
            key.doc,
            "yes" if key.effective else "not yet",
        )
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(markdown())
