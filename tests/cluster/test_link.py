"""Recorder and Uplink against Intake and HistoryKeeper, over real streams, spool and store."""

from __future__ import annotations

import random

import attrs
import pytest
import trio

from tests.cluster.conftest import AgentEnd, Ends, content, content_of, living, until

TOKEN = "a token of the cluster, long enough"
FAR = 1 << 50


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
        dialled = len(agent.streams)
        agent.cut()
        move(agent, dice, 5)
        await until(lambda dialled=dialled: len(agent.streams) > dialled and agent.uplink.state.connected)  # type: ignore[misc]
    await agent.acknowledged()
    assert content(analyzer.graph) == content(agent.graph)
    for id in content(agent.graph):
        rows = analyzer.store.revisions(id)
        assert len({(row.metadata_json, row.updated_at, row.deleted_at) for row in rows}) == len(rows)
    end = analyzer.graph.log.end
    await agent.reconnected()
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
    dial, back = agent._dial, trio.Event()

    async def dial_later() -> trio.SocketStream:
        await back.wait()
        stream: trio.SocketStream = await dial()
        return stream

    agent._dial = dial_later
    agent.cut()
    await until(lambda: ("agent.h", "") in analyzer.graph.stale, 5.0)
    lost_at = analyzer.graph.stale["agent.h", ""].since
    assert analyzer.graph.is_stale(analyzer.graph.nodes["n"])
    back.set()
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
    analyzer = await ends.start_analyzer(patience=0.5)
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
    await until(lambda: set(living(analyzer.store)) == set(content(agent.graph)))
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
    await until(lambda: set(living(analyzer.store)) == set(content(agent.graph)))


async def test_a_state_larger_than_one_message_is_one_state(ends: Ends) -> None:
    analyzer = await ends.start_analyzer()
    agent = AgentEnd(ends.folder / "h", ends.dial)
    for number in range(60):
        agent.probe.put(f"n{number}", {"Text": f"{number}" * 30_000})
    await ends.nursery.start(agent.run)
    await agent.acknowledged()
    assert agent.recorder.last_sync - agent.recorder.first_of_sync >= 2
    assert content(analyzer.graph) == content(agent.graph)
    await until(lambda: set(living(analyzer.store)) == set(content(agent.graph)))


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


# ---------------------------------------------------------------------- two names, one analyzer


@attrs.define
class Road:
    """Another way to the analyzer, which can be closed."""

    ends: Ends
    dials: int = 0
    stream: trio.SocketStream | None = None
    open: bool = True

    async def dial(self) -> trio.SocketStream:
        self.dials += 1
        if not self.open:
            raise OSError("no route to host")
        self.stream = await self.ends.dial()
        return self.stream

    def cut(self) -> None:
        assert self.stream is not None
        self.stream.socket.close()


async def test_an_analyzer_with_two_names_has_one_link_and_the_other_stands_by(
    ends: Ends, nursery: trio.Nursery
) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    await agent.acknowledged()
    road = Road(ends)
    second = agent.add_link("another name", road.dial)
    nursery.start_soon(second.run)
    await until(lambda: second.state.same_as == "analyzer")
    assert (second.state.connected, second.state.error) == (False, None)
    link = analyzer.link
    dice = random.Random(11)
    for _ in range(30):
        move(agent, dice, 5)
        await agent.acknowledged()
    # Nobody was pushed out, nobody tries again, and the spool need not keep for the one who stands by.
    assert analyzer.link is link
    assert road.dials == 1
    assert agent.uplink.state.connected
    readers = [agent.spool.reader(name) for name in ("analyzer", "another name")]
    await until(lambda: readers[0].acknowledged == readers[1].acknowledged)
    assert content(analyzer.graph) == content(agent.graph)


async def test_who_stood_by_takes_over_without_a_loss(ends: Ends, nursery: trio.Nursery) -> None:
    analyzer = await ends.start_analyzer()
    first = Road(ends)
    agent = AgentEnd(ends.folder / "h", first.dial)
    await ends.nursery.start(agent.run)
    await agent.acknowledged()
    road = Road(ends)
    second = agent.add_link("another name", road.dial)
    nursery.start_soon(second.run)
    await until(lambda: second.state.same_as)
    first.open = False
    for value in range(200):
        agent.probe.put("n", {"Value": value})
        if value == 100:
            first.cut()
        if value % 10 == 0:
            await agent.recorder.caught_up()
    await agent.recorder.caught_up()
    await until(lambda: second.state.acknowledged == agent.recorder.written)
    assert second.state.connected
    rows = analyzer.store.revisions("n")
    assert [row.metadata()["Value"] for row in rows] == list(range(200)), "each once, none lost"
    first.open = True
    await until(lambda: agent.uplink.state.same_as == "another name", 15)
    dials = first.dials
    for value in range(200, 220):
        agent.probe.put("n", {"Value": value})
        await agent.recorder.caught_up()
    await until(lambda: agent.spool.reader("analyzer").acknowledged[1] == agent.recorder.written)
    assert first.dials == dials
    assert second.state.connected
    assert [row.metadata()["Value"] for row in analyzer.store.revisions("n")] == list(range(220))


async def test_two_names_that_begin_at_once_settle(ends: Ends, nursery: trio.Nursery) -> None:
    await ends.start_analyzer()
    agent = await ends.start_agent()
    roads = [Road(ends) for _ in range(4)]
    others = [agent.add_link(f"name {number}", road.dial) for number, road in enumerate(roads)]
    for uplink in others:
        nursery.start_soon(uplink.run)
    uplinks = [agent.uplink, *others]
    await until(lambda: sorted(bool(one.state.same_as) for one in uplinks) == [False, True, True, True, True])
    before = [road.dials for road in roads]
    (linked,) = (one for one in uplinks if one.state.connected)
    for value in range(20):
        agent.probe.put("n", {"Value": value})
        await agent.recorder.caught_up()
        await until(lambda: linked.state.acknowledged == agent.recorder.written)
    assert [road.dials for road in roads] == before
    assert linked.state.connected


# ---------------------------------------------------------------------- silence, and clocks


@attrs.define
class Wire:
    """Passes bytes on in both directions, until it goes dead without a word to either side."""

    dead: bool = False

    async def lay(self, nursery: trio.Nursery, far: trio.SocketStream) -> trio.SocketStream:
        ours, near = (trio.SocketStream(end) for end in trio.socket.socketpair())
        nursery.start_soon(self._pump, near, far)
        nursery.start_soon(self._pump, far, near)
        return ours

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some():
                if self.dead:
                    await trio.sleep_forever()
                await sink.send_all(data)
            await sink.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(sink)


async def test_a_dead_wire_is_noticed_by_an_agent_that_has_nothing_to_say(
    ends: Ends, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte comes, and none tells of it: both ends give the link up by themselves, and meet again."""
    analyzer = await ends.start_analyzer(patience=30)
    monkeypatch.setattr(AgentEnd, "silence", 0.5)
    wires: list[Wire] = []
    again = trio.Event()

    async def dial() -> trio.SocketStream:
        if wires:
            await again.wait()
        wires.append(Wire())
        return await wires[-1].lay(nursery, await ends.dial())

    agent = AgentEnd(ends.folder / "h", dial)
    await ends.nursery.start(agent.run)
    await agent.acknowledged()
    end = analyzer.graph.log.end
    wires[-1].dead = True
    # The analyzer pings each second here; half a second of patience, half a second of grace.
    await until(lambda: not agent.uplink.state.connected, 15)
    assert "nothing came from the analyzer for 1.5 s" in (agent.uplink.state.error or "")
    again.set()
    await until(lambda: agent.uplink.state.connected)
    assert len(wires) == 2
    await until(lambda: not analyzer.graph.stale)
    agent.probe.put("n", {})
    await agent.acknowledged()
    assert analyzer.graph.log.end == end + 1


async def test_an_idle_link_stays_up_as_long_as_pings_come(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    await ends.start_analyzer()
    monkeypatch.setattr(AgentEnd, "silence", 0.3)
    agent = await ends.start_agent()
    await agent.acknowledged()
    await trio.sleep(4)
    assert agent.uplink.state.connected
    assert len(agent.streams) == 1


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
async def test_a_clock_that_jumps_loses_nothing_and_its_skew_is_shown(ends: Ends, jump: int) -> None:
    analyzer = await ends.start_analyzer()
    agent = await ends.start_agent()
    await agent.acknowledged()
    for value in range(50):
        agent.probe.put("n", {"Value": value})
    true_time = agent.graph.clock
    agent.graph.clock = lambda: true_time() + jump
    for value in range(50, 100):
        agent.probe.put("n", {"Value": value})
    agent.probe.put("late", {})
    await agent.acknowledged()
    await until(lambda: abs(agent.uplink.state.skew + jump) < 2000, 15)
    await until(lambda: abs(analyzer.link.skew - jump) < 2000, 15)
    rows = analyzer.store.revisions("n")
    assert [row.metadata()["Value"] for row in rows] == list(range(100))
    assert [row.revision for row in rows] == sorted({row.revision for row in rows})
    assert all(row.created_at <= row.updated_at for row in rows)
    await agent.reconnected()
    agent.graph.clock = true_time
    agent.probe.drop("late")
    agent.probe.put("n", {"Value": 100})
    await agent.acknowledged()
    assert content(analyzer.graph) == content(agent.graph)
    assert set(living(analyzer.store)) == set(content(agent.graph))
    late = analyzer.store.revisions("late")
    assert [row.deleted_at is None for row in late] == [True, False]
    assert late[-1].deleted_at is not None
    assert late[-1].deleted_at >= late[0].created_at


async def test_the_analyzers_clock_jumps(ends: Ends) -> None:
    analyzer = await ends.start_analyzer(patience=0.4)
    agent = await ends.start_agent()
    await agent.acknowledged()
    true_time = analyzer.graph.clock
    for jump in (86_400_000, -86_400_000):
        analyzer.graph.clock = lambda jump=jump: true_time() + jump  # type: ignore[misc]
        agent.probe.put("n", {"Jump": jump})
        await agent.acknowledged()
        await until(lambda jump=jump: abs(agent.uplink.state.skew - jump) < 2000, 15)  # type: ignore[misc]
        assert not analyzer.graph.stale, "patience is not measured by a clock that can be set"
    assert [row.metadata()["Jump"] for row in analyzer.store.revisions("n")] == [86_400_000, -86_400_000]
