"""The analyzer's end of the link, told anything by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio_websocket

from skycore.cluster.messages import SCHEMA, Ack, Changes, Gap, Hello, Refused, Stale, Sync, Welcome
from skycore.graph.element import build_revision
from tests.cluster.conftest import Ends, content, living, until


def hello(host: str = "x", epoch: int = 10, schema: int = SCHEMA, origin: str | None = None, **more: Any) -> Hello:
    return Hello(schema, host, origin or f"agent.{host}", epoch, 1, "1", "centre", more.get("stale", []))


def node(id: str, at: int = 5, host: str = "x", **metadata: Any) -> msgspec.Raw:
    revision = build_revision(
        id=id,
        metadata=msgspec.json.encode(metadata, order="deterministic"),
        revision=1,
        host=host,
        origin=f"agent.{host}",
        created_at=at,
        updated_at=at,
    )
    return msgspec.Raw(revision.json)


def state(*elements: msgspec.Raw, epoch: int = 10, seq: int = 1, at: int = 100) -> Sync:
    return Sync(epoch, seq, 0, True, at, list(elements), ["probe"] * len(elements))


BAD_HELLOS: dict[str, tuple[Any, str]] = {
    "another schema": (hello(schema=SCHEMA + 1), "schema"),
    "the analyzer's origin": (hello(host="z", origin="analyzer.z"), "origin"),
    "a probe's name": (hello(origin="netlink"), "origin"),
    "no hello": (state(node("a")), "hello"),
    "no JSON": (b"\x00\xff", "schema 1"),
    "text": ("hello", "schema 1"),
}


@pytest.mark.parametrize("case", BAD_HELLOS)
async def test_a_bad_hello_is_refused_with_the_reason(ends: Ends, nursery: trio.Nursery, case: str) -> None:
    said, reason = BAD_HELLOS[case]
    analyzer = await ends.start_analyzer()
    hand = await ends.hand(nursery)
    await hand.say(said)
    answer = await hand.hear()
    assert isinstance(answer, Refused)
    assert reason in answer.reason
    with pytest.raises(trio_websocket.ConnectionClosed):
        await hand.hear()
    assert not analyzer.graph.nodes
    assert not analyzer.intake.links


AN_EDGE = b',"Parent":"a","Child":"a"}'
GARBAGE: dict[str, Any] = {
    "no JSON": b"{",
    "not UTF-8": b'{"type":"gap","x":"\xff"}',
    "an answer": Ack(1, 1),
    "a second hello": hello(),
    "an epoch to come": Gap(11, 9, 1, 2, 1),
    "a deep one": b'{"type":"changes","epoch":10,"seq":9,"owners":[],"elements":[' + b"[" * 50_000,
    "a middle of a sync": [Sync(10, 8, 0, False, 9, [], []), Sync(10, 9, 2, True, 9, [], [])],
    "elements without owners": Changes(10, 9, [node("a", Name="b")], []),
    "an element of another form": Changes(10, 9, [node("c"), msgspec.Raw(b'{"ID":"d"}')], ["", ""]),
    "a time beyond all stores": Changes(10, 9, [node("a", at=1 << 70)], [""]),
    "other ends": Changes(10, 9, [msgspec.Raw(bytes(node("a"))[:-1] + AN_EDGE)], [""]),
    "an edge of another kind": Changes(10, 9, [node("c"), msgspec.Raw(bytes(node("c"))[:-1] + AN_EDGE)], ["", ""]),
    "metadata that are a list": Changes(10, 9, [msgspec.Raw(bytes(node("a")).replace(b"{}", b"[]"))], [""]),
}  # fmt: skip


@pytest.mark.parametrize("case", GARBAGE)
async def test_garbage_is_refused_and_disturbs_nobody_else(ends: Ends, nursery: trio.Nursery, case: str) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    await agent.acknowledged()
    hand = await ends.hand(nursery)
    await hand.say(hello())
    assert isinstance(await hand.hear(), Welcome)
    await hand.say(state(node("a"), seq=7))
    assert await hand.hear() == Ack(10, 7)
    before = content(analyzer.graph)
    said = GARBAGE[case]
    for message in said if isinstance(said, list) else [said]:
        await hand.say(message)
    answer = await hand.hear()
    assert isinstance(answer, Refused), answer
    assert answer.reason
    with pytest.raises(trio_websocket.ConnectionClosed):
        await hand.hear()
    assert content(analyzer.graph) == before
    assert ("agent.x", "") in analyzer.graph.stale
    agent.probe.put("still", {"here": True})
    await agent.acknowledged()
    assert "still" in analyzer.graph.nodes
    assert agent.uplink.state.connected
    assert analyzer.keeper.error is None


async def test_an_acknowledgement_comes_after_its_commit(ends: Ends, nursery: trio.Nursery) -> None:
    analyzer = await ends.start_analyzer()
    hand = await ends.hand(nursery)
    await hand.say(hello())
    assert await hand.hear() == Welcome(SCHEMA, "z", analyzer.link.connected_at, 1000, False)
    await hand.say(state(node("a")))
    assert await hand.hear() == Ack(10, 1)
    with analyzer.disk.held():
        await hand.say(Changes(10, 2, [node("b")], ["probe"]))
        await hand.say(Changes(10, 3, [node("c")], ["probe"]))
        await until(lambda: "c" in analyzer.graph.nodes)
        await trio.to_thread.run_sync(analyzer.disk.waiting.wait, 5)
        await hand.hears_nothing()
        assert set(living(analyzer.store)) == {"a"}
    answer = await hand.hear()
    while answer != Ack(10, 3):
        assert answer == Ack(10, 2)
        answer = await hand.hear()
    assert set(living(analyzer.store)) == {"a", "b", "c"}


async def test_probes_that_recovered_while_the_link_was_away_are_fresh_after_hello(
    ends: Ends, nursery: trio.Nursery
) -> None:
    analyzer = await ends.start_analyzer()
    hand = await ends.hand(nursery)
    stale = [Stale("one", 3, None, "crashed"), Stale("two", 4, None, "crashed")]
    await hand.say(hello(stale=stale))
    await hand.say(state(node("a")))
    await hand.hear()
    await until(lambda: set(analyzer.graph.stale) == {("agent.x", "one"), ("agent.x", "two")})
    other = await ends.hand(nursery)
    await other.say(hello(stale=stale[1:]))
    assert isinstance(await other.hear(), Welcome)
    await until(lambda: set(analyzer.graph.stale) == {("agent.x", "two")})


async def test_many_agents_that_begin_at_once_do_not_end_each_other(ends: Ends, nursery: trio.Nursery) -> None:
    """One host id, many links at the same moment: one of them is left, and it works."""
    analyzer = await ends.start_analyzer()
    hands = [await ends.hand(nursery) for _ in range(6)]
    for hand in hands:
        await hand.say(hello())
    await until(lambda: len(analyzer.intake.links) == 1)
    left = []

    async def try_one(hand: Any) -> None:
        try:
            while not isinstance(await hand.hear(), Ack):
                pass
            left.append(hand)
        except (trio_websocket.ConnectionClosed, trio.TooSlowError):
            pass

    await trio.testing.wait_all_tasks_blocked(0.05)
    async with trio.open_nursery() as asking:
        for number, hand in enumerate(hands):
            asking.start_soon(try_one, hand)
            try:
                await hand.say(state(node("a", Value=number)))
            except trio_websocket.ConnectionClosed:
                continue
    assert len(left) == 1
    assert set(content(analyzer.graph)) == {"a"}
