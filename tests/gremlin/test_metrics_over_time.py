"""``Metrics`` over a span, out of a real store: what Grafana's data source for Skydive asks, and what it reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skycore.graph.element import build_revision, canonical_metadata
from skycore.gremlin import QueryContext, run
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.history import maintain
from skycore.testing.views import ListView

SECOND = 1000
BEGIN = 1_700_000_000
"""Seconds since the epoch at which the history begins."""
EVERY = 30
UPDATES = 200


def interface(name: str, number: int, **metadata: Any) -> RevisionRecord:
    """The interface at its number-th update: 10 (eth0) or 20 (eth1) packets of 100 bytes a second."""
    start, last = BEGIN + (number - 1) * EVERY, BEGIN + number * EVERY
    rate = 10 if name == "eth0" else 20
    times = {"Start": start * SECOND, "Last": last * SECOND}
    grown = {"RxPackets": rate * EVERY, "RxBytes": 100 * rate * EVERY}
    return RevisionRecord(
        build_revision(
            id=name,
            metadata=canonical_metadata(
                {
                    "Name": name,
                    "Type": "device",
                    "MTU": 1500 if number <= UPDATES // 2 else 9000,
                    "LastUpdateMetric": {**grown, **times},
                    "Metric": {key: value * number for key, value in grown.items()},
                    "SFlow": {"LastUpdateMetric": {"IfInOctets": number, **times}},
                    **metadata,
                }
            ),
            revision=number + 1,
            host="h",
            origin="agent.h",
            created_at=BEGIN * SECOND,
            updated_at=last * SECOND,
        )
    )


@pytest.fixture(scope="module", params=["rows", "blocks", "memory"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    recent = 0 if request.param != "memory" else 64 << 20
    folder: Path = tmp_path_factory.mktemp("history")
    made = EmbeddedStore(EmbeddedStore.Settings(path=str(folder), retention_days=0, recent_bytes=recent))
    made.open()
    for number in range(1, UPDATES + 1):
        made.commit([interface("eth0", number), interface("eth1", number)])
    if request.param == "blocks":
        maintain(made)
        assert made.status()["Blocks"] > 2
    yield made
    made.close()


async def ask(query: str, store: EmbeddedStore) -> Any:
    now = (BEGIN + UPDATES * EVERY) * SECOND
    return json.loads((await run(query, QueryContext(ListView([]), now=lambda: now, history=store))).json())


def at(first: int, last: int) -> str:
    """From one update's end to another's, as Grafana asks."""
    return f"G.At({BEGIN + last * EVERY}, {(last - first) * EVERY})"


async def test_every_update_in_the_span_once(store: EmbeddedStore) -> None:
    (found,) = await ask(f"{at(40, 160)}.V().Has('Type', 'device').Metrics()", store)
    assert list(found) == ["eth0", "eth1"]
    # The update that ended at the first moment belongs to it, as its end does.
    assert [one["Last"] for one in found["eth0"]] == [(BEGIN + number * EVERY) * SECOND for number in range(40, 161)]
    assert {one["RxBytes"] for one in found["eth1"]} == {60_000}


async def test_the_sum_over_a_span(store: EmbeddedStore) -> None:
    assert await ask(f"{at(0, UPDATES)}.V('eth0').Metrics().Sum('RxPackets')", store) == 300 * UPDATES
    total = await ask(f"{at(0, UPDATES)}.V().Metrics().Sum()", store)
    assert total["RxPackets"] == 900 * UPDATES
    assert (total["Start"], total["Last"]) == (BEGIN * SECOND, (BEGIN + UPDATES * EVERY) * SECOND)


async def test_aggregates_over_a_span_are_even(store: EmbeddedStore) -> None:
    (found,) = await ask(f"{at(40, 160)}.V().HasKey('Metric').Metrics().Aggregates()", store)
    slices = found["Aggregated"]
    assert len(slices) == 120
    assert slices[0]["Start"] == (BEGIN + 40 * EVERY) * SECOND
    assert slices[-1]["Last"] == (BEGIN + 160 * EVERY) * SECOND
    assert {(one["RxPackets"], one["RxBytes"]) for one in slices} == {(900, 90_000)}
    (found,) = await ask(f"{at(40, 160)}.V('eth0').Metrics().Aggregates(600)", store)
    assert [one["RxBytes"] for one in found["Aggregated"]] == [600_000] * 6


async def test_metrics_of_some_revisions(store: EmbeddedStore) -> None:
    """What the filter keeps are revisions: here those before the MTU changed."""
    (found,) = await ask(f"{at(0, UPDATES)}.V('eth0').Has('MTU', 1500).Metrics()", store)
    assert len(found["eth0"]) == UPDATES // 2


async def test_metrics_of_other_sources(store: EmbeddedStore) -> None:
    (found,) = await ask(f"{at(0, 10)}.V('eth0').HasKey('SFlow').Metrics('SFlow')", store)
    assert [one["IfInOctets"] for one in found["eth0"]] == list(range(1, 11))
    assert await ask(f"{at(0, 10)}.V().HasKey('Ovs.Metric').Metrics('Ovs').Aggregates()", store) == []
    assert await ask(f"{at(0, 10)}.V().Has('Type', 'ofrule').Metrics().Aggregates()", store) == []


async def test_the_questions_of_grafana_besides(store: EmbeddedStore) -> None:
    assert [one["ID"] for one in await ask("G.At('-1s').V().Limit(1)", store)] == ["eth0"]
    keys = await ask(f"{at(0, UPDATES)}.V().Has('Name', 'eth0').Limit(10).Keys()", store)
    assert {"LastUpdateMetric.RxBytes", "Metric.RxBytes", "Name", "SFlow.LastUpdateMetric.IfInOctets"} <= set(keys)
    assert await ask(f"{at(0, 10)}.V().Metrics().Keys()", store) == ["Last", "RxBytes", "RxPackets", "Start"]


async def test_a_moment_has_one_metric_for_each_node(store: EmbeddedStore) -> None:
    (found,) = await ask(f"G.At({BEGIN + 60 * EVERY}).V().Metrics()", store)
    assert [len(one) for one in found.values()] == [1, 1]
    assert found["eth0"][0]["Last"] == (BEGIN + 60 * EVERY) * SECOND


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("G.At('-1s').V().Limit(1)", []),
        ("G.At(1700000000, 3600).V().Metrics().Aggregates()", []),
        ("G.At(1700000000, 3600).V().HasKey('Metric').Metrics().Aggregates()", []),
        ("G.At(1700000000, 3600).V().Limit(10).Keys()", None),
        ("G.At('-1s', '1h').V().Revisions()", []),
        ("G.At(1700000000, 3600)", [{"Nodes": None, "Edges": None}]),
    ],
)
async def test_an_empty_store(tmp_path: Path, query: str, answer: Any) -> None:
    empty = EmbeddedStore(EmbeddedStore.Settings(path=str(tmp_path)))
    empty.open()
    assert await ask(query, empty) == answer
    empty.close()
