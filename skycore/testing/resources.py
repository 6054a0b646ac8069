"""What every store of API objects must do, as tests: a plugin's test module inherits them and gives its store.

    class TestExampleResources(ResourceConformance):
        def make(self, folder: Path, clock: Clock) -> ResourceStore:
            return ExampleResources(..., clock)

``make`` is called again with the same folder to open again what was stored in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from skycore.errors import DuplicatedResource, ResourceNotFound, StorageError
from skycore.resource.contract import Resource, ResourceStore


class Clock:
    """A wall clock that tests set: milliseconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


def resource(id: str, text: str = "{}", *, kind: str = "noderule", at: int = 1, ends: int | None = None) -> Resource:
    """An API object for tests."""
    return Resource(kind, id, text.encode(), at, ends)


class ResourceConformance:
    """The contract of ``skycore.resource.contract.ResourceStore``, as tests."""

    def make(self, folder: Path, clock: Clock) -> ResourceStore:
        """A store, not yet open, that keeps (or finds) what belongs to ``folder``."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @contextmanager
    def opened(self, folder: Path, clock: Clock) -> Iterator[ResourceStore]:
        store = self.make(folder, clock)
        store.open()
        try:
            yield store
        finally:
            store.close()

    @asynccontextmanager
    async def running(self, folder: Path, clock: Clock) -> AsyncIterator[ResourceStore]:
        with self.opened(folder, clock) as store:
            async with trio.open_nursery() as nursery:
                await nursery.start(store.run)
                yield store
                nursery.cancel_scope.cancel()

    async def test_an_object_is_there_until_it_is_deleted(self, tmp_path: Path, clock: Clock) -> None:
        with self.opened(tmp_path, clock) as store:
            one = resource("a", '{"UUID":"a"}')
            await store.create(one)
            assert store.get("noderule", "a") == one
            assert store.list("noderule") == {"a": one}
            assert store.list("edgerule") == {}
            assert await store.delete("noderule", "a") == one
            assert store.get("noderule", "a") is None
            assert store.list("noderule") == {}

    async def test_kinds_have_their_own_ids(self, tmp_path: Path, clock: Clock) -> None:
        with self.opened(tmp_path, clock) as store:
            one, other = resource("a"), resource("a", kind="edgerule")
            await store.create(one)
            await store.create(other)
            with pytest.raises(DuplicatedResource):
                await store.create(resource("a", '{"x":1}'))
            assert store.get("noderule", "a") == one
            await store.delete("noderule", "a")
            assert store.get("edgerule", "a") == other

    async def test_what_is_not_there_cannot_be_changed(self, tmp_path: Path, clock: Clock) -> None:
        with self.opened(tmp_path, clock) as store:
            with pytest.raises(ResourceNotFound):
                await store.delete("noderule", "a")
            with pytest.raises(ResourceNotFound):
                await store.replace(resource("a"))
            assert store.get("noderule", "a") is None

    async def test_everything_is_there_after_opening_again_in_its_order(self, tmp_path: Path, clock: Clock) -> None:
        objects = [resource(str(5 - n), f'{{"n":{n},"é":"\\""}}', at=n) for n in range(5)]
        with self.opened(tmp_path, clock) as store:
            for one in objects:
                await store.create(one)
            await store.replace(objects[1].with_value({"n": 7}))
            await store.delete("noderule", objects[2].id)
        with self.opened(tmp_path, clock) as store:
            assert list(store.list("noderule")) == ["5", "4", "2", "1"]
            assert store.get("noderule", "4") == objects[1].with_value({"n": 7})
            assert store.get("noderule", "5") == objects[0]

    async def test_watchers_hear_of_changes_from_their_beginning_on(self, tmp_path: Path, clock: Clock) -> None:
        with self.opened(tmp_path, clock) as store:
            await store.create(resource("before"))
            watch = store.watch("noderule")
            assert watch.read() == []
            await store.create(resource("a"))
            await store.create(resource("x", kind="edgerule"))
            with trio.fail_after(5):
                await watch.wait()
            assert [(event.action, event.resource.id) for event in watch.read()] == [("created", "a")]
            await store.replace(resource("a", '{"x":1}'))
            await store.delete("noderule", "before")
            assert [(event.action, event.resource.id) for event in watch.read()] == [
                ("updated", "a"),
                ("deleted", "before"),
            ]
            watch.close()

    async def test_a_slow_watcher_gets_the_last_event_of_each_object(self, tmp_path: Path, clock: Clock) -> None:
        with self.opened(tmp_path, clock) as store:
            watch = store.watch("noderule")
            await store.create(resource("gone"))
            await store.create(resource("kept"))
            for number in range(20):
                await store.replace(resource("kept", str(number)))
            await store.delete("noderule", "gone")
            found = {event.resource.id: event for event in watch.read()}
            assert found["kept"].resource.json == b"19"
            assert found["gone"].action == "deleted"
            assert len(found) == 2
            assert watch.read() == []

    async def test_an_object_expires(self, tmp_path: Path, clock: Clock) -> None:
        async with self.running(tmp_path, clock) as store:
            watch = store.watch("noderule")
            await store.create(resource("short", ends=clock.now + 50))
            await store.create(resource("long", ends=clock.now + 10**9))
            await store.create(resource("endless"))
            assert len(watch.read()) == 3
            clock.now += 100
            with trio.fail_after(30):
                while "short" in store.list("noderule"):
                    await watch.wait()
            assert [(event.action, event.resource.id) for event in watch.read()] == [("expired", "short")]
            assert sorted(store.list("noderule")) == ["endless", "long"]
        clock.now += 10**10
        with self.opened(tmp_path, clock) as store:
            assert sorted(store.list("noderule")) == ["endless"]

    async def test_a_folder_is_used_by_one_process_only(self, tmp_path: Path, clock: Clock) -> None:
        with self.opened(tmp_path, clock):
            second = self.make(tmp_path, clock)
            with pytest.raises(StorageError):
                second.open()
            second.close()
        with self.opened(tmp_path, clock):
            pass

    async def test_concurrent_creates_of_one_id_make_one(self, tmp_path: Path, clock: Clock) -> None:
        refused: list[str] = []
        with self.opened(tmp_path, clock) as store:

            async def create(text: str) -> None:
                try:
                    await store.create(resource("a", text))
                except DuplicatedResource:
                    refused.append(text)

            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(create, str(number))
            assert len(refused) == 7
            kept = store.get("noderule", "a")
            assert kept is not None
        with self.opened(tmp_path, clock) as store:
            assert store.get("noderule", "a") == kept
