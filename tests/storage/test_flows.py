"""The store of flows: each flow as it was last, each measurement once, whatever comes twice or is damaged."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.errors import StorageError
from skycore.storage.flows import FILE, FlowRows, FlowStore

DAY = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FlowStore]:
    made = FlowStore(tmp_path, retention_days=1, max_bytes=0)
    made.open()
    yield made
    made.close()


def flow(uuid: str, last: int, packets: int, **more: Any) -> msgspec.Raw:
    update = {"ABPackets": packets, "ABBytes": 0, "BAPackets": 0, "BABytes": 0, "Start": 0, "Last": last}
    return msgspec.Raw(
        json.dumps({"UUID": uuid, "Start": 1, "Last": last, "LastUpdateMetric": update, **more}).encode()
    )


def packet(uuid: str, index: int, data: str) -> msgspec.Raw:
    value = {"UUID": uuid, "Timestamp": 5, "Index": index, "Data": data, "LinkType": 1}
    return msgspec.Raw(json.dumps(value).encode())


def put(store: FlowStore, flows: list[msgspec.Raw], raw: list[msgspec.Raw] | None = None) -> FlowRows:
    rows = FlowRows()
    rows.add(flows, raw or [])
    store.commit(rows)
    return rows


def test_a_flow_is_kept_as_it_was_last_and_its_measurements_as_a_series(store: FlowStore) -> None:
    put(store, [flow("a", 10, 1), flow("a", 20, 2), flow("b", 5, 3)])
    put(store, [flow("a", 10, 1), flow("a", 20, 2, FinishType=1)])
    assert [json.loads(one)["UUID"] for one in store.flows()] == ["a", "b"]
    assert json.loads(store.flows()[0])["FinishType"] == 1
    assert [(row[1], row[2]) for row in store.metrics("a")] == [(10, 1), (20, 2)]
    put(store, [flow("a", 12, 9)])
    assert json.loads(store.flows()[0])["Last"] == 20
    assert [json.loads(one)["UUID"] for one in store.flows(since_ms=6)] == ["a"]


def test_kept_packets_are_kept_once(store: FlowStore) -> None:
    data = base64.b64encode(b"\x00frame").decode()
    for _ in range(2):
        put(store, [], [packet("a", 1, data), packet("a", 2, data)])
    assert store.raw_packets("a") == [(1, 5, 1, b"\x00frame"), (2, 5, 1, b"\x00frame")]


def test_what_is_damaged_is_refused_by_itself(store: FlowStore) -> None:
    wrong = [b"{", b"[]", b'{"UUID":""}', b'{"UUID":"x","Start":-1,"Last":2}', b'{"UUID":"x","Start":1,"Last":1e99}']
    rows = put(store, [flow("a", 1, 1), *map(msgspec.Raw, wrong)], [packet("a", 1, "no base 64!")])
    assert len(rows.refused) == len(wrong) + 1
    assert store.counts() == {"flow": 1, "metric": 1, "raw_packet": 0}


def test_old_flows_go_and_so_does_what_is_too_much(store: FlowStore, tmp_path: Path) -> None:
    put(store, [flow("old", 1000, 1), flow("new", 2 * DAY, 1)], [packet("old", 1, "AAAA")])
    while store.maintain(2 * DAY):
        pass
    assert store.counts() == {"flow": 1, "metric": 1, "raw_packet": 0}
    small = FlowStore(tmp_path / "small", retention_days=0, max_bytes=1)
    small.open()
    put(small, [flow(str(number), number, 1) for number in range(100)])
    while small.maintain(DAY):
        pass
    assert small.counts()["flow"] == 0
    small.close()


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    damaged = FlowStore(tmp_path, retention_days=1, max_bytes=0)
    with pytest.raises(StorageError, match="could not be opened"):
        damaged.open()
    with pytest.raises(StorageError, match="closed"):
        damaged.commit(FlowRows())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=20), st.data())
def test_any_repetition_gives_the_same_rows(
    tmp_path: Path, records: list[tuple[str, int]], data: st.DataObject
) -> None:
    once = FlowStore(tmp_path / "once", retention_days=0, max_bytes=0)
    often = FlowStore(tmp_path / "often", retention_days=0, max_bytes=0)
    for store in (once, often):
        store.path.unlink(missing_ok=True)
        store.open()
    flows = [flow(uuid, last, last) for uuid, last in sorted(set(records), key=lambda one: one[1])]
    put(once, flows)
    start = 0
    # As a link that is cut: everything after some batch comes again.
    for _ in range(3):
        put(often, flows[start:])
        start = data.draw(st.integers(0, len(flows)))
    put(often, flows[start:])
    assert {json.loads(one)["UUID"]: one for one in once.flows()} == {json.loads(o)["UUID"]: o for o in often.flows()}
    assert [once.metrics(uuid) for uuid in "abc"] == [often.metrics(uuid) for uuid in "abc"]
    once.close()
    often.close()


def test_a_file_of_a_newer_version_is_left_alone_and_closed(tmp_path: Path) -> None:
    store = FlowStore(tmp_path, retention_days=0, max_bytes=0)
    with closing(sqlite3.connect(store.path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer version"):
        store.open()
    assert not store.is_open
