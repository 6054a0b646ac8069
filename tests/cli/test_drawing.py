"""Trees and graphs of lines."""

from __future__ import annotations

from typing import Any

from skycore.cli import drawing


def node(id: str, name: str, type: str, **more: Any) -> dict[str, Any]:
    return {"ID": id, "Metadata": {"Name": name, "Type": type, **more}}


def edge(parent: str, child: str, relation: str, **more: Any) -> dict[str, Any]:
    return {"ID": parent + child, "Parent": parent, "Child": child, "Metadata": {"RelationType": relation, **more}}


def test_a_graph_is_the_tree_of_owners_with_links_at_both_ends() -> None:
    nodes = [
        node("v", "veth0", "veth", State="UP", IPV4=["10.0.0.1/24"]),
        node("h", "vm", "host"),
        node("n", "blue", "netns"),
        node("b", "br0", "bridge"),
        node("s", "shop", "service"),
    ]
    edges = [
        edge("h", "n", "ownership"),
        edge("n", "v", "ownership"),
        edge("h", "b", "ownership"),
        edge("b", "v", "layer2"),
        edge("s", "v", "l7", Directed=True),
    ]
    assert list(drawing.graph(nodes, edges)) == [
        "vm (host)",
        "├── br0 (bridge)",
        "│   └── ── layer2 ── veth0 (veth)",
        "└── blue (netns)",
        "    └── veth0 (veth)  UP  10.0.0.1/24",
        "        ├── ── layer2 ── br0 (bridge)",
        "        └── ◀─ l7 ◀─ shop (service)",
        "shop (service)",
        "└── ─▶ l7 ─▶ veth0 (veth)",
    ]


def test_circles_and_ends_that_are_not_in_the_result_are_drawn_once() -> None:
    nodes = [node("a", "a", "t"), node("b", "b", "t")]
    edges = [edge("a", "b", "ownership"), edge("b", "a", "ownership"), edge("a", "elsewhere", "layer2")]
    assert list(drawing.graph(nodes, edges)) == ["a (t)", "├── ── layer2 ── elsewhere", "└── b (t)"]


def test_a_value_as_a_tree() -> None:
    value = [{"ID": "1", "Metadata": {"Name": "eth0", "Type": "veth", "IPV4": ["a", "b"], "Up": True, "Gone": None}}]
    assert list(drawing.tree(value)) == [
        "[1]",
        "└── eth0 (veth)",
        "    ├── ID: 1",
        "    └── Metadata",
        "        ├── Name: eth0",
        "        ├── Type: veth",
        "        ├── IPV4 [2]",
        "        │   ├── 0: a",
        "        │   └── 1: b",
        "        ├── Up: true",
        "        └── Gone: null",
    ]
    assert list(drawing.tree({})) == ["{}"]
    assert list(drawing.tree(7)) == ["7"]


def test_hostile_names_stay_names() -> None:
    drawn = "\n".join([*drawing.tree([node("1", "\x1b[2J\n", "t")]), *drawing.graph([node("1", "\x1b[2J\n", "t")], [])])
    assert "\x1b" not in drawn
    assert "\\u001b[2J\\u000a (t)" in drawn
