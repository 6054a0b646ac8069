"""Many revisions of one element in few bytes: the form in which compacted history is kept.

A block holds consecutive revisions of one element.  It is cut into *runs*: the first revision of a run is kept as its
JSON, and those after it differ from the first in UpdatedAt, Revision and the values of ``Metric`` and
``LastUpdateMetric`` alone; of them only these are kept, in columns.  Runs and columns are two byte strings, so that the
columns can be dropped and the runs stay readable.  Both are MessagePack, compressed by zlib.

A revision follows its run only if putting it together again gave the very bytes, so whatever the JSON is, it comes
back as it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

import attrs
import msgspec

from skycore.graph.element import Revision, metadata_parts, revision_from_json
from skycore.graph.past import since_of

SERIES_KEYS: Final = ("LastUpdateMetric", "Metric")
"""The metadata keys that are kept as time series, in the order of canonical JSON."""

_MOST: Final = 1 << 62
_LEVEL: Final = 6
_encode_owners = msgspec.json.Encoder().encode
_decode_owners = msgspec.json.Decoder(list[str]).decode
_quote = msgspec.json.Encoder().encode
_encode_counters = msgspec.json.Encoder(order="deterministic").encode
_decode_counters = msgspec.json.Decoder(dict[str, int]).decode
_pack = msgspec.msgpack.Encoder().encode


class _Measured(msgspec.Struct, gc=False):
    """The values of the series keys, as they stand in the JSON."""

    last: msgspec.Raw = msgspec.field(name=SERIES_KEYS[0], default_factory=msgspec.Raw)
    metric: msgspec.Raw = msgspec.field(name=SERIES_KEYS[1], default_factory=msgspec.Raw)


class _Run(msgspec.Struct, array_like=True, gc=False):
    """The first revision of a run; ``cuts`` are the places in its JSON of the values of SERIES_KEYS (0, 0: none)."""

    since: int
    owners: bytes
    json: bytes
    cuts: tuple[int, int, int, int]


class _Table(msgspec.Struct, array_like=True, gc=False):
    """The values of a key over a run: columns of counters, one for each of ``names``, or else JSON as it was.

    ``steps``: the columns hold differences to the value before.  ``sparse``: a counter of zero is not in the JSON.
    """

    names: list[str]
    columns: list[list[int]]
    raw: list[bytes]
    steps: bool
    sparse: bool


class _Series(msgspec.Struct, array_like=True, gc=False):
    """What follows the first revision of run number ``run``; revisions and times as differences."""

    run: int
    revisions: list[int]
    times: list[int]
    values: tuple[_Table, _Table]


_unpack_runs = msgspec.msgpack.Decoder(list[_Run]).decode
_unpack_times = msgspec.msgpack.Decoder(list[int]).decode
_unpack_series = msgspec.msgpack.Decoder(list[_Series]).decode
_decode_measured = msgspec.json.Decoder(_Measured).decode


@attrs.frozen
class Block:
    """Consecutive revisions of one element, compressed; ``measured`` of ``revisions`` are in ``series`` alone.

    ``times`` tells when each revision began; see ``changed_within``.
    """

    first: int
    last: int
    start: int
    finish: int
    revisions: int
    measured: int
    times: bytes
    runs: bytes
    series: bytes | None


@lru_cache(maxsize=4096)
def owners_of(text: bytes) -> tuple[str, ...]:
    """The owners that a list in JSON names."""
    return tuple(_decode_owners(text))


def encode_block(revisions: Sequence[Revision]) -> Block:
    """Compress revisions of one element as a store gives them, in ascending order; at least one."""
    runs: list[_Run] = []
    followers: list[list[tuple[Revision, bytes, bytes]]] = []
    first: Revision | None = None
    for revision in revisions:
        measured = _follows(first, runs[-1].cuts, revision) if first is not None else None
        if measured is not None:
            followers[-1].append((revision, *measured))
            continue
        first = revision
        runs.append(_Run(since_of(revision), _encode_owners(revision.owners), revision.json, _cuts(revision)))
        followers.append([])
    series = [_series(number, runs[number], part) for number, part in enumerate(followers) if part]
    sinces = [since_of(revision) for revision in revisions]
    return Block(
        first=revisions[0].revision,
        last=revisions[-1].revision,
        start=min(sinces),
        finish=max(sinces),
        revisions=len(revisions),
        measured=len(revisions) - len(runs),
        times=_pack([sinces[0], *_differences(sinces)]),
        runs=zlib.compress(_pack(runs), _LEVEL),
        series=zlib.compress(_pack(series), _LEVEL) if series else None,
    )


def changed_within(times: bytes, start: int, end: int) -> bool:
    """Whether a revision of the block began in ]start, end].  Raises ValueError when the bytes are damaged."""
    with _Damage():
        return any(start < since <= end for since in accumulate(_unpack_times(times)))


def decode_block(runs: bytes, series: bytes | None) -> list[Revision]:
    """All revisions of a block, lowest first.  Raises ValueError when the bytes are damaged."""
    found: list[Revision] = []
    with _Damage():
        later = {part.run: part for part in _series_of(series)}
        for number, run in enumerate(_unpack_runs(zlib.decompress(runs))):
            first = revision_from_json(run.json, owners=owners_of(run.owners))
            found.append(first)
            if number in later:
                found.extend(_unfold(first, run, later[number]))
    return found


def states_of_block(runs: bytes, series: bytes | None) -> list[Revision]:
    """The first revision of each run, lowest first; where a clock was set back within the block: all revisions.

    Raises ValueError when the bytes are damaged.
    """
    with _Damage():
        for part in _series_of(series):
            if min(part.times, default=0) < 0:
                return decode_block(runs, series)
        unpacked = _unpack_runs(zlib.decompress(runs))
        return [revision_from_json(run.json, owners=owners_of(run.owners)) for run in unpacked]


def last_of_block(runs: bytes, series: bytes | None, at: int) -> Revision | None:
    """The highest revision of a block whose time is not later than ``at``.

    Raises ValueError when the bytes are damaged.
    """
    with _Damage():
        later = {part.run: part for part in _series_of(series)}
        unpacked = _unpack_runs(zlib.decompress(runs))
        for number in range(len(unpacked) - 1, -1, -1):
            run = unpacked[number]
            part = later.get(number)
            if part is not None:
                first = revision_from_json(run.json, owners=owners_of(run.owners))
                times = list(accumulate(part.times, initial=first.updated_at))
                for index in range(len(times) - 1, 0, -1):
                    if max(times[index], first.created_at) <= at:
                        revision = first.revision + sum(part.revisions[:index])
                        values = [_value(table, index - 1) for table in part.values]
                        return _rebuild(first, run.cuts, revision, times[index], *values)
            if run.since <= at:
                return revision_from_json(run.json, owners=owners_of(run.owners))
    return None


class _Damage:
    """Whatever damaged bytes lead to becomes a ValueError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, zlib.error | msgspec.MsgspecError | IndexError | OverflowError | MemoryError):
            raise ValueError(f"a compressed block is damaged: {error}") from error


def _series_of(series: bytes | None) -> list[_Series]:
    return [] if series is None else _unpack_series(zlib.decompress(series))


# Encoding


def _cuts(revision: Revision) -> tuple[int, int, int, int]:
    """Where the values of SERIES_KEYS stand in a revision's JSON, if it is canonical."""
    cuts = [0, 0, 0, 0]
    place = revision.metadata_start + 1
    for key, value in metadata_parts(revision.metadata_json).items():
        place += len(_quote(key)) + 1
        if key in SERIES_KEYS:
            number = SERIES_KEYS.index(key)
            cuts[2 * number : 2 * number + 2] = place, place + len(value)
        place += len(value) + 1
    if (cuts[0] and cuts[2] and cuts[0] > cuts[2]) or max(cuts) > len(revision.json):
        return (0, 0, 0, 0)
    return cuts[0], cuts[1], cuts[2], cuts[3]


def _follows(first: Revision, cuts: tuple[int, int, int, int], revision: Revision) -> tuple[bytes, bytes] | None:
    """The values of SERIES_KEYS, if the revision is its run's first one but for them; else None."""
    if first.owners != revision.owners or first.deleted_at is not None or not any(cuts):
        return None
    measured = _decode_measured(revision.metadata_json)
    values = bytes(measured.last), bytes(measured.metric)
    if bool(cuts[1]) != bool(values[0]) or bool(cuts[3]) != bool(values[1]):
        return None
    again = _rebuild(first, cuts, revision.revision, revision.updated_at, *values)
    return values if again == revision else None


def _series(number: int, run: _Run, followers: list[tuple[Revision, bytes, bytes]]) -> _Series:
    first = revision_from_json(run.json)
    revisions = [first.revision, *(revision.revision for revision, _, _ in followers)]
    times = [first.updated_at, *(revision.updated_at for revision, _, _ in followers)]
    return _Series(
        number,
        _differences(revisions),
        _differences(times),
        (_table([last for _, last, _ in followers], False), _table([metric for _, _, metric in followers], True)),
    )


def _differences(values: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(values)]


def _table(raw: list[bytes], steps: bool) -> _Table:
    """Columns where they say the same as the JSON; ``steps`` for counters that grow."""
    as_it_was = _Table([], [], raw, steps, False)
    try:
        counters = [_decode_counters(value) for value in raw]
    except msgspec.MsgspecError:
        return as_it_was
    names = sorted({name for row in counters for name in row})
    sparse = any(len(row) != len(names) for row in counters)
    columns = [[row.get(name, 0) for row in counters] for name in names]
    if any(not -_MOST < value < _MOST for column in columns for value in column):
        return as_it_was
    if steps:
        columns = [_differences([0, *column]) for column in columns]
    table = _Table(names, columns, [], steps, sparse)
    return table if [_value(table, index) for index in range(len(raw))] == raw else as_it_was


# Decoding


def _value(table: _Table, index: int) -> bytes:
    if table.raw:
        return table.raw[index]
    if table.steps:
        row = [sum(column[: index + 1]) for column in table.columns]
    else:
        row = [column[index] for column in table.columns]
    return _counters(table, row)


def _counters(table: _Table, row: Sequence[int]) -> bytes:
    if table.sparse:
        return _encode_counters({name: value for name, value in zip(table.names, row, strict=True) if value})
    return _encode_counters(dict(zip(table.names, row, strict=True)))


def _values(table: _Table, count: int) -> Iterator[bytes]:
    if table.raw:
        return iter(table.raw)
    if not table.names:
        return iter([_counters(table, ())] * count)
    columns = [list(accumulate(column)) if table.steps else column for column in table.columns]
    return (_counters(table, row) for row in zip(*columns, strict=True))


def _unfold(first: Revision, run: _Run, part: _Series) -> Iterator[Revision]:
    revisions = list(accumulate(part.revisions, initial=first.revision))
    times = list(accumulate(part.times, initial=first.updated_at))
    count = len(part.times)
    values = zip(_values(part.values[0], count), _values(part.values[1], count), strict=True)
    for revision, updated_at, (last, metric) in zip(revisions[1:], times[1:], values, strict=True):
        yield _rebuild(first, run.cuts, revision, updated_at, last, metric)


def _rebuild(
    first: Revision, cuts: tuple[int, int, int, int], revision: int, updated_at: int, last: bytes, metric: bytes
) -> Revision:
    """The first revision of a run with another number, time, and values of SERIES_KEYS where it has them."""
    json = first.json
    head = json[: json.index(b'"UpdatedAt":')]
    ends = b"" if first.parent is None else json[json.index(b'"Parent":') : first.metadata_start - 11]
    start = b'%b"UpdatedAt":%d,"DeletedAt":null,"Revision":%d,%b"Metadata":' % (head, updated_at, revision, ends)
    place = first.metadata_start
    pieces = [start]
    if cuts[1]:
        pieces += [json[place : cuts[0]], last]
        place = cuts[1]
    if cuts[3]:
        pieces += [json[place : cuts[2]], metric]
        place = cuts[3]
    pieces.append(json[place:])
    return Revision(
        first.id, b"".join(pieces), len(start), revision, first.host, first.origin, first.created_at, updated_at,
        None, first.parent, first.child, 0, first.owners,
    )  # fmt: skip
