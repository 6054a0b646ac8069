"""Top talkers: what was sent, added up by minute, and by address, pair of addresses, application and place.

Each measurement of a flow is noted once, in the commit that brings it first; the notes of a minute that is over are
added up.  Packets seen at several places are counted at each.  A sum over all places would count them twice, so of the
whole network a minute says what the place saw that saw the most of a talker.  Of a minute the largest stay, by bytes
and by packets: ``KEPT`` of the whole network, and ``KEPT_AT_PLACE`` of each place; so an hour is small, however many
flows it had.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from operator import add
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from skycore.flow.query import FlowSpan
from skycore.storage.flow_rows import Counted

By: TypeAlias = Literal["address", "pair", "application", "node"]
Measure: TypeAlias = Literal["bytes", "packets"]

KEPT: Final = 200
KEPT_AT_PLACE: Final = 50
_MINUTE: Final = 60_000
_LONG: Final = 2 * _MINUTE
_PARTS: Final = 1440
_CODES: Final[dict[str, int]] = {name: code for code, name in enumerate(get_args(By))}
_ADDRESS, _PAIR, _APPLICATION, _NODE = _CODES.values()
_WHOLE: Final = len(_CODES)

TABLES: Final = (
    # The rows of the whole network have a kind of their own, and "" as node.
    """CREATE TABLE talk (
        kind INTEGER NOT NULL, node TEXT NOT NULL, minute INTEGER NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL,
        place TEXT NOT NULL,
        ab_bytes INTEGER NOT NULL, ba_bytes INTEGER NOT NULL, ab_packets INTEGER NOT NULL, ba_packets INTEGER NOT NULL,
        PRIMARY KEY (kind, node, minute, a, b)
    ) WITHOUT ROWID""",
    "CREATE INDEX talk_minute ON talk (minute)",
    # What has not been added up yet; written in order, so that it costs next to nothing.
    """CREATE TABLE talk_log (
        minute INTEGER NOT NULL, node TEXT NOT NULL, inner INTEGER NOT NULL, application TEXT NOT NULL,
        a TEXT NOT NULL, b TEXT NOT NULL,
        ab_bytes INTEGER NOT NULL, ba_bytes INTEGER NOT NULL, ab_packets INTEGER NOT NULL, ba_packets INTEGER NOT NULL
    )""",
    "CREATE INDEX talk_log_minute ON talk_log (minute)",
)
_SUMS: Final = "sum(ab_bytes), sum(ba_bytes), sum(ab_packets), sum(ba_packets)"
_TURNED: Final = "sum(ba_bytes), sum(ab_bytes), sum(ba_packets), sum(ab_packets)"
_MINUTES: Final = "FROM talk_log WHERE minute BETWEEN ?1 AND ?2"
_ENDS: Final = "(a, b) != ('', '')"
_NOTED: Final[dict[int, str]] = {
    _ADDRESS: f"""
        SELECT minute, node, a, '', {_SUMS} {_MINUTES} AND {_ENDS} GROUP BY minute, node, a
        UNION ALL
        SELECT minute, node, b, '', {_TURNED} {_MINUTES} AND {_ENDS} AND a != b GROUP BY minute, node, b
    """,
    _PAIR: f"""
        SELECT minute, node, a, b, {_SUMS} {_MINUTES} AND {_ENDS} GROUP BY minute, node, a, b
    """,
    _APPLICATION: f"""
        SELECT minute, node, application, '', {_SUMS} {_MINUTES} GROUP BY minute, node, application
    """,
    # What is inside a tunnel is counted with the packets around it.
    _NODE: f"""
        SELECT minute, node, node, '', {_SUMS} {_MINUTES} AND NOT inner GROUP BY minute, node
    """,
}
"""What the notes of the minutes ?1 to ?2 come to: minute, place, a, b, sums; an address may come twice."""
_NOTE: Final = "INSERT INTO talk_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT: Final = "INSERT INTO talk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_MINUTE: Final = """
SELECT place, a, b, ab_bytes, ba_bytes, ab_packets, ba_packets
FROM talk WHERE minute = ? AND kind IN (?, ?) ORDER BY kind DESC
"""

Key: TypeAlias = tuple[str, str]
Sums: TypeAlias = tuple[int, int, int, int]
"""Bytes from a to b and back, packets from a to b and back."""


class Talker(msgspec.Struct, frozen=True):
    """What one talker sent in a span.

    ``A``: the address, application or TID; ``B``: of a pair the other address, else "".  ``AB…``: what A sent, of an
    application or place what went from the lower address to the higher; ``BA…`` the other way.  ``Node``: the TID of
    the place that saw the most of it, of ``Nodes`` that did so in some minute.
    """

    A: str
    B: str
    ABBytes: int
    BABytes: int
    ABPackets: int
    BAPackets: int
    Node: str
    Nodes: int


class Talkers(msgspec.Struct, frozen=True):
    """The largest talkers; ``Total`` is what the place that saw the most saw of all, those left out too.

    ``Start``, ``Last``: the whole minutes that were added up, ms since the epoch.
    """

    By: str
    Start: int
    Last: int
    Total: int
    Talkers: list[Talker]


def note(connection: sqlite3.Connection, counted: Iterable[Counted]) -> None:
    """Note measurements that are new, inside the transaction that keeps them."""
    notes = []
    for one in counted:
        inner, a, b = one.parent != "", one.a, one.b
        for minute, ab, ba, ab_packets, ba_packets in _minutes(one):
            if a <= b:
                notes.append((minute, one.node, inner, one.application, a, b, ab, ba, ab_packets, ba_packets))
            else:
                notes.append((minute, one.node, inner, one.application, b, a, ba, ab, ba_packets, ab_packets))
    connection.executemany(_NOTE, notes)


def _minutes(one: Counted) -> Iterator[tuple[int, int, int, int, int]]:
    """(minute, bytes and packets): an update tick's in that of its end; those of a longer time are spread over it."""
    last = one.last // _MINUTE
    values = one.ab_bytes, one.ba_bytes, one.ab_packets, one.ba_packets
    if one.last - one.start <= _LONG:
        yield last, *values
        return
    count = min(last - one.start // _MINUTE + 1, _PARTS)
    for number in range(count):
        ab, ba, ab_packets, ba_packets = (value * (number + 1) // count - value * number // count for value in values)
        if ab or ba or ab_packets or ba_packets:
            yield last - count + 1 + number, ab, ba, ab_packets, ba_packets


def add_up(connection: sqlite3.Connection, before_ms: int) -> bool:
    """Add up the notes of one minute that ended before a time, in a transaction; False when there is none.

    A minute of which notes come late is added up again, with what was kept of it.
    """
    found = connection.execute("SELECT min(minute) FROM talk_log").fetchone()[0]
    if found is None or (found + 1) * _MINUTE > before_ms:
        return False
    for kind, noted in _NOTED.items():
        places: dict[str, dict[Key, Sums]] = {}
        for place, a, b, *sums in connection.execute(_OF_MINUTE, (found, kind, kind + _WHOLE)):
            # Those of places come last, and say the same of what is among those of the whole network.
            places.setdefault(place, {})[a, b] = tuple(sums)
        for _, place, a, b, *sums in connection.execute(noted, (found, found)):
            there = places.setdefault(place, {})
            known = there.get((a, b))
            there[a, b] = tuple(sums) if known is None else tuple(map(add, known, sums))
        connection.execute("DELETE FROM talk WHERE minute = ? AND kind IN (?, ?)", (found, kind, kind + _WHOLE))
        anywhere: dict[Key, tuple[Sums, str]] = {}
        for place, there in places.items():
            rows = [(kind, place, found, *key, place, *there[key]) for key in _largest(there, KEPT_AT_PLACE)]
            connection.executemany(_PUT, rows)
            for key, sums in there.items():
                most = anywhere.get(key)
                if most is None or sums[0] + sums[1] > most[0][0] + most[0][1]:
                    anywhere[key] = sums, place
        largest = _largest({key: sums for key, (sums, _) in anywhere.items()}, KEPT)
        rows = [(kind + _WHOLE, "", found, *key, anywhere[key][1], *anywhere[key][0]) for key in largest]
        connection.executemany(_PUT, rows)
    connection.execute("DELETE FROM talk_log WHERE minute = ?", (found,))
    return True


def _largest(found: Mapping[Key, Sums], most: int) -> set[Key]:
    if len(found) <= most:
        return set(found)
    by_bytes = nlargest(most, found, key=lambda key: found[key][0] + found[key][1])
    return {*by_bytes, *nlargest(most, found, key=lambda key: found[key][2] + found[key][3])}


def remove(connection: sqlite3.Connection, before_ms: int, most: int) -> int:
    """Remove up to ``most`` sums of minutes that ended before a time; returns how many."""
    return connection.execute(
        "DELETE FROM talk WHERE (kind, node, minute, a, b) IN "
        "(SELECT kind, node, minute, a, b FROM talk WHERE minute < ? ORDER BY minute LIMIT ?)",
        (before_ms // _MINUTE, most),
    ).rowcount


def top(
    connection: sqlite3.Connection, span: FlowSpan, by: By, limit: int, *, measure: Measure, node: str | None
) -> Talkers:
    """The ``limit`` largest talkers of a span, in whole minutes; of one place, or of all."""
    first, last = span.since_ms // _MINUTE, span.until_ms // _MINUTE
    whole = _WHOLE if node is None else 0
    size = "sum(ab_bytes + ba_bytes)" if measure == "bytes" else "sum(ab_packets + ba_packets)"
    rows = connection.execute(
        f"""{_every(by, node)} SELECT a, b, {_SUMS}, place, count(DISTINCT place), max(ab_bytes + ba_bytes)
        FROM every WHERE {_ENDS} GROUP BY a, b ORDER BY {size} DESC, a, b LIMIT ?5""",
        (first, last, _CODES[by] + whole, node, limit),
    ).fetchall()
    (total,) = connection.execute(
        f"{_every('node', node)} SELECT ifnull(max(total), 0) FROM (SELECT {size} AS total FROM every GROUP BY a)",
        (first, last, _NODE + whole, node),
    ).fetchone()
    found = [Talker(*row[:8]) for row in rows]
    return Talkers(by, first * _MINUTE, (last + 1) * _MINUTE - 1, total, found)


def _every(by: By, node: str | None) -> str:
    """The sums by minute from ?1 to ?2 of kind ?3, of place ?4 or of the whole network; those only noted yet, too."""
    whole = "SELECT minute, place, a, b, {} FROM noted GROUP BY minute, place, a, b".format(
        "sum(x) AS ab_bytes, sum(y) AS ba_bytes, sum(p) AS ab_packets, sum(q) AS ba_packets"
    )
    columns = "place, a, b, ab_bytes, ba_bytes, ab_packets, ba_packets"
    chosen = (
        f"SELECT {columns} FROM (SELECT *, max(ab_bytes + ba_bytes) FROM summed GROUP BY minute, a, b)"
        if node is None
        else f"SELECT {columns} FROM summed WHERE place = ?4"
    )
    return f"""
        WITH noted (minute, place, a, b, x, y, p, q) AS ({_NOTED[_CODES[by]]}),
        summed AS ({whole}),
        every AS (
            SELECT {columns} FROM talk WHERE kind = ?3 AND node = ifnull(?4, '') AND minute BETWEEN ?1 AND ?2
            UNION ALL {chosen}
        )
    """
