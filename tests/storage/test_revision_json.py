"""A revision made again from its bytes, as a store does, is the revision."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from skycore.graph.element import build_revision, canonical_metadata, revision_from_json

_texts = st.text(st.characters(exclude_categories=["Cs"])) | st.just('","Metadata":{}') | st.just("\\")
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_times = st.integers(0, 1 << 62)


@given(
    _texts, _texts, _texts, st.dictionaries(_texts, _values), _times, _times, st.none() | _times,
    st.none() | st.tuples(_texts, _texts), st.lists(_texts),
)  # fmt: skip
def test_it_is_the_same(
    id: str,
    host: str,
    origin: str,
    metadata: dict[str, object],
    created_at: int,
    updated_at: int,
    deleted_at: int | None,
    ends: tuple[str, str] | None,
    owners: list[str],
) -> None:
    parent, child = ends or (None, None)
    revision = build_revision(
        id=id, metadata=canonical_metadata(metadata), revision=7, host=host, origin=origin, created_at=created_at,
        updated_at=updated_at, deleted_at=deleted_at, parent=parent, child=child, owners=tuple(owners), born=3,
    )  # fmt: skip
    again = revision_from_json(revision.json, owners=tuple(owners), born=3)
    assert again == revision
    assert again.metadata() == metadata


@given(st.binary(max_size=60), st.integers(0, 200))
def test_other_bytes_are_a_value_error_at_most(noise: bytes, place: int) -> None:
    good = build_revision(
        id="n", metadata=b'{"Name":"n"}', revision=1, host="h", origin="o", created_at=1, updated_at=1
    ).json
    for json in (noise, good[:place] + noise + good[place + len(noise) :], good[:place]):
        with suppress(ValueError):
            revision_from_json(json)
