"""Roles: Skydive's table, lines of one's own, and lines and models that are wrong."""

from __future__ import annotations

import pytest

from skycore.config.schema import RBAC, RBACModel
from skycore.server.auth.policy import Policy

BOTH = [("status", "read"), ("topology", "read"), ("websocket", "/ws/subscriber")]
DENIED = [
    *((object, action) for object in ("alert", "capture", "injectpacket", "workflow") for action in ("read", "write")),
    ("capture", "rawpackets"),
    ("config", "read"),
    ("pcap", "write"),
    *(("websocket", f"/ws/{path}") for path in ("agent/topology", "agent/flow", "publisher", "replication")),
    ("websocket", "/ws/subscriber/flow"),
]
NEVER_SAID = [
    *((object, action) for object in ("node", "edge", "noderule", "edgerule") for action in ("read", "write")),
    ("workflow.call", "write"),
    ("websocket", "/ws/pubsub"),
]


def test_the_bundled_roles_are_those_of_skydive() -> None:
    policy = Policy(RBAC(policy=("g, both, admin", "g, both, guest")))
    for rule in BOTH + DENIED + NEVER_SAID:
        assert policy.allows("admin", *rule), rule
        assert policy.allows("guest", *rule) == (rule in BOTH), rule
        assert not policy.allows("nobody", *rule), rule
        # An explicit denial wins, even for who is admin besides.
        assert policy.allows("both", *rule) == (rule not in DENIED), rule
    assert not policy.allows("admin", "status", "write")


def test_lines_add_users_roles_and_rules() -> None:
    policy = Policy(
        RBAC(
            policy=(
                "g, bob, guest",
                "p,operator,capture,write,allow",
                " g , eve , operator ",
                "g, operator, guest",
                'p, "comma, inc", status, read, allow',
            )
        )
    )
    assert policy.knows("bob")
    assert not policy.knows("ann")
    assert policy.roles("bob") == ("guest",)
    assert set(policy.roles("eve")) == {"operator", "guest"}
    assert policy.allows("bob", "status", "read")
    assert policy.allows("comma, inc", "status", "read")
    assert not policy.allows("eve", "capture", "write"), "guest denies it"
    assert policy.allows("eve", "topology", "read")


def test_what_a_login_is_told() -> None:
    policy = Policy(RBAC())
    guest = {(each["Object"], each["Action"]): each["Allowed"] for each in policy.permissions("guest")}
    assert {rule for rule, allowed in guest.items() if allowed} == set(BOTH)
    assert set(BOTH + DENIED + NEVER_SAID) <= set(guest)
    assert all(each["Allowed"] for each in policy.permissions("admin"))


@pytest.mark.parametrize(
    "line", ["", "g, bob", "g, bob, ", "p, a, b, c", "p, a, b, c, maybe", "x, a, b", "p, a, b, c, allow, d", '"', "\n"]
)
def test_a_wrong_line_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^rbac\.policy\[1\]: expects"):
        Policy(RBAC(policy=("g, bob, guest", line)))


@pytest.mark.parametrize(
    "model",
    [
        RBACModel(matchers=("import os",)),
        RBACModel(matchers=()),
        RBACModel(policy_effect=("some",)),
        RBACModel(request_definition=("sub",)),
    ],
)
def test_a_wrong_model_is_named(model: RBACModel) -> None:
    with pytest.raises(ValueError, match=r"^rbac\.model cannot be used"):
        Policy(RBAC(model=model))


@pytest.mark.parametrize("name", ["x') or ('1'=='1", "admin\n", "*", "", "admin, allow", "r.sub", "p_eft"])
def test_names_are_no_code(name: str) -> None:
    assert not Policy(RBAC()).allows(name, "status", "read")


def test_decisions_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(RBAC())
    asked: list[tuple[str, ...]] = []
    decide = policy._enforcer.enforce

    def count(*request: str) -> bool:
        asked.append(request)
        return bool(decide(*request))

    monkeypatch.setattr(policy._enforcer, "enforce", count)
    monkeypatch.setattr("skycore.server.auth.policy._MOST_DECISIONS", 3)
    for _ in range(5):
        assert policy.allows("admin", "status", "read")
    assert len(asked) == 1
    for name in "abcdefgh":
        policy.allows(name, "status", "read")
        assert len(policy._decided) <= 3
