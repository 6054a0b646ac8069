"""Every wrong value says where it stands, which key it is, and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from skycore.errors import Problem


@pytest.mark.parametrize(
    ("text", "line", "column", "key", "allowed"),
    [
        ("flow: {expire: 0}", 1, 16, "flow.expire", "a number of seconds above 0"),
        ("flow:\n  update: -1\n", 2, 11, "flow.update", "a number of seconds above 0"),
        ("flow:\n  update: 30s\n", 2, 11, "flow.update", "not the string '30s'"),
        ("flow: {update: .nan}", 1, 16, "flow.update", "a number of seconds above 0"),
        ("flow: {update: .inf}", 1, 16, "flow.update", "a number of seconds above 0"),
        ("flow: {update: true}", 1, 16, "flow.update", "not true"),
        ("flow: {update: 0xfffffffffffffffffffff}", 1, 16, "flow.update", "up to 1000000000"),
        ("flow: {max_entries: 3.0}", 1, 21, "flow.max_entries", "an integer from 1"),
        ("flow: {max_entries: 99999999999999999999}", 1, 21, "flow.max_entries", "an integer from 1"),
        ("flow: {max_entries: true}", 1, 21, "flow.max_entries", "an integer from 1"),
        ("flow: {max_entries: '3'}", 1, 21, "flow.max_entries", "not the string '3'"),
        ("flow: {protocol: tcp}", 1, 18, "flow.protocol", "one of udp, websocket"),
        ("flow: {protocol: [udp]}", 1, 18, "flow.protocol", "not a list"),
        ("flow: {application_timeout: [arp: 10]}", 1, 29, "flow.application_timeout", "a map of names to a number"),
        ("flow: {application_timeout: {arp: 0}}", 1, 35, "flow.application_timeout.arp", "seconds above 0"),
        ("flow: {application_ports: {tcp: {x: http}}}", 1, 37, "flow.application_ports.tcp.x", "from 0 to 65535"),
        ("flow: {application_ports: {tcp: {70000: x}}}", 1, 41, "flow.application_ports.tcp.70000", "from 0 to 65535"),
        ("host_id: ''", 1, 10, "host_id", "1 to 255 visible characters without white space and '/'"),
        ("host_id: a/b", 1, 10, "host_id", "without white space and '/'"),
        ("host_id: 'a b'", 1, 10, "host_id", "without white space and '/'"),
        ("host_id: 12", 1, 10, "host_id", "put it in quotes"),
        ("analyzers: 127.0.0.1:8082", 1, 12, "analyzers", "a list, each an address"),
        ("analyzers:\n- a:1\n- b\n", 3, 3, "analyzers[1]", "host:port, [IPv6]:port"),
        ("agent: {listen: 65536}", 1, 17, "agent.listen", "port 0 to 65535"),
        ("agent: {listen: 'x:y'}", 1, 17, "agent.listen", "not the string 'x:y'"),
        ("agent: {topology: {probes: [a b]}}", 1, 29, "agent.topology.probes[0]", "the name of a plugin"),
        ("agent: {spool: {max_bytes: 0}}", 1, 28, "agent.spool.max_bytes", "an integer of bytes from 1"),
        ("agent: {metadata: {a: [1, .inf]}}", 1, 23, "agent.metadata.a", "a value that JSON has, not inf"),
        ("agent: {metadata: x}", 1, 19, "agent.metadata", "a map of names to anything"),
        ("agent:\n  metadata_config:\n    files:\n    - {path: a, type: json, name: b}\n", 4, 7,
         "agent.metadata_config.files[0].selector", "must be written"),
        ("agent:\n  metadata_config:\n    files:\n    - {Path: 1, type: xml, name: b, selector: c, more: d}\n", 4, 14,
         "agent.metadata_config.files[0].path", "the path of a file"),
        ("logging: {level: LOUD}", 1, 18, "logging.level", "CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG"),
        ("logging: {color: 1}", 1, 18, "logging.color", "true or false (or yes, no, on, off)"),
        ("logging: {color: 'y'}", 1, 18, "logging.color", "yes, no, on, off"),
        ("logging: {backends: [stderr, email]}", 1, 30, "logging.backends[1]", "stderr, stdout, file, syslog"),
        ("ui: 3", 1, 5, "ui", "a map with the keys bandwidth_absolute_active"),
        ("ui: [theme]", 1, 5, "ui", "not a list"),
        ("ui: {theme: Dark}", 1, 13, "ui.theme", "one of dark, light"),
        ("storage: 3", 1, 10, "storage", "a map of names"),
        ("storage: {x: 3}", 1, 14, "storage.x", "the key driver"),
        ("storage: {x: {path: /y}}", 1, 11, "storage.x", "one of elasticsearch, embedded, memory, orientdb"),
        ("storage: {x: {driver: elastic}}", 1, 23, "storage.x.driver", "elasticsearch, embedded, memory, orientdb"),
        ("storage: {x: {driver: 3}}", 1, 23, "storage.x.driver", "not 3"),
        ("storage: {embedded: {path: 3}}", 1, 28, "storage.embedded.path", "the path of a file or folder"),
        ("storage: {memory: {path: /x}}", 1, 20, "storage.memory.path", "allowed here: driver"),
        ("auth: {x: {type: ldap}}", 1, 18, "auth.x.type", "one of basic, keystone, noauth"),
        ("auth: {x: {type: noauth, role: 3}}", 1, 32, "auth.x.role", "a string"),
        ("analyzer: {topology: {backend: es}}", 1, 32, "analyzer.topology.backend", "elasticsearch, embedded, memory"),
        ("analyzer: {flow: {backend: es}}", 1, 28, "analyzer.flow.backend", "there is no section storage.es"),
        ("analyzer: {auth: {api: {backend: x}}}", 1, 34, "analyzer.auth.api.backend", "basic, keystone, noauth"),
        ("analyzer: {agent_timeout: 0}", 1, 27, "analyzer.agent_timeout", "seconds above 0"),
        ("analyzer: {peers: {b: {endpoints: [x]}}, cluster: a}", 1, 36, "analyzer.peers.b.endpoints[0]", "an address"),
        ("analyzer: {peers: {b: {endpoint: x}}, cluster: a}", 1, 24, "analyzer.peers.b.endpoint", "mean endpoints?"),
        ("analyzer: {peers: {b: {}}}", 1, 19, "analyzer.peers", "needs analyzer.cluster"),
        ("agent: {flow: {sflow: {port_min: 9, port_max: 8}}}", 1, 47, "agent.flow.sflow.port_max", "port_max (8)"),
        ("agent: {flow: {sflow: {port_min: 9999}}}", 1, 34, "agent.flow.sflow.port_min", "at most port_max (6355)"),
        ("agent: {topology: {bess: {port: 65536}}}", 1, 33, "agent.topology.bess.port", "an integer from 0 to 65535"),
        ("agent: {topology: {lldp: 3}}", 1, 26, "agent.topology.lldp", "a map with the keys interfaces"),
        ("lisen: x", 1, 1, "lisen", "unknown key (allowed here: agent, analyzer"),
        ("agent: {lissten: x}", 1, 9, "agent.lissten", "did you mean listen? (allowed here: auth, capture"),
        ("agent.listen: x", 1, 1, "agent.listen", "keys are nested"),
        ("agent: {topology: {exampel: {a: 1}}}", 1, 20, "agent.topology.exampel", "unknown key"),
        ("Agent: {}\nagent: {}\n", 2, 1, "agent", "already set in line 1 (upper and lower case mean the same)"),
        ("plugins: {}", 1, 1, "plugins", "did you mean plugin?"),
        ("'': 1", 1, 1, "", "unknown key"),
    ],
)  # fmt: skip
def test_wrong_values(problems: Any, *, text: str, line: int, column: int, key: str, allowed: str) -> None:
    found = [each for each in problems(text) if each.key == key]
    assert len(found) == 1, problems(text)
    assert (found[0].file, found[0].line, found[0].column) == ("<stdin>", line, column)
    assert allowed in found[0].message


def test_all_at_once_in_order(problems: Any) -> None:
    text = (
        "ui: {theme: x}\nflow:\n  wrong: 1\n  expire: 0\nflow: {}\n"
        "analyzer: {topology: {backend: nope}}\nstorage: {a: {}}\n"
    )
    found = problems(text, {"SKYDIVE_AGENT_LISTEN": "x", "SKYDIVE_UI": "{"})
    assert [(each.file, each.line, each.key) for each in found] == [
        ("<stdin>", 1, "ui.theme"),
        ("<stdin>", 3, "flow.wrong"),
        ("<stdin>", 4, "flow.expire"),
        ("<stdin>", 5, "flow"),
        ("<stdin>", 6, "analyzer.topology.backend"),
        ("<stdin>", 7, "storage.a"),
        ("environment", 0, "SKYDIVE_AGENT_LISTEN"),
        ("environment", 0, "SKYDIVE_UI"),
    ]


def test_the_text_of_a_problem(problems: Any) -> None:
    (found,) = problems("flow:\n  expire: 0\n")
    text = "<stdin>:2:11: flow.expire: expects a number of seconds above 0 and up to 1000000000, not 0"
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("agent: {auth: {cluster: {password: 271828}}}", "agent.auth.cluster.password"),
        ("auth: {basic: {users: {joe: 271828}}}", "auth.basic.users.joe"),
        ("http: {cookie: {c: 271828}}", "http.cookie.c"),
        ("storage: {elasticsearch: {auth: {password: 271828}}}", "storage.elasticsearch.auth.password"),
        ("analyzer: {cluster: x, peers: {y: {password: 271828}}}", "analyzer.peers.y.password"),
    ],
)
def test_secrets_are_not_shown(problems: Any, text: str, key: str) -> None:
    (found,) = problems(text)
    assert found.key == key
    assert "a string" in found.message
    assert "271828" not in found.message


def test_credentials_in_a_url_are_not_shown(problems: Any) -> None:
    (found,) = problems("agent: {listen: 'http://joe:sesame@h:1'}")
    assert "sesame" not in found.message


def test_very_many_problems_are_cut(problems: Any) -> None:
    found: list[Problem] = problems("".join(f"wrong{n}: 1\n" for n in range(1000)))
    assert len(found) == 201
    assert found[-1].message == "800 more problems follow"
