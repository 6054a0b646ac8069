"""Results drawn with lines: any value as a tree, a graph as the tree of who owns what, its other links beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from skycore.cli.harmless import one_line
from skycore.cli.output import path

_OWNERSHIP: Final = "ownership"
_DEEPEST: Final = 64


def tree(value: Any, label: str = "") -> Iterator[str]:
    """The lines of a value of JSON: objects and lists are branches, everything else stands behind its key."""
    if isinstance(value, Mapping):
        yield label or "{}" if not value else label or _title(value)
        members: Iterable[tuple[str, Any]] = value.items()
    elif isinstance(value, list):
        yield f"{label} [{len(value)}]".strip()
        members = ((_title(one) if isinstance(one, Mapping) else str(place), one) for place, one in enumerate(value))
    else:
        yield f"{label}: {_shown(value)}" if label else _shown(value)
        return
    yield from _branches([lambda name=name, one=one: tree(one, one_line(name)) for name, one in members])


def graph(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a graph: who is owned stands below its owner, and each other edge below both its ends."""
    by_id = {node["ID"]: node for node in nodes}
    owned: dict[str, list[str]] = {}
    links: dict[str, list[str]] = {}
    owners: set[str] = set()
    for edge in edges:
        parent, child = edge["Parent"], edge["Child"]
        relation = one_line(str(path(edge, "Metadata.RelationType") or "?"))
        if relation == _OWNERSHIP and parent in by_id and child in by_id and child not in owners:
            owned.setdefault(parent, []).append(child)
            owners.add(child)
            continue
        directed = bool(path(edge, "Metadata.Directed"))
        for end, other, arrow in (
            (parent, child, "─▶" if directed else "──"),
            (child, parent, "◀─" if directed else "──"),
        ):
            if end in by_id:
                links.setdefault(end, []).append(f"{arrow} {relation} {arrow} {_name(by_id.get(other), other)}")
    drawn: set[str] = set()
    for id in _by_name(by_id, [id for id in by_id if id not in owners]):
        yield from _element(id, by_id, owned, links, drawn, 0)
    # Only a circle of owners has no first one.
    for id in by_id:
        if id not in drawn:
            yield from _element(id, by_id, owned, links, drawn, 0)


def _element(
    id: str,
    by_id: Mapping[str, Mapping[str, Any]],
    owned: Mapping[str, list[str]],
    links: Mapping[str, list[str]],
    drawn: set[str],
    depth: int,
) -> Iterator[str]:
    drawn.add(id)
    yield _name(by_id[id], id) + _state(by_id[id])
    children = [child for child in _by_name(by_id, owned.get(id, ())) if child not in drawn and depth < _DEEPEST]
    branches: list[Any] = [lambda line=line: iter((line,)) for line in sorted(links.get(id, ()))]
    branches += [lambda child=child: _element(child, by_id, owned, links, drawn, depth + 1) for child in children]
    yield from _branches(branches)


def _branches(branches: Sequence[Any]) -> Iterator[str]:
    for number, branch in enumerate(branches, 1):
        last = number == len(branches)
        for place, line in enumerate(branch()):
            if place:
                yield f"{'    ' if last else '│   '}{line}"
            else:
                yield f"{'└── ' if last else '├── '}{line}"


def _by_name(by_id: Mapping[str, Mapping[str, Any]], ids: Iterable[str]) -> list[str]:
    return sorted(
        ids, key=lambda id: (str(path(by_id[id], "Metadata.Type")), str(path(by_id[id], "Metadata.Name")), id)
    )


def _name(element: Mapping[str, Any] | None, id: str) -> str:
    if element is None:
        return one_line(id)
    name = path(element, "Metadata.Name")
    kind = path(element, "Metadata.Type")
    return one_line(f"{name if name not in (None, '') else id} ({kind})" if kind else str(name or id))


def _state(element: Mapping[str, Any]) -> str:
    addresses = (path(element, f"Metadata.{key}") for key in ("IPV4", "IPV6"))
    details = [path(element, "Metadata.State"), *(one for some in addresses if isinstance(some, list) for one in some)]
    return "".join(f"  {one_line(str(detail))}" for detail in details if detail)


def _title(value: Mapping[str, Any]) -> str:
    """What names an object: of an element its name, of a flow its ends, else nothing but its keys."""
    if "Metadata" in value and isinstance(value["Metadata"], Mapping):
        if "Parent" in value:
            return one_line(f"{path(value, 'Metadata.RelationType') or 'edge'} {value.get('ID', '')}")
        return _name(value, str(value.get("ID", "")))
    if "LayersPath" in value:
        ends = [path(value, f"{layer}.{end}") for layer in ("Network", "Link") for end in ("A", "B")]
        shown = [str(end) for end in ends if end][:2]
        return one_line(f"{value.get('Application', 'flow')} {' ─ '.join(shown)}")
    return "{…}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(str(value))
