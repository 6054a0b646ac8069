"""From recorded answers of a real daemon to nodes; and answers that no daemon should give."""

from __future__ import annotations

import copy
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_docker.client import read_event
from skydive_probe_docker.mapping import BadAnswer, Container, Located, inventory, read_container

from skycore.plugin import Key, Namespace

RECORDED = json.loads((Path(__file__).parent / "data" / "docker-20.10.24.json").read_text())
INSPECTED = RECORDED["inspected"]
ROOT = Key("host", "h1")
RUNNING = ("bridge", "two_networks", "shares", "host", "none", "paused", "renamed", "healthy")


def _container(moment: str) -> Container:
    container = read_container(INSPECTED[moment])
    assert container is not None
    return container


def _namespace(number: int) -> Namespace:
    return Namespace(Key("netns", f"boot/{number}"), number, f"/proc/{number}/ns/net", 4026530000 + number, 4)


def test_a_container_node_is_what_skydive_users_know() -> None:
    answer = INSPECTED["bridge"]
    container = _container("bridge")
    assert container.key == Key("container", answer["Id"])
    assert container.metadata == {
        "Name": "web",
        "Type": "container",
        "Manager": "docker",
        "Container": {
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
        },
    }


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


def test_a_container_that_ended_is_none() -> None:
    assert read_container(INSPECTED["exited"]) is None
    restarting = copy.deepcopy(INSPECTED["bridge"])
    restarting["State"] |= {"Status": "restarting", "Restarting": True, "Pid": 0}
    assert read_container(restarting) is None


def test_a_namespace_bears_the_name_of_its_first_container() -> None:
    namespace = _namespace(1)
    located = [Located(_container(moment), namespace, "/run/x") for moment in ("bridge", "shares", "healthy")]
    for order in permutations(located):
        result = inventory(order, ROOT)
        assert result.nodes[namespace.key] == {
            "Name": "web",
            "Type": "netns",
            "Manager": "docker",
            "Path": "/run/x",
            "Inode": namespace.inode,
            "Device": namespace.device,
        }
        assert result.owners == {namespace.key: ROOT, **{one.container.key: namespace.key for one in located}}
        assert result.namespaces == {namespace.key: namespace}


def test_the_namespace_stays_until_the_last_of_its_containers_has_gone() -> None:
    namespace = _namespace(1)
    result = inventory([Located(_container("shares"), namespace, "/proc/9/ns/net")], ROOT)
    assert result.nodes[namespace.key]["Name"] == "sidecar"
    assert inventory([], ROOT).nodes == {}


def test_containers_without_a_namespace_of_their_own_belong_to_the_host() -> None:
    container = _container("host")
    result = inventory([Located(container, None, "")], ROOT)
    assert result.owners == {container.key: ROOT}
    assert list(result.nodes) == [container.key]


def test_recorded_events_name_their_container() -> None:
    ids = {read_event(json.dumps(event).encode()) for event in RECORDED["events"] if event["Type"] == "container"}
    assert INSPECTED["bridge"]["Id"] in ids
    assert len(ids) == 5


def test_hostile_texts_are_kept_as_far_as_they_can_be_written() -> None:
    answer = copy.deepcopy(INSPECTED["bridge"])
    answer["Name"] = "/" + "n" * 1_000_000
    answer["Config"]["Labels"] = {"\ud800.x": "\udfff", '"\n\x00': "v" * 1_000_000}
    container = read_container(answer)
    assert container is not None
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
        container = read_container(answer)
    except BadAnswer:
        return
    assert container is None or (container.id and container.name and container.pid > 0)


@given(_json)
def test_any_other_document_is_a_bad_answer(document: Any) -> None:
    with pytest.raises(BadAnswer):
        read_container(document)


@given(st.binary(max_size=60) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_other_line_is_a_bad_event(line: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_event(line)


def test_a_bottomless_answer_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer):
        read_event(b"[" * 1_000_000)
    with pytest.raises(BadAnswer):
        read_event(b"1" * 10_000)
