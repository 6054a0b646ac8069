"""Recorder and Uplink against Intake and HistoryKeeper, over real streams, spool and store."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
import structlog
import trio
import trio_websocket

from skycore.cluster.messages import SCHEMA, Ack, Changes, Gap, Hello, Refused, Stale, Sync, Welcome
from skycore.graph.element import build_revision
from tests.cluster.conftest import AgentEnd, Ends, content, content_of, living, until

TOKEN = "a token of the cluster, long enough"
FAR = 1 << 50


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    old = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[])
    yield
    structlog.configure(**old)


def hello(host: str = "x", epoch: int = 10, schema: int = SCHEMA, origin: str | None = None, **more: Any) -> Hello:
    return Hello(schema, host, origin or f"agent.{host}", epoch, 1, "1", more.get("stale", []))


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


def move(agent: AgentEnd, dice: random.Random, steps: int) -> None:
    """Random changes of some nodes and edges."""
    names = [f"{agent.graph.host}:{number}" for number in range(8)]
    for _ in range(steps):
        one, other = dice.sample(names, 2)
        match dice.randrange(5):
            case 0 if one in agent.graph.nodes:
                with agent.graph.transaction():
                    for edge in [*agent.graph.edges_out.get(one, ()), *agent.graph.edges_in.get(one, ())]:
                        agent.probe.drop(edge)
                    agent.probe.drop(one)
            case 1 if one in agent.graph.nodes and other in agent.graph.nodes:
                agent.probe.link(one, other, "layer2")
            case _:
                agent.probe.put(one, {"Name": one, "Value": dice.randrange(1 << 30)})


async def test_what_an_agent_says_is_in_the_graph_and_in_history(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    dice = random.Random(7)
    for _ in range(20):
        move(agent, dice, 10)
        await trio.sleep(0.002)
    await agent.acknowledged()
    assert content(analyzer.graph) == content(agent.graph)
    assert content_of(analyzer.store.current()) == content(agent.graph)
    state = agent.uplink.state
    assert (state.connected, state.error, state.remote_host) == (True, None, "z")
    assert state.acknowledged == state.sent == agent.recorder.written
    link = analyzer.link
    assert (link.host, link.epoch, link.acknowledged) == ("h", agent.recorder.epoch, agent.recorder.written)
    assert abs(link.skew) < 1000
    assert not analyzer.graph.stale
    assert agent.spool.status.dropped == 0


async def test_each_of_many_quick_revisions_of_one_element_is_kept(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    await agent.acknowledged()
    for value in range(300):
        agent.probe.put("n", {"Value": value})
    await agent.acknowledged()
    rows = analyzer.store.revisions("n")
    assert [row.metadata()["Value"] for row in rows] == list(range(300))
    assert len({row.revision for row in rows}) == 300


async def test_a_broken_wire_changes_nothing(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    await agent.acknowledged()
    dice = random.Random(3)
    for _ in range(8):
        move(agent, dice, 5)
        await trio.sleep(dice.random() * 0.01)
        agent.cut()
        move(agent, dice, 5)
        await until(lambda: agent.uplink.state.connected)
    await agent.acknowledged()
    assert content(analyzer.graph) == content(agent.graph)
    for id in content(agent.graph):
        rows = analyzer.store.revisions(id)
        assert len({(row.metadata_json, row.updated_at, row.deleted_at) for row in rows}) == len(rows)
    end = analyzer.graph.log.end
    agent.cut()
    await until(lambda: not agent.uplink.state.connected)
    await until(lambda: agent.uplink.state.connected)
    agent.probe.put("last", {})
    await agent.acknowledged()
    assert analyzer.graph.log.end == end + 1


async def test_either_end_starts_again(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    dice = random.Random(5)
    move(agent, dice, 50)
    await agent.acknowledged()
    analyzer.die()
    await until(lambda: not agent.uplink.state.connected)
    move(agent, dice, 50)
    analyzer = await ends.start_analyzer()
    assert all(analyzer.graph.is_stale(row) for row in analyzer.graph.nodes.values())
    await until(lambda: agent.uplink.state.connected, 15)
    await agent.acknowledged()
    await until(lambda: content(analyzer.graph) == content(agent.graph))
    assert not analyzer.graph.stale

    rows = {id: len(analyzer.store.revisions(id)) for id in content(agent.graph)}
    before = agent.graph
    agent.die()
    await until(lambda: not analyzer.intake.links)
    agent = AgentEnd(ends.folder / "h", ends.dial)
    # The world is as it was; this process finds it anew.
    for node_row in before.nodes.values():
        agent.probe.put(node_row.id, {key: v for key, v in node_row.metadata().items() if key != "TID"})
    for edge in before.edges.values():
        agent.probe.put(edge.id, edge.metadata(), parent=edge.parent, child=edge.child)
    await ends.nursery.start(agent.run)
    await agent.acknowledged()
    await until(lambda: not analyzer.graph.stale)
    assert content(analyzer.graph) == content(before)
    assert {id: len(analyzer.store.revisions(id)) for id in rows} == rows


@pytest.mark.parametrize("token", [None, "another token, long enough too"])
async def test_a_missing_or_wrong_token_is_told(ends: Ends, token: str | None) -> None:
    analyzer = await ends.start_analyzer(token=TOKEN)
    agent = await ends.start_agent(token=token)
    await until(lambda: agent.uplink.state.error)
    assert agent.uplink.state.error is not None
    assert "401" in agent.uplink.state.error
    assert "cluster.token_file" in agent.uplink.state.error
    assert TOKEN not in agent.uplink.state.error
    assert not agent.uplink.state.connected
    assert not analyzer.graph.nodes


async def test_the_right_token_lets_in(ends: Ends) -> None:
    analyzer = await ends.start_analyzer(token=TOKEN)
    agent = await ends.start_agent(token=TOKEN)
    await agent.acknowledged()
    assert content(analyzer.graph) == content(agent.graph)


async def test_an_older_process_of_the_same_host_is_refused_and_a_newer_one_supersedes(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    first = await ends.start_agent(epoch=100)
    first.probe.put("n", {"from": "first"})
    await first.acknowledged()

    older = AgentEnd(ends.folder / "older", ends.dial, epoch=99)
    older.probe.put("n", {"from": "older"})
    await ends.nursery.start(older.run)
    await until(lambda: older.uplink.state.error)
    assert older.uplink.state.error is not None
    assert "host id 'h' is in use" in older.uplink.state.error
    assert first.uplink.state.connected
    assert analyzer.graph.nodes["n"].metadata()["from"] == "first"
    older.die()

    newer = AgentEnd(ends.folder / "newer", ends.dial, epoch=101)
    newer.probe.put("n", {"from": "newer"})
    await ends.nursery.start(newer.run)
    await newer.acknowledged()
    await until(lambda: not first.uplink.state.connected)
    await until(lambda: "host id 'h' is in use" in (first.uplink.state.error or ""))
    assert newer.uplink.state.connected
    assert analyzer.graph.nodes["n"].metadata()["from"] == "newer"
    assert [row.metadata()["from"] for row in analyzer.store.revisions("n")] == ["first", "newer"]


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
    assert await hand.hear() == Welcome(SCHEMA, "z", analyzer.link.connected_at, False)
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


async def test_while_the_store_fails_nothing_is_acknowledged_and_the_graph_goes_on(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    await agent.acknowledged()
    told = agent.uplink.state.acknowledged
    analyzer.disk.full = True
    for value in range(20):
        agent.probe.put("n", {"Value": value})
        await trio.sleep(0.002)
    await until(lambda: "n" in analyzer.graph.nodes and analyzer.graph.nodes["n"].metadata()["Value"] == 19)
    await until(lambda: analyzer.keeper.error)
    assert agent.uplink.state.acknowledged == told
    assert analyzer.store.revisions("n") == []
    analyzer.disk.full = False
    await agent.acknowledged()
    assert [row.metadata()["Value"] for row in analyzer.store.revisions("n")] == list(range(20))
    assert analyzer.store.gaps(0, FAR) == []
    assert analyzer.keeper.error is None


async def test_what_the_log_could_not_hold_for_a_failing_store_is_a_gap(ends: Ends) -> None:
    analyzer = await ends.start_analyzer(bound=20_000)
    agent = await ends.start_agent()
    await agent.acknowledged()
    analyzer.disk.full = True
    for value in range(400):
        agent.probe.put(f"n{value % 4}", {"Value": value})
        if value % 20 == 0:
            await trio.sleep(0.005)
    await until(lambda: analyzer.graph.nodes.get("n3") and analyzer.graph.nodes["n3"].metadata()["Value"] == 399)
    analyzer.disk.full = False
    await agent.acknowledged()
    gaps = analyzer.store.gaps(0, FAR)
    assert [gap.origin for gap in gaps] == ["analyzer.z"]
    kept = sum(len(analyzer.store.revisions(f"n{number}")) for number in range(4))
    assert kept + gaps[0].lost == 400
    assert analyzer.keeper.gaps == 1
    assert content_of(analyzer.store.current()) == content(agent.graph)


async def test_a_lost_agent_is_stale_at_once_and_back_in_time_without_a_trace(ends: Ends) -> None:
    analyzer = await ends.start_analyzer(patience=5.0)
    agent = await ends.start_agent()
    agent.probe.put("n", {"Name": "n"})
    await agent.acknowledged()
    end = analyzer.graph.log.end
    agent.cut()
    await until(lambda: ("agent.h", "") in analyzer.graph.stale, 1.0)
    lost_at = analyzer.graph.stale["agent.h", ""].since
    assert analyzer.graph.is_stale(analyzer.graph.nodes["n"])
    await until(lambda: not analyzer.graph.stale)
    assert analyzer.graph.log.end == end, "neither deleted nor made anew"
    await until(lambda: not analyzer.store.open_stale_intervals() and analyzer.store.stale_at(lost_at))
    assert analyzer.store.stale_at(lost_at) == {("agent.h", "")}
    assert len(analyzer.store.revisions("n")) == 1


async def test_an_agent_that_stays_away_is_withdrawn_and_welcome_again(ends: Ends) -> None:
    analyzer = await ends.start_analyzer(patience=0.1)
    agent = await ends.start_agent()
    agent.probe.put("n", {"Name": "n"})
    await agent.acknowledged()
    agent.die()
    await until(lambda: not analyzer.graph.nodes)
    await until(lambda: not living(analyzer.store))
    again = AgentEnd(ends.folder / "h", ends.dial)
    again.probe.put("n", {"Name": "n"})
    await ends.nursery.start(again.run)
    await again.acknowledged()
    await until(lambda: content(analyzer.graph) == content(again.graph))
    rows = analyzer.store.revisions("n")
    assert [row.deleted_at is None for row in rows] == [True, False, True]
    assert [row.revision for row in rows] == [rows[0].revision + step for step in range(3)]


async def test_a_network_cut_longer_than_patience_heals(ends: Ends) -> None:
    """The same process comes back, with changes of the time between in its spool."""
    analyzer = await ends.start_analyzer(patience=0.05)
    agent = await ends.start_agent()
    agent.probe.put("n", {"Value": 0})
    agent.probe.put("m", {"Value": 0})
    await agent.acknowledged()

    async def unreachable() -> trio.SocketStream:
        raise OSError("no route to host")

    reachable, agent._dial = agent._dial, unreachable
    agent.cut()
    await until(lambda: not analyzer.graph.nodes)
    agent.probe.put("n", {"Value": 1})
    agent.probe.drop("m")
    await agent.recorder.caught_up()
    agent._dial = reachable
    await agent.acknowledged()
    await until(lambda: content(analyzer.graph) == content(agent.graph))
    assert set(living(analyzer.store)) == set(content(agent.graph))
    assert [row.metadata()["Value"] for row in analyzer.store.revisions("n") if row.deleted_at is None] == [0, 1]


async def test_a_spool_that_overflowed_leaves_a_gap_and_the_right_state(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent(spool_bytes=40_000)
    await agent.acknowledged()
    analyzer.die()
    await until(lambda: not agent.uplink.state.connected)
    for value in range(1000):
        agent.probe.put(f"n{value % 5}", {"Value": value})
        if value % 10 == 0:
            await agent.recorder.caught_up()
    agent.probe.drop("n0")
    await agent.recorder.caught_up()
    assert agent.spool.status.dropped > 0
    analyzer = await ends.start_analyzer()
    await until(lambda: agent.uplink.state.connected, 15)
    await agent.acknowledged()
    await until(lambda: content(analyzer.graph) == content(agent.graph))
    gaps = analyzer.store.gaps(0, FAR)
    assert {gap.origin for gap in gaps} == {"agent.h"}
    assert sum(gap.lost for gap in gaps) == agent.spool.status.dropped
    now = agent.graph.clock()
    assert all(now - 60_000 < gap.start_ms <= gap.end_ms <= now for gap in gaps)
    assert set(living(analyzer.store)) == set(content(agent.graph))


async def test_a_state_larger_than_one_message_is_one_state(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = AgentEnd(ends.folder / "h", ends.dial)
    for number in range(60):
        agent.probe.put(f"n{number}", {"Text": f"{number}" * 30_000})
    await ends.nursery.start(agent.run)
    await agent.acknowledged()
    assert agent.recorder.last_sync - agent.recorder.first_of_sync >= 2
    assert content(analyzer.graph) == content(agent.graph)
    assert set(living(analyzer.store)) == set(content(agent.graph))


async def test_a_spool_too_small_for_the_state_is_told_and_does_not_spin(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = AgentEnd(ends.folder / "h", ends.dial, spool_bytes=10_000)
    agent.probe.put("n", {"Text": "x" * 20_000})
    await ends.nursery.start(agent.run)
    await until(lambda: agent.recorder.error)
    assert "raise its bound" in (agent.recorder.error or "")
    await until(lambda: analyzer.store.gaps(0, FAR))
    written = agent.recorder.written
    await trio.sleep(0.5)
    assert agent.recorder.written - written < 10
    assert agent.uplink.state.connected


async def test_a_stale_probe_is_stale_on_the_analyzer_and_in_history(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    agent.probe.put("n", {})
    await agent.acknowledged()
    agent.graph.mark_stale("agent.h", "probe", "crashed: " + "x" * 5000)
    await until(lambda: ("agent.h", "probe") in analyzer.graph.stale)
    since = agent.graph.stale["agent.h", "probe"].since
    assert analyzer.graph.stale["agent.h", "probe"].since == since
    assert analyzer.graph.is_stale(analyzer.graph.nodes["n"])
    await until(lambda: analyzer.store.stale_at(since) == {("agent.h", "probe")})
    analyzer.die()
    await until(lambda: not agent.uplink.state.connected)
    analyzer = await ends.start_analyzer()
    await until(lambda: agent.uplink.state.connected, 15)
    await until(lambda: set(analyzer.graph.stale) == {("agent.h", "probe")})
    assert analyzer.graph.stale["agent.h", "probe"].since == since
    await trio.sleep(0.002)
    agent.graph.mark_fresh("agent.h", "probe")
    await until(lambda: not analyzer.graph.stale)
    await until(lambda: not analyzer.store.open_stale_intervals())
    assert ("agent.h", "probe") in analyzer.store.stale_at(since)


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
