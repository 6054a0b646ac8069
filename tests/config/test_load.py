"""Files in order, plugins' sections, what is ignored, and what may be shown."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from skycore.config import Address, Enabled, load, loading, to_public
from skycore.config.reference import describe
from skycore.config.values import HIDDEN, Port, Seconds, setting
from skycore.errors import ConfigurationError


def write(folder: Path, **texts: str) -> list[str]:
    for name, text in texts.items():
        (folder / f"{name}.yml").write_text(text)
    return [str(folder / f"{name}.yml") for name in texts]


def test_files_are_merged_in_order(tmp_path: Path) -> None:
    files = write(
        tmp_path,
        a="Agent: {listen: 1, topology: {probes: [x, y]}}\nflow: {expire: 5, update: 6}\nanalyzer: {listen: 9}\n",
        b="agent: {LISTEN: 2, topology: {probes: [docker]}}\nflow: {expire: null}\nanalyzer:\n",
    )
    loaded = load([*files, "-"], {}, stdin=io.BytesIO(b"agent: {listen: 3}"))
    config = loaded.config
    assert config.agent.listen == Address("localhost", 3)
    assert config.agent.topology.probes == ("docker",)
    assert (config.flow.expire, config.flow.update) == (5, 6)
    assert config.analyzer.listen == Address("localhost", 9)
    assert loaded.sources == (*files, "<stdin>")
    assert str(loaded.where("agent.listen")) == "<stdin>:1:9"
    assert str(loaded.where("flow.expire")) == f"{files[0]}:2:8"
    assert loaded.where("flow.protocol") is None


def test_problems_name_their_file_in_order_of_reading(tmp_path: Path) -> None:
    files = write(tmp_path, z="agent: {listen: x}\nflow:\n  expire: 1\n", a="flow: {expire: x}\n")
    with pytest.raises(ConfigurationError) as caught:
        load([*files, str(tmp_path / "none.yml"), "-", "-"], {}, stdin=io.BytesIO(b"a: ["))
    assert [(each.file, each.line) for each in caught.value.problems] == [
        (files[0], 1),
        (files[1], 1),
        (str(tmp_path / "none.yml"), 0),
        ("<stdin>", 0),
        ("<stdin>", 1),
    ]
    messages = [each.message for each in caught.value.problems]
    assert messages[2] == "cannot be read: No such file or directory"
    assert messages[3] == "is given twice"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load([str(tmp_path)], {})


def test_default_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = (str(tmp_path / "skycore.yml"), str(tmp_path / "skydive.yml"))
    monkeypatch.setattr(loading, "DEFAULT_FILES", paths)
    assert load([], {}).sources == ()
    write(tmp_path, skydive="flow: {expire: 5}\n")
    assert (load([], {}).config.flow.expire, load([], {}).sources) == (5, paths[1:])
    write(tmp_path, skycore="flow: {expire: 6, update: 7}\n")
    config = load([], {}).config
    assert (config.flow.expire, config.flow.update) == (5, 7)
    write(tmp_path, skycore="flow: {expire\n")
    with pytest.raises(ConfigurationError, match="wrong YAML"):
        load([], {})
    assert load(["-"], {}, stdin=io.BytesIO(b"")).sources == ("<stdin>",)


@attrs.frozen
class Inner:
    password: str = ""
    words: dict[str, int] = attrs.Factory(dict)


@attrs.frozen
class Settings:
    url: str
    interval: Seconds = 30.0
    ports: tuple[Port, ...] = ()
    mode: Literal["a", "b"] = "a"
    inner: Inner = Inner()
    limit: int = attrs.field(default=5, validator=attrs.validators.le(10))
    note: str | None = None
    key: str = setting("", "A key.", secret=True)


PLUGIN: dict[str, type] = {"agent.topology.example": Settings}


def test_settings_of_a_plugin(load_text: Any) -> None:
    text = "agent: {topology: {Example: {URL: u, interval: 2, ports: [1], mode: b, inner: {words: {A: 1}}, note: x}}}"
    loaded = load_text(text, {"SKYDIVE_AGENT_TOPOLOGY_EXAMPLE_LIMIT": "7"}, PLUGIN)
    assert loaded.config.plugins["agent.topology.example"] == Settings(
        "u", 2.0, (1,), "b", Inner(words={"A": 1}), 7, "x"
    )
    assert loaded.ignored == ()


@pytest.mark.parametrize(
    ("section", "key", "column", "message"),
    [
        ("{}", "url", 29, "must be written"),
        ("{url: 3}", "url", 35, "expects a string, not 3; put it in quotes"),
        ("{url: u, interval: 0}", "interval", 48, "a number of seconds above 0"),
        ("{url: u, ports: [1, x]}", "ports[1]", 49, "from 0 to 65535"),
        ("{url: u, mode: c}", "mode", 44, "one of a, b"),
        ("{url: u, limit: 11}", "limit", 45, "'limit' must be <= 10: 11"),
        ("{url: u, limit: 1.0}", "limit", 45, "an integer"),
        ("{url: u, inner: {password: 271828}}", "inner.password", 56, "a string, not a number"),
        ("{url: u, inner: {words: {x: y}}}", "inner.words.x", 57, "an integer"),
        ("{url: u, inner: {more: 1}}", "inner.more", 46, "allowed here: password, words"),
        ("{url: u, intervall: 1}", "intervall", 38, "did you mean interval?"),
        ("3", "", 29, "a map with the keys"),
    ],
)
def test_wrong_settings_of_a_plugin(problems: Any, section: str, key: str, column: int, message: str) -> None:
    found = problems(f"agent: {{topology: {{example: {section}}}}}", {}, PLUGIN)
    full = f"agent.topology.example.{key}".rstrip(".")
    (only,) = [each for each in found if each.key == full]
    expected = 20 if message == "must be written" else column
    assert (only.line, only.column) == (1, expected)
    assert message in only.message


def test_settings_that_must_be_written_are_missed(problems: Any) -> None:
    (found,) = problems("", {}, PLUGIN)
    assert str(found) == "<stdin>: agent.topology.example.url: must be written"


def test_a_plugin_takes_a_known_section_over(load_text: Any, problems: Any) -> None:
    @attrs.frozen
    class Mine:
        url: str = "here"
        more: int = 1

    text = "agent: {topology: {docker: {more: 2}}}"
    plugins = {"agent.topology.docker": Mine}
    assert load_text(text, {}, plugins).config.plugins["agent.topology.docker"] == Mine("here", 2)
    (found,) = problems("agent: {topology: {docker: {netns: {}}}}", {}, plugins)
    assert found.key == "agent.topology.docker.netns"
    assert to_public(load_text(text, {}, plugins).config)["agent"]["topology"]["docker"] == {"url": "here", "more": 2}


def test_sections_inside_a_section_belong_to_several_plugins(load_text: Any) -> None:
    @attrs.frozen
    class Mine:
        ovsdb: str = "x"

    config = load_text("ovs: {ovsdb: y, oflow: {enable: on}}", {}, {"ovs": Mine}).config
    assert config.plugins["ovs"] == Mine("y")
    assert config.plugins["ovs.oflow"].enable is True


def test_sections_are_asked_for_by_what_is_enabled(load_text: Any) -> None:
    asked: list[Enabled] = []

    def sections(enabled: Enabled) -> dict[str, type]:
        asked.append(enabled)
        return PLUGIN

    text = (
        "agent: {topology: {Probes: [Example, -netlink], example: {url: u}}}\n"
        "storage: {a: {driver: Elasticsearch}, memory: {}}\nauth: {b: {type: basic}}\n"
    )
    loaded = load_text(text, {"SKYDIVE_ANALYZER_TOPOLOGY_PROBES": "k8s ovn"}, sections)
    (enabled,) = asked
    assert enabled.probes == {
        "agent.topology": ("Example", "-netlink"),
        "analyzer.topology": ("k8s", "ovn"),
        "agent.flow": (),
    }
    assert (enabled.storage, enabled.auth) == (("elasticsearch", "memory"), ("basic",))
    assert loaded.config.plugins["agent.topology.example"].url == "u"
    assert loaded.config.agent.topology.probes == ("example", "-netlink")


def test_storage_and_auth_of_plugins(load_text: Any, problems: Any) -> None:
    plugins = {"storage.example": Settings, "auth.ldap": Inner}
    text = "storage: {Mine: {driver: example, url: u}, example: {url: v, interval: 3}}\nauth: {corp: {type: ldap}}\n"
    config = load_text(text + "analyzer: {topology: {backend: MINE}}", {}, plugins).config
    assert config.analyzer.topology.backend == "mine"
    assert config.storage["mine"].settings == Settings("u", 3.0)
    assert (config.auth["corp"].settings, config.auth["corp"].role) == (Inner(), "admin")
    found = problems("storage: {x: {driver: example, usl: u}}", {}, plugins)
    assert [each.key for each in found] == ["storage.x.url", "storage.x.usl"]
    assert config.storage["example"].settings.url == "v"
    assert "example" not in load_text("", {}, plugins).config.storage


def test_a_storage_section_inherits_that_of_its_driver(load_text: Any) -> None:
    text = (
        "storage:\n  es: {driver: elasticsearch, bulk_maxdelay: 1}\n"
        "  elasticsearch: {index_prefix: p_, bulk_maxdelay: 2}\n"
    )
    settings = load_text(text).config.storage["es"].settings
    assert (settings.index_prefix, settings.bulk_maxdelay, settings.total_fields_limit) == ("p_", 1, 1000)


def test_what_is_ignored(load_text: Any) -> None:
    text = """\
agent:
  listen: 127.0.0.1:8081
  topology:
    probes: [absent]
    absent: {x: {y: 1}}
    lldp: {interfaces: [eth0], of_a_newer_version: 1}
    docker: {}
    bess:
flow:
  protocol: udp
docker:
  url: tcp://x
storage: {es: {driver: elasticsearch, new: 1}, embedded: {path: /x}}
"""
    found = {each.key: (str(each.where), each.reason) for each in load_text(text).ignored}
    assert found == {
        "docker.url": ("<stdin>:12:3", "is an old name; write agent.topology.docker.url"),
        "agent.topology.absent": ("<stdin>:5:5", "the plugin absent is not installed"),
        "agent.topology.lldp": ("<stdin>:6:5", "no plugin that is installed and enabled reads this section"),
        "agent.topology.docker": ("<stdin>:7:5", "no plugin that is installed and enabled reads this section"),
        "flow.protocol": ("<stdin>:10:13", "has no effect in this version"),
        "storage.es": ("<stdin>:13:11", "no plugin that is installed and enabled reads this section"),
    }


def test_old_names(load_text: Any) -> None:
    text = (
        "auth: {type: basic, analyzer_password: p}\nsflow: {port_min: 1}\nnetns: {run_path: /x}\n"
        "graph: {backend: memory}\n"
    )
    config = load_text(text + "analyzer: {topology: {backend: embedded}, auth: {api: {backend: noauth}}}\n").config
    assert (config.agent.auth.api.backend, config.analyzer.auth.cluster.backend) == ("basic", "basic")
    assert config.analyzer.auth.api.backend == "noauth"
    assert config.agent.auth.cluster.password == "p"
    assert config.plugins["agent.flow.sflow"].port_min == 1
    assert config.plugins["agent.topology.netns"].run_path == "/x"
    assert config.analyzer.topology.backend == "embedded"


def test_an_auth_section_may_be_named_type(load_text: Any) -> None:
    assert load_text("auth: {type: {type: basic}}").config.auth["type"].type == "basic"


@pytest.mark.parametrize(
    ("text", "expected"), [("yes", True), ("On", True), ("NO", False), ("off", False), ("true", True)]
)
def test_booleans(load_text: Any, text: str, expected: bool) -> None:
    assert load_text(f"logging: {{color: {text}}}").config.logging.color is expected


def test_names_of_the_user_keep_their_case(load_text: Any) -> None:
    config = load_text("agent: {metadata: {Rack: {A: no}}}\nauth: {basic: {users: {Joe: p, joe: q}}}\n").config
    assert config.agent.metadata == {"Rack": {"A": "no"}}
    assert config.auth["basic"].settings.users == {"Joe": "p", "joe": "q"}


SECRETS = """\
tls: {client_key: sesame1, server_key: sesame2}
http: {cookie: {c: sesame3}}
cluster: {token_file: sesame4}
agent:
  auth: {cluster: {password: sesame5}}
  topology: {example: {url: "http://joe:sesame6@h", key: sesame7, inner: {password: sesame8}}}
analyzer: {cluster: a, peers: {b: {password: sesame9}}, auth: {cluster: {password: sesame10}}}
storage:
  elasticsearch: {hosts: ["https://joe:sesame11@h"], auth: {password: sesame12}}
  orientdb: {password: sesame13}
auth: {basic: {users: {joe: sesame14}}}
etcd: {servers: ["https://joe:sesame15@h"]}
"""


def test_secrets_are_never_shown(load_text: Any) -> None:
    config = load_text(SECRETS, {}, PLUGIN).config
    public = to_public(config)
    text = json.dumps(public)
    assert "sesame" not in text
    assert "sesame" not in repr(config)
    assert public["storage"]["elasticsearch"]["hosts"] == [f"https://{HIDDEN}@h"]
    assert public["agent"]["auth"]["cluster"] == {"username": "", "password": HIDDEN}
    assert public["agent"]["topology"]["example"]["url"] == f"http://{HIDDEN}@h"
    assert public["auth"]["basic"]["users"] == HIDDEN
    assert config.auth["basic"].settings.users == {"joe": "sesame14"}


def test_the_reference_shows_settings_of_plugins() -> None:
    keys = {key.key: key for key in describe(PLUGIN)}
    assert keys["agent.topology.example.url"].default == "must be written"
    assert keys["agent.topology.example.interval"].default == "30"
    assert keys["agent.topology.example.interval"].effective
    assert not keys["agent.topology.lldp.interfaces"].effective


def test_importing_the_package_brings_no_parser() -> None:
    code = "import sys, skycore.config; print([name for name in ('yaml', 'cattrs') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
