"""Sub-probes: one for each (plugin, namespace), for as long as somebody holds it, over crashes of its holders."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import trio

from skycore.plugin import Hold, Key, ProbeHost
from skycore.plugin.supervision import RestartPolicy
from skycore.testing.lab import NamedNetns, make_netns
from skycore.testing.probes import ProbeLab, run_probes
from tests.plugin.running import probe

pytestmark = pytest.mark.needs("root", "ip", "nsenter")
Install = Callable[..., None]
Netns = Callable[[], NamedNetns]
QUICK = RestartPolicy(first=0.01, ceiling=0.02, patience=0.2)


class Seen:
    """Hosts of the holders, and each run of the sub-probe, by namespace."""

    def __init__(self) -> None:
        self.holders: list[ProbeHost] = []
        self.children: list[ProbeHost] = []
        self.crash = trio.Event()

    async def hold(self, host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        self.holders.append(host)
        task_status.started()
        await trio.sleep_forever()

    async def look(self, host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        if host.root.kind != "host":
            self.children.append(host)
            key = Key("seen", str(host.namespace.cookie))
            host.graph.put(key, {"Name": f"seen-{host.namespace.cookie}", "Type": "seen"})
            host.graph.link(host.root, key, "ownership")
            # As a real one would: what is entered is the namespace that it was started for.
            inside = host.in_netns(host.namespace.path, lambda: os.stat("/proc/thread-self/ns/net").st_ino)
            assert inside == host.namespace.inode
        task_status.started()
        await trio.sleep_forever()


def children(lab: ProbeLab) -> dict[str, str]:
    return {report.name: report.state for report in lab.host.reports() if "@" in report.name}


async def gone(lab: ProbeLab) -> None:
    await lab.until(lambda: not children(lab) and not lab.nodes(Type="seen"))


async def test_one_sub_probe_for_all_its_holders(install: Install, netns: Netns) -> None:
    seen = Seen()
    install(first=probe(seen.hold), second=probe(seen.hold), look=probe(seen.look))
    async with run_probes({"first": {}, "second": {}, "look": {}}, policy=QUICK) as lab:
        first, second = seen.holders
        one, other = first.netns(netns().path), first.netns(netns().path)
        holds = [first.children("look", one), second.children("look", one), first.children("look", one)]
        apart = first.children("look", other)
        await lab.until(lambda: list(children(lab).values()) == ["running"] * 2)
        assert children(lab).keys() == {f"look@{one.cookie}", f"look@{other.cookie}"}
        assert {host.root for host in seen.children} == {one.key, other.key}
        assert not lab.edges(), "what hangs under a namespace does so when the namespace appears"
        first.graph.put(one.key, {"Name": "one", "Type": "netns"})
        first.graph.put(other.key, {"Name": "other", "Type": "netns"})
        assert len(lab.nodes(Type="seen")) == 2
        assert len(lab.edges(RelationType="ownership")) == 2

        holds[0].release()
        holds[0].release()
        holds[0].release()
        holds[1].release()
        await trio.sleep(0.05)
        assert children(lab)[f"look@{one.cookie}"] == "running"
        holds[2].release()
        await lab.until(lambda: children(lab).keys() == {f"look@{other.cookie}"})
        assert [node["Name"] for node in lab.nodes(Type="seen")] == [f"seen-{other.cookie}"]
        apart.release()
        await gone(lab)
        assert len(seen.children) == 2


async def test_what_runs_beside_another_comes_and_goes_with_it(install: Install, netns: Netns) -> None:
    seen, company = Seen(), Seen()
    beside = probe(company.look, beside=frozenset({"look"}))
    install(holder=probe(seen.hold), look=probe(seen.look), company=beside)
    async with run_probes({"holder": {}, "look": {}, "company": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        namespace = holder.netns(netns().path)
        for round_ in (1, 2):
            holds = [holder.children("look", namespace), holder.children("look", namespace)]
            both = {f"look@{namespace.cookie}": "running", f"company@{namespace.cookie}": "running"}
            await lab.until(lambda expected=both: children(lab) == expected)  # type: ignore[misc]
            assert len(company.children) == round_
            assert company.children[-1].namespace.cookie == namespace.cookie
            holds.pop().release()
            await trio.sleep(0.02)
            assert children(lab) == both
            holds.pop().release()
            await gone(lab)


async def test_two_beside_each_other_do_not_hold_each_other(install: Install, netns: Netns) -> None:
    seen = Seen()
    one, other = (probe(seen.look, beside=frozenset({name})) for name in ("other", "one"))
    install(holder=probe(seen.hold), one=one, other=other)
    async with run_probes({"holder": {}, "one": {}, "other": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        hold = holder.children("one", holder.netns(netns().path))
        await lab.until(lambda: len(children(lab)) == 2)
        hold.release()
        await gone(lab)


async def test_what_is_not_enabled_or_the_holders_own_namespace_gives_an_empty_hold(
    install: Install, netns: Netns
) -> None:
    seen = Seen()
    install(holder=probe(seen.hold), look=probe(seen.look))
    async with run_probes({"holder": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        for name, namespace in (
            ("look", holder.netns(netns().path)),
            ("unheard-of", holder.netns(netns().path)),
            ("holder", holder.namespace),
        ):
            hold = holder.children(name, namespace)
            hold.release()
            hold.release()
        await trio.sleep(0.02)
        assert [report.name for report in lab.host.reports()] == ["holder"]


async def test_held_again_while_it_ends(install: Install, netns: Netns) -> None:
    """The new hold gets a sub-probe whose claims the end of the old one does not take away."""
    seen = Seen()
    linger, ending = trio.Event(), trio.Event()

    async def look(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        try:
            await seen.look(host, task_status)
        finally:
            if host.root.kind != "host":
                ending.set()
                with trio.move_on_after(3, shield=True):
                    await linger.wait()

    install(holder=probe(seen.hold), look=probe(look))
    async with run_probes({"holder": {}, "look": {}}, policy=RestartPolicy(patience=5)) as lab:
        (holder,) = seen.holders
        namespace = holder.netns(netns().path)
        holder.graph.put(namespace.key, {"Name": "one", "Type": "netns"})
        hold = holder.children("look", namespace)
        await lab.until(lambda: lab.nodes(Type="seen"))
        hold.release()
        assert not lab.nodes(Type="seen"), "what it said goes at once, whatever time it takes to end"
        again, more = holder.children("look", namespace), holder.children("look", namespace)
        await ending.wait()
        more.release()
        again.release()
        again = holder.children("look", namespace)
        assert list(children(lab).values()) == ["stopping"]
        linger.set()
        await lab.until(lambda: len(seen.children) == 2 and list(children(lab).values()) == ["running"])
        assert len(lab.nodes(Type="seen")) == 1
        seen.children[-1].graph.put(Key("seen", "more"), {"Name": "more", "Type": "seen"})
        assert len(lab.nodes(Type="seen")) == 2
        again.release()
        assert not lab.nodes(Type="seen")
        await gone(lab)


async def test_what_a_sub_probe_raises_when_it_is_let_go_is_no_crash(install: Install, netns: Netns) -> None:
    seen, say = Seen(), trio.Event()

    async def look(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if host.root.kind != "host":
            await say.wait()
            host.graph.put(Key("seen", "late"), {"Name": "late", "Type": "seen"})
        await trio.sleep_forever()

    install(holder=probe(seen.hold), look=probe(look))
    async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        namespace = holder.netns(netns().path)
        hold = holder.children("look", namespace)
        report = lab.report(f"look@{namespace.cookie}")
        await lab.until(lambda: report.state == "running")
        say.set()
        hold.release()
        await gone(lab)
        assert (report.state, report.restarts, report.error) == ("stopped", 0, None)
        assert not lab.graph.stale


async def test_it_lives_on_when_its_holder_crashes_and_comes_back(install: Install, netns: Netns) -> None:
    seen = Seen()
    crash, settle = trio.Event(), trio.Event()
    holds: list[Hold] = []
    both, only_first = netns(), netns()

    async def hold(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        seen.holders.append(host)
        paths = [both.path, only_first.path] if len(seen.holders) == 1 else [both.path]
        holds.extend(host.children("look", host.netns(path)) for path in paths)
        if len(seen.holders) == 2:
            await settle.wait()
        task_status.started()
        await crash.wait()
        if len(seen.holders) == 1:
            raise OSError("crashed")
        await trio.sleep_forever()

    install(holder=probe(hold), look=probe(seen.look))
    async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
        await lab.until(lambda: list(children(lab).values()) == ["running"] * 2)
        crash.set()
        await lab.until(lambda: len(seen.holders) == 2)
        assert list(children(lab).values()) == ["running"] * 2
        settle.set()
        kept = f"look@{seen.holders[0].netns(both.path).cookie}"
        await lab.until(lambda: children(lab) == {kept: "running"})
        assert len(seen.children) == 2, "none was started again"
        holds[0].release()
        await trio.sleep(0.02)
        assert children(lab) == {kept: "running"}, "the hold of the dead run was let go once already"
        holds[2].release()
        await gone(lab)


async def test_a_sub_probe_that_crashes_is_started_again_like_any_other(install: Install, netns: Netns) -> None:
    seen = Seen()

    async def look(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        if host.root.kind != "host" and len(seen.children) < 2:
            seen.children.append(host)
            host.graph.put(Key("seen", "x"), {"Name": "x", "Type": "seen"})
            task_status.started()
            raise OSError("crashed")
        await seen.look(host, task_status)

    install(holder=probe(seen.hold), look=probe(look))
    async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        namespace = holder.netns(netns().path)
        hold = holder.children("look", namespace)
        report = lab.report(f"look@{namespace.cookie}")
        await lab.until(lambda: report.restarts == 2 and report.state == "running")
        assert lab.report("look").restarts == 0
        hold.release()
        await gone(lab)


async def test_a_stuck_sub_probe_is_named_and_never_started_again(install: Install, netns: Netns) -> None:
    seen, free = Seen(), trio.Event()

    async def look(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        if host.root.kind == "host":
            await seen.look(host, task_status)
        seen.children.append(host)
        host.graph.put(Key("seen", "x"), {"Name": "x", "Type": "seen"})
        task_status.started()
        with trio.CancelScope(shield=True):
            await free.wait()

    install(holder=probe(seen.hold), look=probe(look))
    async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
        try:
            (holder,) = seen.holders
            namespace = holder.netns(netns().path)
            name = f"look@{namespace.cookie}"
            hold = holder.children("look", namespace)
            await lab.until(lambda: lab.report(name).state == "running")
            hold.release()
            await lab.until(lambda: lab.report(name).state == "stuck")
            assert not lab.nodes(Type="seen")
            assert lab.report("look").state == "running"
            again = holder.children("look", namespace)
            await trio.sleep(0.05)
            assert (lab.report(name).state, len(seen.children)) == ("stuck", 1)
            again.release()
        finally:
            free.set()


async def test_a_namespace_that_is_another_one_by_now_is_not_entered(install: Install) -> None:
    """The path was resolved, the namespace deleted, another one made under the same name."""
    seen = Seen()
    install(holder=probe(seen.hold), look=probe(seen.look))
    async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        with make_netns() as first:
            old = holder.netns(first.path)
        with pytest.raises(FileNotFoundError):
            holder.children("look", old)
        with make_netns(first.name), pytest.raises(FileNotFoundError, match="another network namespace by now"):
            holder.children("look", old)
        assert children(lab) == {}


async def test_what_is_deleted_stays_enterable_for_the_sub_probe(install: Install) -> None:
    seen = Seen()
    install(holder=probe(seen.hold), look=probe(seen.look))
    async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
        (holder,) = seen.holders
        before = len(os.listdir("/proc/self/fd"))
        with make_netns() as named:
            namespace = holder.netns(named.path)
            hold = holder.children("look", namespace)
            await lab.until(lambda: list(children(lab).values()) == ["running"])
        assert seen.children[0].netns(seen.children[0].namespace.path).cookie == namespace.cookie
        hold.release()
        await gone(lab)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_no_file_stays_open_when_the_host_is_stopped(install: Install, netns: Netns) -> None:
    seen = Seen()
    install(holder=probe(seen.hold), look=probe(seen.look))
    path = netns().path
    before = -1
    for _ in range(3):
        async with run_probes({"holder": {}, "look": {}}, policy=QUICK) as lab:
            holder = seen.holders[-1]
            holder.children("look", holder.netns(path))
            await lab.until(lambda: bool(lab.nodes(Type="seen")))
        after = len(os.listdir("/proc/self/fd"))
        assert before in (-1, after)
        before = after
