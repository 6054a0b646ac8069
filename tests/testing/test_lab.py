"""The lab itself: what isolates fake hosts, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from skycore.testing.dockerd import Dockerd
from skycore.testing.lab import FakeHost, Inside, LabError, NamedNetns


def _gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_host_has_its_own_name_network_run_sys_and_proc(fake_host: FakeHost) -> None:
    assert fake_host.run("hostname").strip() == fake_host.hostname
    assert fake_host.run("ls", "/sys/class/net").split() == ["lo"]
    assert "UP" in fake_host.run("ip", "link", "show", "lo")
    assert set(fake_host.run("ls", "/run").split()) <= {"lock", "mount", "netns"}
    assert fake_host.run("readlink", "/proc/self/ns/net") != os.readlink("/proc/self/ns/net")
    assert fake_host.run("cat", "/proc/1/comm").strip() == "bash"
    assert os.readlink(fake_host.netns_path) == fake_host.run("readlink", "/proc/self/ns/net").strip()


def test_its_proc_is_seen_from_outside_with_its_own_pids(fake_host: FakeHost) -> None:
    sleeper = fake_host.popen("sleep", "60")
    inner = fake_host.run("pgrep", "-x", "sleep").strip()
    assert os.readlink(f"{fake_host.proc_path}/{inner}/ns/net") == os.readlink(f"/proc/{sleeper.pid}/ns/net")


def test_named_namespaces_of_a_host_are_its_own(fake_host: FakeHost) -> None:
    fake_host.run("ip", "netns", "add", "inner")
    assert fake_host.run("ls", "/run/netns").split() == ["inner"]
    assert not os.path.exists("/run/netns/inner")
    assert os.path.exists(fake_host.path("/run/netns/inner"))


def test_the_init_reaps_orphans(fake_host: FakeHost) -> None:
    fake_host.run("sh", "-c", "true & exec sleep 0.05 &")
    deadline = time.monotonic() + 5
    while "sleep" in fake_host.run("ps", "-eo", "comm"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "Z" not in fake_host.run("ps", "-eo", "stat")


def test_a_failing_command_says_what_it_printed(fake_host: FakeHost) -> None:
    with pytest.raises(LabError, match=r"ended with 3: no such thing"):
        fake_host.run("sh", "-c", "echo no such thing >&2; exit 3")
    with pytest.raises(LabError, match="did not end within"):
        fake_host.run("sleep", "60", timeout=0.1)


def test_a_started_command_ends_as_it_was_ended(fake_host: FakeHost) -> None:
    sleeper = fake_host.popen("sleep", "60")
    sleeper.kill()
    assert sleeper.wait() == -signal.SIGKILL
    assert [fake_host.popen("sh", "-c", f"exit {status}").wait() for status in range(10)] == list(range(10))


def test_a_frozen_command_does_not_keep_its_host() -> None:
    with FakeHost() as host:
        frozen = host.popen("sleep", "60")
        frozen.freeze()
        thawed = host.popen("sleep", "0.05")
        thawed.freeze()
        thawed.thaw()
        assert thawed.wait() == 0
    assert _gone(frozen.pid)


def test_closing_a_host_ends_all_that_runs_inside() -> None:
    with FakeHost() as host:
        sleepers: list[Inside] = [host.popen("setsid", "sleep", "60") for _ in range(3)]
    assert all(_gone(sleeper.pid) for sleeper in sleepers)
    assert _gone(host.pid)
    host.close()


def test_a_host_dies_with_a_killed_maker() -> None:
    script = "from skycore.testing.lab import FakeHost; import time; print(FakeHost().pid, flush=True); time.sleep(60)"
    maker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert maker.stdout is not None
    with maker, maker.stdout:
        pid = int(maker.stdout.readline())
        maker.kill()
    assert _gone(pid)


def test_joined_hosts_reach_each_other(fake_hosts: Callable[[int], list[FakeHost]]) -> None:
    first, second = fake_hosts(2)
    listener = second.popen("busybox", "nc", "-l", "-p", "5000", "-e", "hostname")
    answer, deadline = "", time.monotonic() + 5
    while not answer and time.monotonic() < deadline:
        try:
            answer = first.run("busybox", "nc", "10.200.0.2", "5000").strip()
        except LabError:
            time.sleep(0.02)
    assert answer == second.hostname
    assert listener.wait() == 0


def test_named_namespaces_are_separate(netns: Callable[[], NamedNetns]) -> None:
    first, second = netns(), netns()
    first.run("ip", "link", "add", "left", "type", "veth", "peer", "name", "right")
    assert "left" in first.run("ip", "link")
    assert "left" not in second.run("ip", "link")
    assert os.path.samefile(first.path, f"/var/run/netns/{first.name}")


def test_containers_survive_the_daemon(dockerd: Dockerd) -> None:
    name = dockerd.container("survivor")
    before = dockerd.docker("inspect", "--format", "{{.State.Pid}}", name)
    dockerd.kill9()
    assert not dockerd.answers()
    dockerd.restart()
    assert dockerd.docker("inspect", "--format", "{{.State.Pid}}", name) == before


def test_a_daemon_that_cannot_start_says_why(dockerd: Dockerd) -> None:
    dockerd.kill9()
    configuration = dockerd.data / "daemon.json"
    good = configuration.read_text()
    configuration.write_text("{")
    try:
        with pytest.raises(LabError, match=r"daemon\.json"):
            dockerd.restart()
    finally:
        configuration.write_text(good)
        dockerd.kill9()
