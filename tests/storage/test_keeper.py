"""The history keeper: upkeep runs beside commits, and its failures stop nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from skycore.errors import StorageError
from skycore.graph.graph import Graph
from skycore.storage import keeper, upkeep
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedStore:
    monkeypatch.setattr(keeper, "_MAINTAIN_EACH", 0.01)
    monkeypatch.setattr(upkeep, "_PASS_SECONDS", 0.0)
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(tmp_path), settle_seconds=0))
    store.open()
    return store


async def test_what_is_committed_is_compacted_while_more_comes(store: EmbeddedStore) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=False)
    probe = graph.claimant("probe")
    history = HistoryKeeper(graph, store)
    with closing(store):
        async with trio.open_nursery() as nursery:
            await nursery.start(history.run)
            with trio.fail_after(20):
                number = 0
                while store.status()["CompactedRevisions"] < 200:
                    number += 1
                    probe.put("veth:1", {"Type": "veth", "Name": "eth0", "Metric": {"RxBytes": number}})
                    await trio.sleep(0.001)
            await _until(lambda: history.revisions >= number)
            nursery.cancel_scope.cancel()
        (id,) = graph.nodes
        assert [one.metadata()["Metric"]["RxBytes"] for one in store.revisions(id)] == list(range(1, number + 1))


async def test_upkeep_that_fails_stops_no_commit(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def maintain() -> bool:
        nonlocal calls
        calls += 1
        raise StorageError("no space")

    monkeypatch.setattr(store, "maintain", maintain)
    graph = Graph(host="h", origin="agent.h", with_tids=False)
    history = HistoryKeeper(graph, store)
    with closing(store):
        async with trio.open_nursery() as nursery:
            await nursery.start(history.run)
            await _until(lambda: calls >= 3)
            graph.claimant("probe").put("veth:1", {"Type": "veth", "Name": "eth0"})
            await _until(lambda: history.revisions)
            nursery.cancel_scope.cancel()
        assert history.error is None
        assert len(list(store.current())) == 1


async def _until(holds: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.005)
