"""Every key of a namespace's node, with its source: what the probe says is made from this table, and so is README.md.

``python -m skydive_probe_netns.keys`` prints the table for README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import attrs

from skycore.plugin import Namespace


@attrs.frozen
class Key:
    """One key: what it means and its unit, where it comes from, and its value of (name, path, namespace)."""

    name: str
    meaning: str
    source: str
    value: Callable[[str, str, Namespace], Any]


KEYS: Final = (
    Key("Name", "the file's name; bytes that are no UTF-8 are written `\\xNN`", "directory", lambda name, *_: name),
    Key("Type", "`netns`", "-", lambda *_: "netns"),
    Key("Path", "file through which it can be entered", "directory, mountinfo, `/proc`", lambda _name, path, _: path),
    Key("Inode", "number that the kernel may use again", "stat(2)", lambda _name, _path, namespace: namespace.inode),
    Key("Device", "number of the file system", "stat(2)", lambda _name, _path, namespace: namespace.device),
)


def metadata(name: str, path: str, namespace: Namespace) -> dict[str, Any]:
    """Metadata of the node of a namespace."""
    return {key.name: key.value(name, path, namespace) for key in KEYS}


def markdown() -> str:
    """The table for README.md."""
    rows = [f"| `{key.name}` | {key.meaning} | {key.source} |" for key in KEYS]
    return "\n".join(["| Key | Meaning or unit | Source |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
