"""Interface counters of the database, in the words of the graph's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from skydive_probe_ovsdb.schema import Value

# ovs-vswitchd.conf.db(5), Interface TABLE, Statistics
COUNTERS: Final[Mapping[str, str]] = {
    "rx_packets": "RxPackets",
    "tx_packets": "TxPackets",
    "rx_bytes": "RxBytes",
    "tx_bytes": "TxBytes",
    "rx_errors": "RxErrors",
    "tx_errors": "TxErrors",
    "rx_dropped": "RxDropped",
    "tx_dropped": "TxDropped",
    "rx_multicast_packets": "Multicast",
    "collisions": "Collisions",
    "rx_over_err": "RxOverErrors",
    "rx_crc_err": "RxCrcErrors",
    "rx_frame_err": "RxFrameErrors",
    "rx_missed_errors": "RxMissedErrors",
}


class Sampler:
    """The metrics of each interface (by UUID): running totals, and what the last change added.

    Zero counters are left out; times are milliseconds since the epoch.
    """

    def __init__(self) -> None:
        self._counters: dict[str, dict[str, int]] = {}
        self._metrics: dict[str, dict[str, Any]] = {}
        self._at: dict[str, int] = {}

    def update(self, uuid: str, statistics: Value, now: int) -> dict[str, Any]:
        """``Metric`` and ``LastUpdateMetric`` after the database said these counters."""
        if not isinstance(statistics, dict):
            return self._metrics.get(uuid, {})
        counters = {
            name: value for key, name in COUNTERS.items() if isinstance(value := statistics.get(key), int) and value > 0
        }
        before = self._counters.get(uuid)
        if counters == before:
            return self._metrics[uuid]
        metrics: dict[str, Any] = {"Metric": {**counters, "Last": now}} if counters else {}
        if before is not None and counters:
            added = {name: _added(before.get(name, 0), value) for name, value in counters.items()}
            metrics["LastUpdateMetric"] = {
                **{name: value for name, value in added.items() if value},
                "Start": self._at[uuid],
                "Last": now,
            }
        self._counters[uuid], self._metrics[uuid], self._at[uuid] = counters, metrics, now
        return metrics

    def forget(self, uuid: str) -> None:
        """The interface is gone."""
        for table in (self._counters, self._metrics, self._at):
            table.pop(uuid, None)


def _added(old: int, new: int) -> int:
    # A counter that went back was reset and has counted from zero since.
    return new - old if new >= old else new
