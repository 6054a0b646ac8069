"""The rules and groups of a bridge, asked and followed in OpenFlow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import msgspec
import trio
import trio.lowlevel

from skydive_probe_ovsdb.address import Address, Certificates, connect
from skydive_probe_ovsdb.errors import BadAnswer
from skydive_probe_ovsdb.openflow import messages
from skydive_probe_ovsdb.openflow.ledger import BATCH, Ledger, name_of
from skydive_probe_ovsdb.openflow.messages import RawRule
from skydive_probe_ovsdb.openflow.wire import (
    ERROR,
    OF11,
    OF12,
    REQUEST_FORWARD,
    SET_ASYNC,
    VERSIONS,
    Connection,
    Message,
    error_text,
)

POLL_SECONDS = 10.0
"""Counters, and groups, are asked for after so long."""
UNMONITORED_SECONDS = 1.0
"""The same for rules where the bridge offers no flow monitor."""
SOON_SECONDS: Final = 1.0
"""After a change the rest of what a rule has (flags, counters), which its announcement lacks, is asked for so soon."""
_SHARE: Final = 20
"""Between two polls lies at least so many times what the last one took."""

_RawKey = tuple[int, int, bytes]


@attrs.define(eq=False)
class _Known:
    name: str
    rule: RawRule
    metrics: dict[str, Any]
    sampled_at: int = 0


class NativeBridge:
    """Keeps two ledgers equal to a bridge; what it knows outlives connections."""

    def __init__(
        self, address: Address, certificates: Certificates, versions: Sequence[str], rules: Ledger, groups: Ledger
    ) -> None:
        self._address = address
        self._certificates = certificates
        self._versions = versions
        self._rules = rules
        self._groups = groups
        self._known: dict[_RawKey, _Known] = {}
        self._version = 0

    async def follow(self, report: Callable[[str], None]) -> None:
        """One connection, until it is lost (SourceLost); ``report`` is told how it is going."""
        stream = await connect(self._address, self._certificates)
        try:
            connection = Connection(stream)
            await connection.agree(self._versions)
            if connection.version != self._version:
                # The same rules have other bytes.
                self._known, self._version = {}, connection.version
            async with trio.open_nursery() as nursery:
                session = _Session(self, connection, report)
                nursery.start_soon(session.poll)
                await session.read()
        finally:
            await trio.aclose_forcefully(stream)

    # ------------------------------------------------------------------ what the bridge tells

    def changed(self, changes: Sequence[messages.Change]) -> None:
        """Take in what the flow monitor tells."""
        put: dict[str, dict[str, Any]] = {}
        gone: set[str] = set()
        for change in changes:
            key = _raw_key(change.rule)
            known = self._known.get(key)
            if change.deleted:
                if known is not None:
                    del self._known[key]
                    put.pop(known.name, None)
                    gone.add(known.name)
                continue
            rule = change.rule
            if known is None:
                known = self._known[key] = self._new(rule)
            else:
                before = known.rule
                known.rule = attrs.evolve(rule, flags=before.flags, importance=before.importance)
            gone.discard(known.name)
            put[known.name] = self._metadata(known)
        if put:
            self._rules.put(put)
        if gone:
            self._rules.drop(gone)

    async def all_rules(self, rules: Sequence[RawRule], now: int) -> None:
        """These are all rules of the bridge."""
        present: dict[_RawKey, _Known] = {}
        put: dict[str, dict[str, Any]] = {}
        for index, rule in enumerate(rules):
            key = _raw_key(rule)
            known = self._known.get(key)
            if known is None:
                known = self._new(rule)
                self._sample(known, None, rule, now)
                put[known.name] = self._metadata(known)
            else:
                before, known.rule = known.rule, rule
                counted = self._sample(known, before, rule, now)
                if counted or _differs(before, rule):
                    put[known.name] = self._metadata(known)
            present[key] = known
            if index % BATCH == BATCH - 1:
                self._rules.put(put)
                put = {}
                await trio.lowlevel.checkpoint()
        self._rules.put(put)
        self._known = present
        await self._rules.keep_only({known.name for known in present.values()})

    async def all_groups(self, groups: dict[int, dict[str, Any]]) -> None:
        """These are all groups of the bridge."""
        await self._groups.replace({str(id): {**group, "Metric": {}} for id, group in groups.items()})

    def summary(self) -> str:
        word = next(name for name, number in VERSIONS.items() if number == self._version)
        return f"{word}: {len(self._rules)} rules, {len(self._groups)} groups"

    # ------------------------------------------------------------------ one rule

    def _new(self, rule: RawRule) -> _Known:
        filters = msgspec.json.encode(messages.filters(self._version, rule), order="sorted").decode()
        return _Known(name_of(rule.table, rule.priority, filters), rule, {})

    def _sample(self, known: _Known, before: RawRule | None, rule: RawRule, now: int) -> bool:
        """Whether the counters moved."""
        start, known.sampled_at = known.sampled_at, now
        if before is not None and (before.packets, before.octets) == (rule.packets, rule.octets):
            return False
        metric = _metric(rule.packets, rule.octets)
        if not metric:
            counted, known.metrics = bool(known.metrics), {}
            return counted
        known.metrics = {"Metric": {**metric, "Last": now}}
        if before is not None and before.packets >= 0 and start:
            added = _metric(rule.packets - before.packets, rule.octets - before.octets)
            known.metrics["LastUpdateMetric"] = {**added, "Start": start, "Last": now}
        return True

    def _metadata(self, known: _Known) -> dict[str, Any]:
        rule = known.rule
        found: dict[str, Any] = {
            "Cookie": f"0x{rule.cookie:x}",
            "Table": rule.table,
            "Priority": rule.priority,
            "Filters": messages.filters(self._version, rule),
            **messages.doing(self._version, rule),
            **known.metrics,
        }
        for name, value in (
            ("IdleTimeout", rule.idle),
            ("HardTimeout", rule.hard),
            ("Importance", rule.importance),
            ("Flags", messages.flags(rule.flags)),
        ):
            if value:
                found[name] = value
        return found


class _Session:
    """One connection: asks from time to time, and reads what comes."""

    def __init__(self, bridge: NativeBridge, connection: Connection, report: Callable[[str], None]) -> None:
        self._bridge = bridge
        self._connection = connection
        self._report = report
        self._wake = trio.Event()
        self._poll_at = 0.0
        self._last_poll = 0.0
        self._took = 0.0
        self._rules: list[RawRule] = []
        self._groups: dict[int, dict[str, Any]] = {}
        self._monitor = 0
        self._monitored = False
        self._asked_at = 0.0

    async def poll(self) -> None:
        version = self._connection.version
        configuration = messages.asynchronous(version)
        if configuration is not None:
            await self._connection.request(SET_ASYNC, configuration)
        # First the monitor, then all rules: what changes in between is told twice rather than never.
        self._monitored = True
        self._monitor = await self._connection.ask(*messages.monitor_request(version))
        groups = messages.group_request(version)
        while True:
            self._asked_at = trio.current_time()
            await self._connection.ask(*messages.flow_request(version))
            if groups is not None:
                await self._connection.ask(*groups)
            self._poll_at = self._asked_at + (POLL_SECONDS if self._monitored else UNMONITORED_SECONDS)
            while (wait := self._poll_at - trio.current_time()) > 0:
                self._wake = trio.Event()
                with trio.move_on_after(wait):
                    await self._wake.wait()

    def _soon(self, seconds: float = SOON_SECONDS) -> None:
        at = max(trio.current_time() + seconds, self._asked_at + _SHARE * self._took)
        if at < self._poll_at:
            self._poll_at = at
            self._wake.set()

    async def read(self) -> None:
        while True:
            message = await self._connection.next()
            if message.type == ERROR:
                self._refused(message)
            elif message.type == REQUEST_FORWARD:
                self._soon()
            elif (part := self._connection.part(message)) is not None:
                await self._take(part.kind, part.body, more=part.more)

    def _refused(self, message: Message) -> None:
        if message.xid == self._monitor and self._monitored:
            self._monitored = False
            self._report(
                f"no flow monitor ({error_text(message)}); rules are asked for every {UNMONITORED_SECONDS:g} s"
            )
            self._poll_at = min(self._poll_at, trio.current_time() + UNMONITORED_SECONDS)
            self._wake.set()
        elif len(message.body) >= 4 and message.body[:2] == b"\0\0":
            raise BadAnswer(f"the bridge refuses to talk: {error_text(message)}")

    async def _take(self, kind: int, body: bytes, *, more: bool) -> None:
        version = self._connection.version
        changes = messages.changes_of(version, kind, body)
        if changes is not None:
            if changes:
                self._bridge.changed(changes)
                self._report(self._bridge.summary())
                self._soon()
            elif version in (OF11, OF12):
                self._soon(0.0)
            return
        part = messages.rules_of(version, kind, body)
        if part is not None:
            self._rules += part
            if not more:
                began = trio.current_time()
                rules, self._rules = self._rules, []
                await self._bridge.all_rules(rules, time.time_ns() // 1_000_000)
                self._took = trio.current_time() - began
                self._report(self._bridge.summary())
            return
        groups = messages.groups_of(version, kind, body)
        if groups is not None:
            self._groups |= groups
            if not more:
                found, self._groups = self._groups, {}
                await self._bridge.all_groups(found)
                self._report(self._bridge.summary())


def _raw_key(rule: RawRule) -> _RawKey:
    return rule.table, rule.priority, rule.match


def _differs(before: RawRule, now: RawRule) -> bool:
    return (before.doing, before.cookie, before.idle, before.hard, before.flags, before.importance) != (
        now.doing,
        now.cookie,
        now.idle,
        now.hard,
        now.flags,
        now.importance,
    )


def _metric(packets: int, octets: int) -> dict[str, int]:
    return {name: value for name, value in (("RxPackets", packets), ("RxBytes", octets)) if value > 0}
