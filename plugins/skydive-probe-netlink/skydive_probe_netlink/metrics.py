"""Interface counters over time: running totals and what was added since the sample before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from skydive_probe_netlink.codec import COUNTERS

# linux/if_link.h, struct rtnl_link_stats64, in its order
NAMES: Final = (
    "RxPackets",
    "TxPackets",
    "RxBytes",
    "TxBytes",
    "RxErrors",
    "TxErrors",
    "RxDropped",
    "TxDropped",
    "Multicast",
    "Collisions",
    "RxLengthErrors",
    "RxOverErrors",
    "RxCrcErrors",
    "RxFrameErrors",
    "RxFifoErrors",
    "RxMissedErrors",
    "TxAbortedErrors",
    "TxCarrierErrors",
    "TxFifoErrors",
    "TxHeartbeatErrors",
    "TxWindowErrors",
    "RxCompressed",
    "TxCompressed",
)
assert len(NAMES) == COUNTERS


class Sampler:
    """Remembers the last sample of each interface.

    ``metrics`` holds, for each interface that has counted anything, the metadata keys ``Metric`` and, from
    the first change after that on, ``LastUpdateMetric``.  Counters that are zero are left out; times are milliseconds
    since the epoch.
    """

    def __init__(self) -> None:
        self.metrics: dict[int, dict[str, Any]] = {}
        self._counters: dict[int, Sequence[int]] = {}
        self._sampled_at = 0

    def sample(self, now: int, counters: Mapping[int, Sequence[int]]) -> set[int]:
        """Take a sample of all interfaces (by ifindex); returns those whose metrics changed."""
        changed = {index for index, values in counters.items() if self._update(index, values, now)}
        self._sampled_at = now
        return changed

    def forget(self, index: int) -> None:
        """The interface is gone."""
        self._counters.pop(index, None)
        self.metrics.pop(index, None)

    def _update(self, index: int, values: Sequence[int], now: int) -> bool:
        before = self._counters.get(index)
        self._counters[index] = values
        if values == before or not any(values):
            return False
        metrics: dict[str, Any] = {"Metric": {**_named(values), "Last": now}}
        if before is not None:
            added = [_added(old, new) for old, new in zip(before, values, strict=True)]
            metrics["LastUpdateMetric"] = {**_named(added), "Start": self._sampled_at, "Last": now}
        self.metrics[index] = metrics
        return True


def _named(values: Sequence[int]) -> dict[str, int]:
    return {name: value for name, value in zip(NAMES, values, strict=True) if value}


def _added(old: int, new: int) -> int:
    # A counter that went back was reset, by its driver for instance, and has counted from zero since.
    return new - old if new >= old else new
