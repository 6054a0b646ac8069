"""Gaps, those of agents and those of this process, as status shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from skycore.errors import HistoryUnavailable
from skycore.graph.graph import Graph
from skycore.storage.absent import AbsentStore
from skycore.storage.contract import Gap, Mark
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper


async def test_gaps_are_counted_and_the_latest_kept(tmp_path: Path) -> None:
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(tmp_path)))
    store.open()
    keeper = HistoryKeeper(Graph(host="h", origin="analyzer.h", with_tids=False), store)
    gaps = [Gap("agent.one", number, number + 1, number) for number in range(40)]
    keeper.put(*gaps)
    assert (keeper.gaps, list(keeper.latest_gaps)) == (0, []), "what is not committed is not known to history"
    await keeper.flush()
    assert keeper.gaps == 40
    assert list(keeper.latest_gaps) == gaps[-32:]
    assert store.gaps(0, 100) == gaps
    store.close()


async def test_without_a_store_nothing_waits_for_ever_to_be_committed() -> None:
    keeper = HistoryKeeper(Graph(host="h", origin="analyzer.h", with_tids=False), AbsentStore("the disk is gone"))
    for number in range(1000):
        keeper.put(Mark("agent.one", number, 1), Gap("agent.one", 1, 2, 3))
    assert keeper.backlog == 0
    keeper.graph.claimant("agent.one").put("n", {})
    await keeper.flush()
    assert keeper.error is not None
    assert "the disk is gone; when that is put right, restart the analyzer" in keeper.error
    with pytest.raises(HistoryUnavailable, match="runs without history: the disk is gone"):
        keeper.store.graph_at(1)
