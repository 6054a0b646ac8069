"""Counters over time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_netlink.metrics import NAMES, Sampler


def counters(**values: int) -> tuple[int, ...]:
    return tuple(values.get(name, 0) for name in NAMES)


def test_nothing_is_said_of_an_interface_that_counted_nothing() -> None:
    sampler = Sampler()
    assert sampler.sample(1000, {1: counters()}) == set()
    assert sampler.metrics == {}


def test_totals_first_then_what_was_added() -> None:
    sampler = Sampler()
    assert sampler.sample(1000, {1: counters(RxBytes=10, RxPackets=1)}) == {1}
    assert sampler.metrics[1] == {"Metric": {"RxBytes": 10, "RxPackets": 1, "Last": 1000}}
    assert sampler.sample(2000, {1: counters(RxBytes=10, RxPackets=1)}) == set()
    assert sampler.metrics[1]["Metric"]["Last"] == 1000
    assert sampler.sample(3000, {1: counters(RxBytes=15, RxPackets=1, TxErrors=2)}) == {1}
    assert sampler.metrics[1] == {
        "Metric": {"RxBytes": 15, "RxPackets": 1, "TxErrors": 2, "Last": 3000},
        "LastUpdateMetric": {"RxBytes": 5, "TxErrors": 2, "Start": 2000, "Last": 3000},
    }


def test_a_counter_that_was_reset_counts_from_zero() -> None:
    sampler = Sampler()
    sampler.sample(1000, {1: counters(RxBytes=100)})
    sampler.sample(2000, {1: counters(RxBytes=7)})
    assert sampler.metrics[1]["LastUpdateMetric"] == {"RxBytes": 7, "Start": 1000, "Last": 2000}


def test_a_new_interface_of_the_same_index_starts_afresh() -> None:
    sampler = Sampler()
    sampler.sample(1000, {1: counters(RxBytes=100)})
    sampler.forget(1)
    sampler.sample(2000, {1: counters(RxBytes=150)})
    assert sampler.metrics[1] == {"Metric": {"RxBytes": 150, "Last": 2000}}


@given(st.lists(st.tuples(*[st.integers(0, 50)] * len(NAMES)), min_size=1, max_size=6))
def test_what_was_added_adds_up_to_the_totals(steps: list[tuple[int, ...]]) -> None:
    sampler, totals, added = Sampler(), [0] * len(NAMES), dict.fromkeys(NAMES, 0)
    sampler.sample(0, {1: tuple(totals)})
    for number, step in enumerate(steps, 1):
        totals = [total + more for total, more in zip(totals, step, strict=True)]
        if sampler.sample(number, {1: tuple(totals)}):
            for name, value in sampler.metrics[1]["LastUpdateMetric"].items():
                if name in added:
                    added[name] += value
    assert list(added.values()) == totals
