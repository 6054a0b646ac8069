from __future__ import annotations

from typing import Any

import pytest

from skycore.config import Address, to_public


def test_types_by_key(load_text: Any) -> None:
    config = load_text(
        "",
        {
            "SKYDIVE_ANALYZERS": "a:8082  b:8083",
            "SKYDIVE_AGENT_TOPOLOGY_PROBES": "ovsdb -netlink",
            "SKYDIVE_HOST_ID": "007",
            "SKYDIVE_FLOW_EXPIRE": "1.5",
            "SKYDIVE_FLOW_MAX_ENTRIES": " 0x10 ",
            "SKYDIVE_LOGGING_COLOR": "0",
            "SKYDIVE_HTTP_WS_ENABLE_WRITE_COMPRESSION": "no",
            "SKYDIVE_LOGGING_LEVEL": "debug",
            "SKYDIVE_RBAC_POLICY": '["p, joe, config, read, allow"]',
            "SKYDIVE_ANALYZER_LISTEN": "[::1]:1",
        },
    ).config
    assert config.analyzers == (Address("a", 8082), Address("b", 8083))
    assert config.agent.topology.probes == ("ovsdb", "-netlink")
    assert config.host_id == "007"
    assert (config.flow.expire, config.flow.max_entries) == (1.5, 16)
    assert (config.logging.color, config.http.ws.enable_write_compression) == (False, False)
    assert config.logging.level == "DEBUG"
    assert config.rbac.policy == ("p, joe, config, read, allow",)
    assert config.analyzer.listen == Address("::1", 1)


def test_a_variable_wins_over_files_and_hides_no_siblings(load_text: Any) -> None:
    config = load_text(
        "ui:\n  extra_assets: /x\n  theme: dark\n  topology: {favorites: {A: a}}\nflow: {update: 7, expire: 8}\n",
        {
            "SKYDIVE_UI": '{"theme": "light", "Topology": {"favorites": {"B": "b"}}}',
            "SKYDIVE_UI_BANDWIDTH_UPDATE_RATE": "9",
            "SKYDIVE_FLOW_EXPIRE": "3",
        },
    ).config
    assert (config.ui.extra_assets, config.ui.theme, config.ui.bandwidth_update_rate) == ("/x", "light", 9)
    assert config.ui.topology.favorites == {"A": "a", "B": "b"}
    assert (config.flow.update, config.flow.expire) == (7, 3)


def test_the_variable_of_a_key_wins_over_that_of_its_section(load_text: Any) -> None:
    environ = {"SKYDIVE_UI_THEME": "dark", "SKYDIVE_UI": '{"theme": "light", "ssh_enabled": true}'}
    config = load_text("", environ).config
    assert (config.ui.theme, config.ui.ssh_enabled) == ("dark", True)


def test_variables_that_are_no_keys(load_text: Any) -> None:
    environ = {
        "SKYDIVE_ANALYZER": "h:1",
        "SKYDIVE_USERNAME": "joe",
        "SKYDIVE_PASSWORD": "sesame",
        "SKYDIVE_FLOW_EXPIRE": "",
        "SKYDIVE_FLOW_UPDATE": "  ",
        "SKYDIVEX": "1",
        "OTHER": "x",
    }
    loaded = load_text("", environ)
    assert loaded.ignored == ()
    assert loaded.config == load_text("").config


def test_unknown_variables_are_reported(load_text: Any) -> None:
    environ = {"SKYDIVE_AGENT_LISTEM": "x", "SKYDIVE_STORAGE_X": "y", "SKYDIVE_" + "A_" * 5000: "z", "SKYDIVE_": "1"}
    ignored = load_text("", environ).ignored
    assert {each.where.variable for each in ignored} == set(environ)
    assert "environment: SKYDIVE_AGENT_LISTEM: no configuration key has this name" in map(str, ignored)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("SKYDIVE_FLOW_EXPIRE", "0", "above 0 and up to 1000000000, not 0 (key flow.expire)"),
        ("SKYDIVE_FLOW_EXPIRE", "soon", "not the string 'soon' (key flow.expire)"),
        ("SKYDIVE_FLOW_MAX_ENTRIES", "9" * 9999, "expects an integer from 1"),
        ("SKYDIVE_LOGGING_COLOR", "2", "true or false (or yes, no, on, off), not 2"),
        ("SKYDIVE_ANALYZERS", "a:1 b", "(key analyzers[1])"),
        ("SKYDIVE_ANALYZERS", '["a:1", 3.5]', "(key analyzers[1])"),
        ("SKYDIVE_UI", "light", "expects a JSON object (key ui)"),
        ("SKYDIVE_UI", "[1]", "expects a JSON object (key ui)"),
        ("SKYDIVE_UI", '{"theme": NaN}', "expects a JSON object"),
        ("SKYDIVE_UI", '{"a":' * 5000, "expects a JSON object"),
        ("SKYDIVE_UI", '{"a":' * 500 + "1" + "}" * 500, "expects a JSON object"),
        ("SKYDIVE_UI", '{"thema": 1}', "did you mean theme?"),
        ("SKYDIVE_UI", '{"theme": 1}', "(key ui.theme)"),
        ("SKYDIVE_UI", '{"theme": "\\ud800"}', "expects a JSON object"),
        ("SKYDIVE_HOST_ID", "a\udcff", "is not UTF-8 text"),
        ("SKYDIVE_AGENT_METADATA", "x", "expects a JSON object (key agent.metadata)"),
        ("SKYDIVE_ANALYZER_TOPOLOGY_BACKEND", "nope", "there is no section storage.nope"),
    ],
)
def test_wrong_values(problems: Any, variable: str, text: str, message: str) -> None:
    (found,) = problems("", {variable: text})
    assert (found.file, found.line, found.column, found.key) == ("environment", 0, 0, variable)
    assert message in found.message
    assert str(found).startswith(f"environment: {variable}: ")


def test_a_secret_is_not_shown(problems: Any) -> None:
    (found,) = problems("", {"SKYDIVE_HTTP_COOKIE": '{"c": 271828}'})
    assert "271828" not in found.message


def test_free_names(load_text: Any) -> None:
    environ = {
        "SKYDIVE_FLOW_APPLICATION_TIMEOUT_HTTP": "3",
        "SKYDIVE_FLOW_APPLICATION_PORTS_TCP_8080": "proxy",
        "SKYDIVE_AGENT_METADATA_RACK": "r1",
        "SKYDIVE_STORAGE_MYES_DRIVER": "elasticsearch",
        "SKYDIVE_STORAGE_MYES_AUTH_USERNAME": "joe",
        "SKYDIVE_STORAGE_ELASTICSEARCH_AUTH_PASSWORD": "sesame",
        "SKYDIVE_AUTH_MY_BASIC_TYPE": "basic",
        "SKYDIVE_ANALYZER_CLUSTER": "a",
        "SKYDIVE_ANALYZER_PEERS_B_ENDPOINTS": "b:1 c:1",
    }
    config = load_text("", environ).config
    assert config.flow.application_timeout == {"arp": 10, "dns": 10, "http": 3}
    assert config.flow.application_ports.tcp == {8080: "proxy"}
    assert config.agent.metadata == {"rack": "r1"}
    assert config.storage["myes"].driver == "elasticsearch"
    assert config.storage["myes"].settings.auth.username == "joe"
    assert config.storage["myes"].settings.auth.password == "sesame"
    assert config.storage["elasticsearch"].settings.auth.password == "sesame"
    assert config.auth["my_basic"].type == "basic"
    assert len(config.analyzer.peers["b"].endpoints) == 2


def test_free_names_of_files_are_found_again(load_text: Any) -> None:
    text = "storage: {My-ES: {driver: elasticsearch, auth: {username: joe}}}\nui: {topology: {favorites: {Mine: a}}}\n"
    config = load_text(
        text, {"SKYDIVE_STORAGE_MY_ES_AUTH_USERNAME": "jim", "SKYDIVE_UI_TOPOLOGY_FAVORITES_MINE": "b"}
    ).config
    assert config.storage["my-es"].settings.auth.username == "jim"
    assert config.ui.topology.favorites == {"Mine": "b"}


def test_a_free_name_that_cannot_be_told_is_reported(load_text: Any) -> None:
    loaded = load_text("", {"SKYDIVE_STORAGE_A_AUTH_USERNAME": "joe"})
    (ignored,) = loaded.ignored
    assert ignored.reason.startswith("is ambiguous: storage.a.auth.username or storage.a_auth.username")
    assert set(loaded.config.storage) == {"embedded", "memory", "elasticsearch", "orientdb"}


def test_a_free_name_may_be_that_of_its_section(load_text: Any) -> None:
    environ = {"SKYDIVE_STORAGE_STORAGE_DRIVER": "elasticsearch", "SKYDIVE_STORAGE_STORAGE_AUTH_USERNAME": "joe"}
    assert load_text("", environ).config.storage["storage"].settings.auth.username == "joe"


def test_a_section_with_a_free_name(load_text: Any) -> None:
    config = load_text("", {"SKYDIVE_STORAGE_X": '{"driver": "embedded", "path": "/p"}'}).config
    public = to_public(config)["storage"]["x"]
    assert (public["driver"], public["path"]) == ("embedded", "/p")


def test_old_names(load_text: Any) -> None:
    loaded = load_text("", {"SKYDIVE_GRAPH_BACKEND": "memory", "SKYDIVE_ANALYZER_STORAGE_BACKEND": "elasticsearch"})
    assert loaded.config.analyzer.topology.backend == "memory"
    assert loaded.config.analyzer.flow.backend == "elasticsearch"
    assert "graph.backend" in [each.key for each in loaded.ignored]
