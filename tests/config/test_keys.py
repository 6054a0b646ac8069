"""The documented keys: each exists, has its default, takes a value from a file and from the environment."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from skycore.config import describe, to_public
from skycore.config.reference import markdown
from skycore.config.values import HIDDEN


def nested(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree


def text_keys(value: Any) -> Any:
    """Keys of maps as JSON has them."""
    return json.loads(json.dumps(value))


def test_defaults(load_text: Any, key_table: list[tuple[str, str, str]]) -> None:
    public = to_public(load_text("").config)
    wrong = {}
    for key, default, _ in key_table:
        expected = HIDDEN if key == "storage.orientdb.password" else yaml.safe_load(default)
        if default != "-" and at(public, key) != expected:
            wrong[key] = (at(public, key), expected)
    assert wrong == {}


def test_every_key_is_taken_from_files(load_text: Any, key_table: list[tuple[str, str, str]]) -> None:
    written: dict[str, Any] = {}
    for key, _, other in key_table:
        if other != "-":
            *above, last = key.split(".")
            place = written
            for name in above:
                place = place.setdefault(name, {})
            place[last] = yaml.safe_load(other)
    loaded = load_text(yaml.safe_dump(written))
    public = to_public(loaded.config)
    for key, _, other in key_table:
        if other != "-":
            assert at(public, key) in (HIDDEN, text_keys(yaml.safe_load(other))), key
            assert loaded.where(key) is not None


def test_every_key_is_taken_from_the_environment(load_text: Any, key_table: list[tuple[str, str, str]]) -> None:
    environ: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, _, other in key_table:
        value = None if other == "-" else yaml.safe_load(other)
        # An empty variable says nothing.
        if value not in (None, "", []):
            text = json.dumps(value) if isinstance(value, list | dict | bool) else str(value)
            environ["SKYDIVE_" + key.upper().replace(".", "_")] = text
            values[key] = value
    loaded = load_text("", environ)
    assert all(each.key for each in loaded.ignored), loaded.ignored
    public = to_public(loaded.config)
    for key, value in values.items():
        assert at(public, key) in (HIDDEN, text_keys(value)), key


@pytest.mark.parametrize("key", ["agent.listen", "ui.topology.favorites", "storage.elasticsearch.hosts"])
def test_keys_are_case_insensitive(load_text: Any, key_table: list[tuple[str, str, str]], key: str) -> None:
    (other,) = [yaml.safe_load(other) for each, _, other in key_table if each == key]
    loaded = load_text(yaml.safe_dump(nested(key.title(), other)))
    assert at(to_public(loaded.config), key) == other


def test_the_schema_has_no_other_keys(key_table: list[tuple[str, str, str]]) -> None:
    documented = {key for key, _, _ in key_table}
    for key in describe():
        name = key.key
        for kind in ("elasticsearch", "orientdb", "embedded", "memory", "basic", "keystone", "noauth"):
            name = name.replace(f"<{kind}>", kind)
        if name.startswith("analyzer.peers."):
            continue
        name = name.replace("storage.<name>", "storage.memory").replace("auth.<name>", "auth.noauth")
        assert name in documented
        assert key.doc.endswith(".")
        assert key.type


def test_peers(load_text: Any) -> None:
    text = (
        "analyzer:\n  cluster: a\n  peers:\n    B:\n      endpoints: [b:1]\n      publish_filter: '*'\n"
        "      subscribe_filter: G.V()\n      username: joe\n      password: sesame\n"
    )
    peer = load_text(text).config.analyzer.peers["b"]
    assert (str(peer.endpoints[0]), peer.publish_filter, peer.subscribe_filter) == ("b:1", "*", "G.V()")
    assert (peer.username, peer.password) == ("joe", "sesame")


def test_environment_names_are_unique() -> None:
    names = [key.key.replace(".", "_").upper() for key in describe() if "<" not in key.key]
    assert len(names) == len(set(names))


def test_defaults_of_this_host(load_text: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_text("").config.host_id == socket.gethostname()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load_text("").config.storage["embedded"].settings.path == "/var/lib/skycore"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load_text("").config.storage["embedded"].settings.path == f"{tmp_path}/skycore"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/joe")
    assert load_text("").config.storage["embedded"].settings.path == "/home/joe/.local/state/skycore"


def test_the_reference_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == markdown(), "run: python -m skycore.config.reference > docs/configuration.md"
