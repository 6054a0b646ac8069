"""What users may do with API objects of any kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.errors import DuplicatedResource, InvalidResource, NotModified, ResourceNotFound
from skycore.resource.api import ResourceApi
from skycore.resource.embedded import EmbeddedResources
from skycore.resource.kind import Field, Kind, Value
from skycore.resource.ttl import parse_ttl


def _check(value: Value) -> None:
    if not value["Name"]:
        raise InvalidResource("Name: zero value")


def _compare(value: Value, others: Any) -> None:
    if any(other["Name"] == value["Name"] for other in others):
        raise DuplicatedResource()


KIND = Kind(
    "thing",
    "Thing",
    (
        Field("Name"),
        Field("Count", "integer", 3),
        Field("On", "boolean"),
        Field("Metadata", "object"),
        Field("Any", "any"),
    ),
    _check,
    _compare,
    updatable=True,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedResources]:
    store = EmbeddedResources(tmp_path)
    store.open()
    yield store
    store.close()


@pytest.fixture
def api(store: EmbeddedResources) -> ResourceApi:
    return ResourceApi(store, KIND)


def _plain(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


async def test_a_new_object_has_all_fields_and_an_id_of_its_own(api: ResourceApi) -> None:
    made = _plain(await api.create({"name": "n", "UUID": "mine", "Other": 1, "COUNT": 5}))
    uuid = made["UUID"]
    assert made == {"UUID": uuid, "Name": "n", "Count": 5, "On": False, "Metadata": {}, "Any": None}
    assert uuid != "mine"
    assert _plain(api.get(uuid)) == made
    assert _plain(api.list()) == {uuid: made}


async def test_the_exact_spelling_of_a_field_counts_before_others(api: ResourceApi) -> None:
    made = _plain(await api.create({"Name": "exact", "NAME": "other"}))
    assert made["Name"] == "exact"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "a Thing is a JSON object, not a list"),
        ({"Name": 1}, "Name: must be a string, not a number"),
        ({"Name": "n", "Count": True}, "Count: must be an integer, not a boolean"),
        ({"Name": "n", "Count": 1.5}, "Count: must be an integer, not a number"),
        ({"Name": "n", "On": 1}, "On: must be a boolean, not a number"),
        ({"Name": "n", "Metadata": "x"}, "Metadata: must be an object, not a string"),
        ({}, "Name: zero value"),
    ],
)
async def test_what_cannot_be(api: ResourceApi, body: object, text: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        await api.create(body)
    assert refused.value.text == text
    assert refused.value.status == 400
    assert api.list() == {}


async def test_the_same_twice(api: ResourceApi) -> None:
    await api.create({"Name": "n"})
    with pytest.raises(DuplicatedResource) as refused:
        await api.create({"Name": "n"})
    assert (refused.value.status, refused.value.text) == (409, "duplicated resource")


async def test_what_is_not_there(api: ResourceApi) -> None:
    for call in (lambda: api.get("xx"), lambda: api.delete("xx")):
        with pytest.raises(ResourceNotFound) as refused:
            await call()
        assert (refused.value.status, refused.value.text) == (404, "Thing 'xx' not found")
    with pytest.raises(ResourceNotFound) as refused:
        await api.patch("xx", [])
    assert refused.value.text == ""
    with pytest.raises(InvalidResource):
        api.get("")


async def test_patching(api: ResourceApi) -> None:
    uuid = _plain(await api.create({"Name": "n"}))["UUID"]
    patched = _plain(await api.patch(uuid, [{"op": "replace", "path": "/Count", "value": 9}]))
    assert patched["Count"] == 9
    assert patched["UUID"] == uuid
    with pytest.raises(NotModified) as same:
        await api.patch(uuid, [{"op": "replace", "path": "/UUID", "value": "other"}])
    assert (same.value.status, same.value.text) == (304, "")
    with pytest.raises(InvalidResource, match="validating patched resource: Name: zero value"):
        await api.patch(uuid, [{"op": "remove", "path": "/Name"}])
    with pytest.raises(InvalidResource, match="applying patch: operation 1"):
        await api.patch(uuid, [{"op": "remove", "path": "/Nothing"}])
    assert _plain(api.get(uuid))["Count"] == 9


async def test_what_is_not_updatable(store: EmbeddedResources) -> None:
    fixed = ResourceApi(store, Kind("fixed", "Fixed", (Field("Name"),)))
    uuid = _plain(await fixed.create({"Name": "n"}))["UUID"]
    with pytest.raises(InvalidResource) as refused:
        await fixed.patch(uuid, [{"op": "replace", "path": "/Name", "value": "m"}])
    assert refused.value.text == "updating resource with patched version: resource not updatable"


async def test_time_to_live(api: ResourceApi, store: EmbeddedResources) -> None:
    uuid = _plain(await api.create({"Name": "n"}, ttl="1h30m"))["UUID"]
    kept = store.get("thing", uuid)
    assert kept is not None
    assert kept.expires_at == kept.created_at + 5_400_000
    with pytest.raises(InvalidResource) as refused:
        await api.create({"Name": "m"}, ttl="soon")
    assert refused.value.text == 'invalid ttl: time: invalid duration "soon"'


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        (None, None),
        ("", None),
        ("0", None),
        ("0s", None),
        ("-5s", None),
        ("10s", 10_000),
        ("+1.5s", 1_500),
        (".5s", 500),
        ("1h2m3s4ms", 3_723_004),
        ("1us", 1),
        ("2µs", 1),
    ],
)
def test_durations(text: str | None, milliseconds: int | None) -> None:
    assert parse_ttl(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", 'missing unit in duration "5"'),
        ("5x", 'unknown unit "x" in duration "5x"'),
        ("-", 'invalid duration "-"'),
        (".s", 'invalid duration ".s"'),
        ("99999999999999h", 'invalid duration "99999999999999h"'),
    ],
)
def test_wrong_durations(text: str, message: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse_ttl(text)
    assert refused.value.text == f"invalid ttl: time: {message}"


@given(st.text(alphabet='0123456789.+-hmsuµn x"\\', max_size=30))
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    fault = ""
    found: int | None = None
    try:
        found = parse_ttl(text)
    except InvalidResource as refused:
        fault = refused.text
    assert fault == "" or fault.startswith("invalid ttl: time: ")
    assert found is None or found >= 1
