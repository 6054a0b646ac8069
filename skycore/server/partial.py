"""What changed between two revisions, as the operations of a partial update.

An operation is ``{"Type":1,"Key":"a.b","Value":…}`` (set, objects on the way are made) or ``{"Type":2,"Key":"a.b"}``
(delete; a client takes objects that become empty by it away, too).  A key that itself holds a dot cannot be named, so
the object that holds such a change is set as a whole.
"""

from __future__ import annotations

from typing import Any

import msgspec

from skycore.graph.element import Revision

_SET, _DELETE = 1, 2
_encode = msgspec.json.Encoder().encode


def partial_update(before: Revision, after: Revision) -> bytes | None:
    """The Obj of a partial update (JSON); None when operations cannot say it."""
    operations = _operations(before.metadata(), after.metadata(), "")
    if operations is None:
        return None
    head = f'{{"ID":{_encode(after.id).decode()},"UpdatedAt":{after.updated_at},"Revision":{after.revision},"Ops":'
    return head.encode() + (_encode(operations) if operations else b"null") + b"}"


def _operations(before: dict[str, Any], after: dict[str, Any], prefix: str) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    for key in before.keys() - after.keys():
        if "." in key or not key:
            return None
        found.append({"Type": _DELETE, "Key": prefix + key})
    for key, value in after.items():
        old = before.get(key)
        if key in before and _same(old, value):
            continue
        if "." in key or not key:
            return None
        inner = None
        if isinstance(old, dict) and isinstance(value, dict) and old and value:
            inner = _operations(old, value, f"{prefix}{key}.")
        found += inner if inner is not None else [{"Type": _SET, "Key": prefix + key, "Value": value}]
    return found


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON texts are: 1 and 1.0, or 1 and true, are not."""
    return bool(one == other) and _encode(one) == _encode(other)
