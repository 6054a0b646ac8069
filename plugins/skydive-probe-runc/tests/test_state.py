"""What runtimes and engines write, whole, broken and invented."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_runc import engine, keys, state
from skydive_probe_runc.hosts import read_hosts
from skydive_probe_runc.reading import Found
from skydive_probe_runc.state import BadState

# By hand, after what runc 1.1.5 and crun 1.8.1 write; test_probe.py has them write it themselves.
SYNTHETIC_RUNC: dict[str, Any] = {
    "id": "web",
    "init_process_pid": 28,
    "init_process_start": 1497725,
    "created": "2026-11-23T16:36:33.844389097Z",
    "config": {
        "hostname": "box",
        "namespaces": [{"type": "NEWPID", "path": ""}, {"type": "NEWNET", "path": "/run/netns/x"}],
        "mounts": [
            {"source": "proc", "destination": "/proc", "device": "proc", "flags": 0},
            {"source": "/srv", "destination": "/data", "device": "bind", "flags": 4097},
        ],
        "labels": ["a.b=c=d", "bundle=/run/bundle", "empty="],
        "cgroups": {"memory": 67108864, "memory_swap": -1, "cpu_shares": 0, "cpuset_cpus": "0-1"},
    },
    "cgroup_paths": {"": "/sys/fs/cgroup/unified/x", "freezer": "/sys/fs/cgroup/freezer/x", "cpu": "/c"},
}
SYNTHETIC_CRUN: dict[str, Any] = {
    "pid": 349,
    "process-start-time": 1538260,
    "cgroup-path": "/x/web",
    "bundle": "/run/bundle",
    "created": "2026-11-23T16:43:19.156526Z",
}
SYNTHETIC_CONFIG: dict[str, Any] = {
    "hostname": "box",
    "annotations": {"a.b": "c"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/data", "type": "none", "source": "/srv", "options": ["rbind", "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": "pid"}],
        "resources": {"memory": {"limit": 67108864, "swap": -1}, "cpu": {"cpus": "0-1"}, "pids": {"limit": 5}},
    },
}

# By hand, after what containerd 1.6.20 (test_cri.py has it write it itself) and CRI-O 1.16.1 (test_crio.py) write.
SYNTHETIC_CRI = {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": "server",
    "io.kubernetes.cri.image-name": "docker.io/library/busybox:1",
    "io.kubernetes.cri.sandbox-id": "5" * 64,
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "shop",
    "io.kubernetes.cri.sandbox-uid": "u-1",
}
SYNTHETIC_CRIO = {
    "io.container.manager": "cri-o",
    "io.kubernetes.cri-o.ContainerID": "1" * 64,
    "io.kubernetes.cri-o.ContainerType": "container",
    "io.kubernetes.cri-o.Name": "k8s_server_web-0_shop_u-1_0",
    "io.kubernetes.cri-o.Metadata": '{"name":"server"}',
    "io.kubernetes.cri-o.SandboxID": "5" * 64,
    "io.kubernetes.cri-o.ImageName": "docker.io/library/busybox:1",
    "io.kubernetes.cri-o.ImageRef": "sha256:2",
    "io.kubernetes.cri-o.Labels": '{"app":"web","odd":5}',
}


def test_runc() -> None:
    assert state.read_runc(SYNTHETIC_RUNC, id="folder") == state.State(
        runtime="runc",
        id="web",
        pid=28,
        started=1497725,
        created=1795451793844,
        namespace="/run/netns/x",
        bundle="/run/bundle",
        annotations={"a.b": "c=d", "empty": ""},
        hostname="box",
        mounts=[state.Mount("/srv", "/data", True)],
        resources={"Memory": 67108864, "CPUs": "0-1"},
        freezers=["/sys/fs/cgroup/freezer/x/freezer.state", "/sys/fs/cgroup/unified/x/cgroup.freeze"],
    )


def test_crun() -> None:
    found = state.read_crun(SYNTHETIC_CRUN, SYNTHETIC_CONFIG, id="web")
    assert (found.runtime, found.id, found.pid, found.started) == ("crun", "web", 349, 1538260)
    assert found.namespace is None
    assert found.mounts == [state.Mount("/srv", "/data", True)]
    assert found.resources == {"Memory": 67108864, "CPUs": "0-1", "PidsLimit": 5}
    assert found.annotations == {"a.b": "c"}
    assert "/sys/fs/cgroup/freezer/x/web/freezer.state" in found.freezers
    assert state.read_crun(SYNTHETIC_CRUN, {}, id="web").hostname == ""


def _left(notes: dict[str, str], bundle: str = "/run/bundle", **more: Any) -> engine.Left:
    labels = [f"{name}={value}" for name, value in notes.items()] + [f"bundle={bundle}"]
    found = state.read_runc({**SYNTHETIC_RUNC, "config": {"labels": labels}}, id="x")
    return engine.read_left(found, more.get("stored"), more.get("created"))


def test_containerds_cri() -> None:
    left = _left(SYNTHETIC_CRI, "/run/containerd/io.containerd.runtime.v2.task/k8s.io/x")
    assert (left.engine, left.name, left.image) == ("containerd", "server", "docker.io/library/busybox:1")
    assert left.pod == {
        "Name": "web-0",
        "Namespace": "shop",
        "UID": "u-1",
        "SandboxID": "5" * 64,
        "Kind": "container",
    }


def test_crio() -> None:
    left = _left(SYNTHETIC_CRIO)
    assert (left.engine, left.name) == ("cri-o", "server")
    assert (left.image, left.image_id) == ("docker.io/library/busybox:1", "sha256:2")
    assert left.labels == {"app": "web"}
    assert left.pod == {
        "Name": "web-0",
        "Namespace": "shop",
        "UID": "u-1",
        "SandboxID": "5" * 64,
        "Kind": "container",
    }


@pytest.mark.parametrize("name", ["", "web", "_" * 9, "k8s_web_shop"])
@pytest.mark.parametrize("metadata", ["", "null", "[]", "{", '{"name": 5}'])
def test_notes_of_another_form_than_crios(name: str, metadata: str) -> None:
    notes = {"io.kubernetes.cri-o.Name": name, "io.kubernetes.cri-o.Metadata": metadata}
    left = _left({**SYNTHETIC_CRIO, **notes})
    assert (left.engine, left.name) == ("cri-o", name)
    assert left.pod == {"SandboxID": "5" * 64, "Kind": "container"}


def test_storage_and_create_config() -> None:
    stored = {"id": "x", "names": ["web"], "image": "5f", "metadata": '{"image-name": "localhost/b:1"}'}
    left = _left({"io.container.manager": "libpod"}, stored=stored)
    assert (left.engine, left.name, left.image, left.image_id) == ("podman", "web", "localhost/b:1", "5f")
    assert engine.find_stored([None, 5, stored], "x") is stored
    assert engine.find_stored([stored], "y") is None
    left = _left({}, created={"Image": "i", "ImageID": "j", "Labels": {"l": "m"}})
    assert (left.image, left.image_id, left.labels) == ("i", "j", {"l": "m"})
    assert _left({}, "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/x").engine == "docker"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", {}),
        ("127.0.0.1 localhost\n::1 localhost\nff02::1 ip6-allnodes\nfe00::0 ip6-localnet\n", {}),
        ("# 10.0.0.1 x\n10.0.0.1\nnonsense x\n", {}),
        (
            "10.0.0.1\tA b # c\n10.0.0.1 b C\n2001:db8::1 six\n",
            {"IP": "2001:db8::1", "Hostname": "six", "ByIP": {"10.0.0.1": ["a", "b", "c"], "2001:db8::1": ["six"]}},
        ),
    ],
)
def test_hosts(text: str, hosts: dict[str, Any]) -> None:
    assert read_hosts(text) == hosts


@given(st.text(alphabet="1.:af# \n\tx", max_size=60))
def test_other_texts_are_no_harm_for_hosts(text: str) -> None:
    json.dumps(read_hosts(text))


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("soon", 0),
        ("1970-01-01T01:00:01+01:00", 1000),
    ],
)
def test_times(time: str, ms: int) -> None:
    assert state.milliseconds(time) == ms


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def _places(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything within a document."""
    inner: Any = []
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    return [path for key, value in inner for path in ((*before, key), *_places(value, (*before, key)))]


def _changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@given(st.sampled_from(_places({"runc": SYNTHETIC_RUNC, "crun": SYNTHETIC_CRUN, "config": SYNTHETIC_CONFIG})), _json)
def test_a_wrong_field_is_a_bad_state_and_nothing_worse(path: tuple[Any, ...], value: Any) -> None:
    documents = _changed({"runc": SYNTHETIC_RUNC, "crun": SYNTHETIC_CRUN, "config": SYNTHETIC_CONFIG}, path, value)
    try:
        for document in documents.values():
            state.decode(json.dumps(document).encode(), "x")
        found = [
            state.read_runc(documents["runc"], id="x"),
            state.read_crun(documents["crun"], documents["config"], id="x"),
        ]
        for one in found:
            left = engine.read_left(one, documents["runc"], None)
            metadata = keys.metadata(Found("/f", one, left, {}, "running"))
            json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
            assert metadata["Name"] is not None
    except BadState:
        return


@given(st.binary(max_size=80))
def test_other_bytes_are_a_bad_state(body: bytes) -> None:
    try:
        state.read_runc(state.decode(body, "x"), id="x")
    except BadState:
        pass
