"""The store of flows: each flow as it was last, each measurement once, whatever comes twice or is damaged."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.errors import StorageError, StoreInUse
from skycore.filter import Equals
from skycore.flow.evaluation import decode
from skycore.flow.query import FlowMetric, FlowQuery, FlowSpan, RawPacket
from skycore.storage.flow_reader import StoredFlows
from skycore.storage.flow_rows import FlowRows
from skycore.storage.flows import FILE, FlowStore

DAY = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FlowStore]:
    made = FlowStore(tmp_path, retention_days=1, max_bytes=0)
    made.open()
    yield made
    made.close()


@contextmanager
def opened(folder: Path) -> Iterator[FlowStore]:
    store = FlowStore(folder, retention_days=0, max_bytes=0)
    store.open()
    try:
        yield store
    finally:
        store.close()


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


def reader(store: FlowStore) -> StoredFlows:
    return StoredFlows(store, expire_ms=0, enhance=lambda json: json)


async def flows(store: FlowStore, span: FlowSpan | None = None, query: FlowQuery | None = None) -> list[dict[str, Any]]:
    asked = query or FlowQuery(sort_by="Last", descending=True)
    return [decode(one) async for piece in reader(store).flows(asked, span, lambda _: None) for one in piece]


async def test_a_flow_is_kept_as_it_was_last_and_its_measurements_as_a_series(store: FlowStore) -> None:
    put(store, [flow("a", 10, 1), flow("a", 20, 2), flow("b", 5, 3)])
    put(store, [flow("a", 10, 1), flow("a", 20, 2, FinishType=1)])
    assert [(one["UUID"], one.get("FinishType")) for one in await flows(store)] == [("a", 1), ("b", None)]
    assert await reader(store).metrics(["x", "a"], None) == {"a": [FlowMetric(1, Last=10), FlowMetric(2, Last=20)]}
    put(store, [flow("a", 12, 9)])
    assert (await flows(store))[0]["Last"] == 20
    assert [one["UUID"] for one in await flows(store, FlowSpan(6, 100))] == ["a"]
    assert await reader(store).metrics(["a"], FlowSpan(0, 12)) == {
        "a": [FlowMetric(1, Last=10), FlowMetric(9, Last=12)]
    }


async def test_what_a_flow_turns_out_to_be_later_is_found(store: FlowStore) -> None:
    def asked(application: str) -> FlowQuery:
        return FlowQuery(Equals("Application", application))

    put(store, [flow("a", 10, 1, Application="TCP")])
    put(store, [flow("a", 20, 1, Application="https")])
    put(store, [flow("a", 15, 1, Application="older")])
    assert [len(await flows(store, query=asked(name))) for name in ("TCP", "https", "older")] == [0, 1, 0]


async def test_kept_packets_are_kept_once(store: FlowStore) -> None:
    data = base64.b64encode(b"\x00frame").decode()
    for _ in range(2):
        put(store, [flow("a", 1, 1)], [packet("a", 1, data), packet("a", 2, data)])
    assert await reader(store).raw_packets(["a"], frozenset(), FlowSpan(5, 5), lambda _: None) == {
        "a": [RawPacket(5, 1, b"\x00frame", 1), RawPacket(5, 2, b"\x00frame", 1)]
    }
    assert await reader(store).raw_packets(["a"], frozenset(), FlowSpan(0, 4), lambda _: None) == {}


def test_what_is_damaged_is_refused_by_itself(store: FlowStore) -> None:
    wrong = [b"{", b"[]", b'{"UUID":""}', b'{"UUID":"x","Start":-1,"Last":2}', b'{"UUID":"x","Start":1,"Last":1e99}']
    rows = put(store, [flow("a", 1, 1), *map(msgspec.Raw, wrong)], [packet("a", 1, "no base 64!")])
    assert len(rows.refused) == len(wrong) + 1
    assert store.counts() == {"flow": 1, "metric": 1, "raw_packet": 0, "talk": 0, "talk_log": 1}


def test_old_flows_go_and_so_does_what_is_too_much(store: FlowStore, tmp_path: Path) -> None:
    put(store, [flow("old", 1000, 1), flow("new", 2 * DAY, 1)], [packet("old", 1, "AAAA")])
    while store.maintain(2 * DAY):
        pass
    assert store.counts() == {"flow": 1, "metric": 1, "raw_packet": 0, "talk": 0, "talk_log": 1}
    while store.maintain(2 * DAY + 120_000):
        pass
    assert store.counts() == {"flow": 1, "metric": 1, "raw_packet": 0, "talk": 4, "talk_log": 0}
    small = FlowStore(tmp_path / "small", retention_days=0, max_bytes=1)
    small.open()
    put(small, [flow(str(number), number, 1) for number in range(100)])
    while small.maintain(DAY):
        pass
    assert set(small.counts().values()) == {0}
    small.close()


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    damaged = FlowStore(tmp_path, retention_days=1, max_bytes=0)
    with pytest.raises(StorageError, match="could not be opened"):
        damaged.open()
    with pytest.raises(StorageError, match="not open"):
        damaged.commit(FlowRows())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=20), st.data())
async def test_any_repetition_gives_the_same_rows(
    tmp_path: Path, records: list[tuple[str, int]], data: st.DataObject
) -> None:
    for name in ("once", "often"):
        (tmp_path / name / FILE).unlink(missing_ok=True)
    with opened(tmp_path / "once") as once, opened(tmp_path / "often") as often:
        ends = {"Network": {"A": "10.0.0.1", "B": "10.0.0.2"}, "NodeTID": "n", "Application": "TCP"}
        said = [flow(uuid, last, last, **ends) for uuid, last in sorted(set(records), key=lambda one: one[1])]
        put(once, said)
        start = 0
        # As a link that is cut: everything after some batch comes again.
        for _ in range(3):
            put(often, said[start:])
            start = data.draw(st.integers(0, len(said)))
        put(often, said[start:])
        assert await flows(once) == await flows(often)
        assert await reader(once).metrics("abc", None) == await reader(often).metrics("abc", None)
        span = FlowSpan(0, DAY)
        assert await reader(once).top(span, "pair", 9) == await reader(often).top(span, "pair", 9)
        total = (await reader(often).top(span, "pair", 9, measure="packets")).Total
        assert total == sum(last for _, last in set(records))


def test_a_file_of_a_newer_version_is_left_alone_and_closed(tmp_path: Path) -> None:
    store = FlowStore(tmp_path, retention_days=0, max_bytes=0)
    with closing(sqlite3.connect(store.path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer version"):
        store.open()
    assert not store.is_open


def test_a_file_belongs_to_one_process(store: FlowStore, tmp_path: Path) -> None:
    with pytest.raises(StoreInUse, match="in use by another process"):
        FlowStore(tmp_path, retention_days=0, max_bytes=0).open()


VERSION_1 = """
CREATE TABLE flow (
    uuid TEXT PRIMARY KEY, start INTEGER NOT NULL, last INTEGER NOT NULL, tracking TEXT NOT NULL, l3 TEXT NOT NULL,
    parent TEXT NOT NULL, node TEXT NOT NULL, capture TEXT NOT NULL, application TEXT NOT NULL, json BLOB NOT NULL
);
CREATE INDEX flow_last ON flow (last);
CREATE INDEX flow_tracking ON flow (tracking);
CREATE INDEX flow_node ON flow (node);
CREATE TABLE metric (
    uuid TEXT NOT NULL, last INTEGER NOT NULL, start INTEGER NOT NULL, ab_packets INTEGER NOT NULL,
    ab_bytes INTEGER NOT NULL, ba_packets INTEGER NOT NULL, ba_bytes INTEGER NOT NULL, rtt INTEGER NOT NULL,
    PRIMARY KEY (uuid, last)
) WITHOUT ROWID;
CREATE INDEX metric_last ON metric (last);
CREATE TABLE raw_packet (
    uuid TEXT NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, link_type INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (uuid, number)
) WITHOUT ROWID;
CREATE INDEX raw_packet_time ON raw_packet (time);
PRAGMA user_version = 1;
"""


async def test_a_file_of_version_1_is_taken_over(tmp_path: Path) -> None:
    store = FlowStore(tmp_path, retention_days=0, max_bytes=0)
    record = bytes(flow("a", 70_000, 1, Network={"A": "10.0.0.1", "B": "10.0.0.2"}, NodeTID="n"))
    with closing(sqlite3.connect(store.path)) as database:
        database.executescript(VERSION_1)
        database.execute("INSERT INTO flow VALUES ('a', 1, 70000, '', '', '', 'n', '', '', ?)", (record,))
        database.execute("INSERT INTO metric VALUES ('a', 70000, 10, 1, 100, 2, 200, 5), ('gone', 9, 1, 1, 1, 1, 1, 1)")
        database.execute("INSERT INTO raw_packet VALUES ('a', 1, 9, 1, x'00')")
        database.commit()
    for _ in range(2):
        store.open()
        asked = FlowQuery(Equals("Network.A", "10.0.0.1"))
        assert await flows(store, query=asked) == [decode(record)]
        assert await reader(store).metrics(["a"], None) == {"a": [FlowMetric(1, 100, 2, 200, 10, 70_000, 5)]}
        assert await reader(store).raw_packets(["a"], frozenset(), None, lambda _: None) == {
            "a": [RawPacket(9, 1, b"\0", 1)]
        }
        assert (await reader(store).top(FlowSpan(0, 120_000), "pair", 9)).Talkers[0].BABytes == 200
        store.close()
