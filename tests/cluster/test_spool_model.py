"""The spool against a model: whatever happens to process and files, nothing is lost without being said."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skycore.cluster.segment import HEADER_BYTES
from skycore.cluster.spool import Entry, Lost, Reader, Spool, next_epoch

_MAX_BYTES = 3000
_SEGMENT_BYTES = 500
_Position = tuple[int, int]


@attrs.define
class _Batch:
    """A batch that was taken, and where its bytes ended up; ``name`` is None for one that was given up."""

    epoch: int
    first: int
    last: int
    at_ms: int
    payload: bytes
    name: str | None
    end: int
    damaged: bool = False


class SpoolMachine(RuleBasedStateMachine):
    """Readers are named a, b, c; ``acked`` is what the model thinks they acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.generation = 0
        self.folder = self.root / "0"
        self.batches: list[_Batch] = []
        self.acked: dict[str, _Position] = {}
        self.saved: dict[str, _Position] = {}
        self.now = 1000
        self.seq = 0

    @initialize()
    def begin(self) -> None:
        self._open()

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.root)

    def _open(self) -> None:
        self.now += 10
        epoch = next_epoch(self.folder, self.now)
        self.now = max(self.now, epoch)
        self.spool = Spool(self.folder, epoch, _MAX_BYTES, _SEGMENT_BYTES)
        self.seq = 0
        self.readers: dict[str, Reader] = {name: self.spool.reader(name) for name in self.acked}

    # What can be done

    @rule(count=st.integers(1, 4), size=st.integers(0, 250))
    def append(self, count: int, size: int) -> None:
        self.now += 1
        first, last = self.seq + 1, self.seq + count
        payload = b"%d" % self.now + bytes(size)
        before = {path.name: path.stat().st_size for path in self.folder.glob("*.spool")}
        self.spool.append(first, last, payload, start_ms=self.now, end_ms=self.now)
        after = {path.name: path.stat().st_size for path in self.folder.glob("*.spool")}
        assert sum(after.values()) <= _MAX_BYTES
        grown = [name for name in after if after[name] > before.get(name, 0)]
        assert len(grown) == 1
        dropped = sorted(set(before) - set(after))
        if dropped and any(self._needed(name) for name in dropped):
            # Nothing gave way that could have stayed: without the last to go it would not have fitted.
            assert sum(after.values()) + before[dropped[-1]] > _MAX_BYTES
        self.batches.append(_Batch(self.spool.epoch, first, last, self.now, payload, grown[0], after[grown[0]]))
        self.seq = last

    def _needed(self, name: str) -> bool:
        slowest = min(self.acked.values(), default=None)
        mine = [batch for batch in self.batches if batch.name == name]
        return slowest is not None and any((batch.epoch, batch.last) > slowest for batch in mine)

    @rule(count=st.integers(1, 4))
    def give_up(self, count: int) -> None:
        self.now += 1
        first, last = self.seq + 1, self.seq + count
        self.spool.lose(first, last, start_ms=self.now, end_ms=self.now)
        self.batches.append(_Batch(self.spool.epoch, first, last, self.now, b"", None, 0))
        self.seq = last

    @rule(name=st.sampled_from("abc"))
    def register(self, name: str) -> None:
        self.readers[name] = self.spool.reader(name)
        self.acked.setdefault(name, (self.spool.epoch, self.seq))

    @rule()
    def retain_one(self) -> None:
        names = sorted(self.acked)[:1]
        self.spool.retain(names)
        self.acked = {name: self.acked[name] for name in names}
        self.readers = {name: self.readers[name] for name in names}

    @precondition(lambda self: self.acked)
    @rule(data=st.data(), steps=st.integers(0, 12), back=st.integers(0, 2))
    def read_and_acknowledge(self, data: st.DataObject, steps: int, back: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.acked)))
        reader = self.readers[name]
        expected = self._expected(self.acked[name])
        for index in range(steps):
            found = reader.next()
            if found is None:
                break
            assert (found.epoch, found.last) == expected[index][1:4:2]
            position = (found.epoch, max(found.last - back, 0))
            reader.acknowledge(*position)
            self.acked[name] = max(self.acked[name], position)
        reader.rewind()

    @rule()
    def sync(self) -> None:
        self.spool.sync()

    # What can happen to it

    @rule(
        crash=st.booleans(),
        damage=st.sampled_from(["none", "none", "cut", "flip"]),
        where=st.integers(0, 1 << 30),
        which=st.integers(0, 100),
    )
    def open_again(self, crash: bool, damage: str, where: int, which: int) -> None:
        if crash:
            # What a killed process leaves: the files as they are, nothing written at the end.
            self.generation += 1
            left = self.root / str(self.generation)
            shutil.copytree(self.folder, left)
            self.spool.close()
            self.folder = left
        else:
            self.spool.close()
        epoch = self.spool.epoch
        paths = sorted(self.folder.glob("*.spool"))
        if damage != "none" and paths:
            path = paths[-1] if damage == "cut" else paths[which % len(paths)]
            content = bytearray(path.read_bytes())
            place = where % len(content)
            if damage == "cut":
                del content[place:]
            else:
                content[place] ^= 1 << where % 8
            path.write_bytes(content)
            for batch in self.batches:
                if batch.name == path.name and batch.end > place:
                    batch.damaged = True
        self._open()
        for name, reader in self.readers.items():
            # Acknowledgements since the last sync may be forgotten, never invented.
            assert reader.acknowledged <= self.acked[name]
            assert crash or reader.acknowledged == self.acked[name]
            self.acked[name] = reader.acknowledged
        if crash and damage != "none" and self.acked:
            self._forget_unsaid_end(epoch)

    def _forget_unsaid_end(self, epoch: int) -> None:
        """After a kill, nobody can know of a damaged end how long it was: what was said may be less, never wrong."""
        name = min(self.acked, key=lambda name: self.acked[name])
        said = max((found.last for found in self._drain(name) if found.epoch == epoch), default=0)
        said = max(said, self.acked[name][1] if self.acked[name][0] == epoch else 0)
        kept: list[_Batch] = []
        for batch in self.batches:
            if batch.epoch == epoch and batch.last > said:
                assert batch.damaged, "what was not damaged is there"
                if batch.first <= said:
                    kept.append(attrs.evolve(batch, last=said))
            else:
                kept.append(batch)
        self.batches = kept

    # What always holds

    @invariant()
    def everybody_gets_everything_or_hears_of_it(self) -> None:
        for name in self.acked:
            found = self._drain(name)
            seen = [(type(one), one.epoch, one.first, one.last) for one in found]
            assert seen == self._expected(self.acked[name])
            places = [(one.epoch, one.first) for one in found]
            assert places == sorted(places)
            for one in found:
                batches = [
                    b for b in self.batches if b.epoch == one.epoch and b.last >= one.first and b.first <= one.last
                ]
                assert one.start_ms <= min(batch.at_ms for batch in batches)
                assert one.end_ms >= max(batch.at_ms for batch in batches)
                if isinstance(one, Entry):
                    assert one.payload == batches[0].payload

    @invariant()
    def the_bound_holds(self) -> None:
        size = sum(path.stat().st_size for path in self.folder.glob("*.spool"))
        assert size == self.spool.status.bytes <= _MAX_BYTES

    @invariant()
    def what_all_acknowledged_is_removed(self) -> None:
        slowest = min(self.acked.values(), default=None)
        paths = sorted(self.folder.glob("*.spool"))
        for path in paths[:-1]:
            mine = [(batch.epoch, batch.last) for batch in self.batches if batch.name == path.name]
            if slowest is None or (mine and max(mine) <= slowest):
                # The one being written stays until it is full.
                assert path.stat().st_size + 300 > HEADER_BYTES
                assert path.name.startswith(f"{self.spool.epoch:020d}-")

    def _drain(self, name: str) -> list[Entry | Lost]:
        reader = self.readers[name]
        reader.rewind()
        found: list[Entry | Lost] = []
        while (one := reader.next()) is not None:
            found.append(one)
        reader.rewind()
        return found

    def _expected(self, acked: _Position) -> list[tuple[type, int, int, int]]:
        """What a reader is to get after what it acknowledged; neighbouring losses are one."""
        expected: list[tuple[type, int, int, int]] = []
        for batch in self.batches:
            if (batch.epoch, batch.last) <= acked:
                continue
            if batch.name is not None and not batch.damaged and (self.folder / batch.name).exists():
                expected.append((Entry, batch.epoch, batch.first, batch.last))
                continue
            first = max(batch.first, acked[1] + 1) if batch.epoch == acked[0] else batch.first
            if expected and expected[-1][:2] == (Lost, batch.epoch) and expected[-1][3] + 1 == first:
                first = expected.pop()[2]
            expected.append((Lost, batch.epoch, first, batch.last))
        return expected


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpoolAgainstModel = SpoolMachine.TestCase
