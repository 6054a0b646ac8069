"""From recorded answers of a real daemon to nodes; and answers that no daemon should give."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_docker.answer import BadAnswer
from skydive_probe_docker.client import read_event
from skydive_probe_docker.mapping import Container, read_container

from skycore.plugin import Key

RECORDED = json.loads((Path(__file__).parent / "data" / "docker-20.10.24.json").read_text())
INSPECTED = RECORDED["inspected"]
RUNNING = ("bridge", "two_networks", "shares", "host", "none", "paused", "renamed", "healthy")


def _container(moment: str) -> Container:
    return read_container(INSPECTED[moment], "docker")


def test_a_container_node_is_what_skydive_users_know() -> None:
    answer = INSPECTED["bridge"]
    container = _container("bridge")
    assert container.key == Key("container", answer["Id"])
    assert {key: value for key, value in container.metadata.items() if key != "Container"} == {
        "Name": "web",
        "Type": "container",
        "Manager": "docker",
    }
    assert (
        container.metadata["Container"].items()
        >= {
            "ID": answer["Id"],
            "Image": "skt/busybox:1",
            "ImageID": answer["Image"],
            "Runtime": "docker",
            "Status": "running",
            "InitProcessPID": answer["State"]["Pid"],
            "Labels": {
                "com": {"docker": {"compose": {"project": "shop", "project.working_dir": "/srv/shop"}}},
                "role": 'a "quoted"\nname\t\x01 é',
                "app": {"kubernetes": {"io/name": "web"}},
            },
        }.items()
    )


@pytest.mark.parametrize("moment", RUNNING)
def test_every_running_container_is_read(moment: str) -> None:
    container = _container(moment)
    assert container.pid == INSPECTED[moment]["State"]["Pid"]
    assert container.shares == (moment == "shares")
    assert bool(container.sandbox) == (moment != "shares")


def test_what_an_event_changes_shows() -> None:
    details = {moment: _container(moment).metadata["Container"] for moment in RUNNING}
    assert details["paused"]["Status"] == "paused"
    assert details["healthy"]["Health"] == "healthy"
    assert "Health" not in details["bridge"]
    assert _container("renamed").name == "shop"
    assert _container("renamed").key == _container("bridge").key


def test_a_container_that_ended_has_no_process() -> None:
    ended = _container("exited")
    assert ended.pid == 0
    details = ended.metadata["Container"]
    assert (details["Status"], details["ExitCode"]) == ("exited", INSPECTED["exited"]["State"]["ExitCode"])
    assert details["FinishedAt"] > details["StartedAt"] > details["CreatedAt"]
    assert "InitProcessPID" not in details
    restarting = copy.deepcopy(INSPECTED["bridge"])
    restarting["State"] |= {"Status": "restarting", "Restarting": True, "Pid": 0}
    assert read_container(restarting, "docker").pid == 0


def test_networks_limits_and_the_rest() -> None:
    details = _container("two_networks").metadata["Container"]
    assert [network["Name"] for network in details["Networks"]] == ["bridge", "second"]
    answered = INSPECTED["two_networks"]["NetworkSettings"]["Networks"]["second"]
    assert details["Networks"][1]["IPV4"] == f"{answered['IPAddress']}/{answered['IPPrefixLen']}"
    assert details["Networks"][1]["MAC"] == answered["MacAddress"]
    assert _container("shares").metadata["Container"]["NetworkMode"].startswith("container:")
    assert "Networks" not in _container("shares").metadata["Container"]
    # The limits were set after it was renamed; healthy is another container.
    assert _container("exited").metadata["Container"]["Resources"] == {"Memory": 64 << 20, "MemorySwap": 64 << 20}
    assert "Resources" not in _container("healthy").metadata["Container"]


def test_ports_mounts_and_policies() -> None:
    answer = copy.deepcopy(INSPECTED["bridge"])
    answer["NetworkSettings"]["Ports"] = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "53/udp": None,
    }
    volume = {"Type": "volume", "Name": "v", "Source": "/var/v", "Destination": "/a", "Driver": "local"}
    answer["Mounts"] = [
        {"Type": "bind", "Source": "/srv", "Destination": "/data", "Mode": "", "RW": False},
        {**volume, "RW": True},
    ]
    answer["HostConfig"]["RestartPolicy"] = {"Name": "on-failure", "MaximumRetryCount": 3}
    answer["RestartCount"] = 2
    details = read_container(answer, "podman", ["x@sha256:1"]).metadata["Container"]
    assert details["Ports"] == [
        {"Port": 53, "Protocol": "udp"},
        {"Port": 80, "Protocol": "tcp", "HostIP": "0.0.0.0", "HostPort": 8080},
        {"Port": 80, "Protocol": "tcp", "HostIP": "::", "HostPort": 8080},
    ]
    assert details["Mounts"] == [
        {**volume, "ReadOnly": False},
        {"Type": "bind", "Source": "/srv", "Destination": "/data", "ReadOnly": True},
    ]
    assert (details["RestartPolicy"], details["RestartCount"]) == ("on-failure:3", 2)
    assert (details["Runtime"], details["ImageDigests"]) == ("podman", ["x@sha256:1"])


def test_recorded_events_name_their_container() -> None:
    ids = {read_event(json.dumps(event).encode()) for event in RECORDED["events"] if event["Type"] == "container"}
    assert INSPECTED["bridge"]["Id"] in ids
    assert len(ids - {None}) == 5


def test_events_that_change_nothing_are_passed_over() -> None:
    def read(action: str, kind: str = "container", **attributes: str) -> str | None:
        actor = {"ID": "abc", "Attributes": attributes}
        return read_event(json.dumps({"Type": kind, "Action": action, "Actor": actor}).encode())

    assert read("exec_create: sh -c true") is None
    assert read("exec_die") is None
    assert read("health_status: healthy") == "abc"
    assert read("start") == "abc"
    assert read("something podman says") == "abc"
    assert read("connect", "network", container="def") == "def"
    assert read("create", "network") is None


def test_hostile_texts_are_kept_as_far_as_they_can_be_written() -> None:
    answer = copy.deepcopy(INSPECTED["bridge"])
    answer["Name"] = "/" + "n" * 1_000_000
    answer["Config"]["Labels"] = {"\ud800.x": "\udfff", '"\n\x00': "v" * 1_000_000}
    container = read_container(answer, "docker")
    assert container.name == "n" * 1_000_000
    assert container.metadata["Container"]["Labels"] == {"?": {"x": "?"}, '"\n\x00': "v" * 1_000_000}
    json.dumps(container.metadata, ensure_ascii=False).encode()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = (
    ("Id",), ("Name",), ("Image",), ("State",), ("State", "Running"), ("State", "Pid"), ("State", "Status"),
    ("State", "Health"), ("State", "StartedAt"), ("Config",), ("Config", "Labels"), ("Config", "Image"),
    ("HostConfig",), ("HostConfig", "NetworkMode"), ("NetworkSettings",), ("NetworkSettings", "SandboxKey"),
    ("NetworkSettings", "Networks"), ("NetworkSettings", "Networks", "bridge"), ("NetworkSettings", "Ports"),
    ("Mounts",), ("HostConfig", "RestartPolicy"), ("HostConfig", "Memory"), ("RestartCount",), ("Created",),
)  # fmt: skip


@given(st.sampled_from(_FIELDS), _json, st.booleans())
def test_a_wrong_field_is_a_bad_answer_and_nothing_worse(path: tuple[str, ...], value: Any, remove: bool) -> None:
    answer = copy.deepcopy(INSPECTED["bridge"])
    place = answer
    for step in path[:-1]:
        place = place[step]
    if remove:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    try:
        container = read_container(answer, "docker")
    except BadAnswer:
        return
    assert container.id
    assert container.name
    json.dumps(container.metadata, ensure_ascii=False, allow_nan=False).encode()


@given(_json)
def test_any_other_document_is_a_bad_answer(document: Any) -> None:
    with pytest.raises(BadAnswer):
        read_container(document, "docker")


@given(
    st.binary(max_size=60) | _json.filter(lambda value: value is not None).map(lambda value: json.dumps(value).encode())
)
def test_any_other_line_is_a_bad_event(line: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_event(line)


def test_a_bottomless_answer_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer):
        read_event(b"[" * 1_000_000)
    with pytest.raises(BadAnswer):
        read_event(b"1" * 10_000)
