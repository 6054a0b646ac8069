"""Partial updates: carried out by a client, they make the old metadata the new one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skycore.graph.element import build_revision, canonical_metadata
from skycore.server.partial import partial_update
from skycore.server.publisher import apply_operation
from tests.server import watching

keys = st.sampled_from(["a", "b", "c"]) | st.sampled_from(["d.e", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2, width=16) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
metadata = st.dictionaries(keys, values, max_size=4)


@given(metadata, metadata)
def test_operations_lead_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    one, other = (
        build_revision(
            id="n",
            metadata=canonical_metadata(content),
            revision=number,
            host="h",
            origin="o",
            created_at=1,
            updated_at=number,
        )
        for number, content in enumerate((before, after), 1)
    )
    update = partial_update(one, other)
    if update is None:
        assert any("." in key or not key for key in (*before, *after))
        return
    told = json.loads(update)
    assert (told["ID"], told["Revision"], told["UpdatedAt"]) == ("n", 2, 2)
    for apply in (watching.apply_operation, apply_operation):
        known = one.metadata()
        for operation in told["Ops"] or []:
            apply(known, operation)
        assert canonical_metadata(known) == other.metadata_json
