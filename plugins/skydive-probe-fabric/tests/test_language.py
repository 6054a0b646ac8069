"""The notation of fabric lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_fabric.language import Fabric, Found, Link, parse


def test_the_lines_of_skydives_sample_configuration() -> None:
    fabric = parse(
        [
            "TOR[Name=tor] -> TOR_PORT1[Name=port1]",
            "TOR1[Name=tor1] -> [color=red] TOR1_PORT2[Name=port2, MTU=1500]",
            "TOR_PORT1 --> TOR1_PORT1",
            "TOR1_PORT2 --> *[Type=host]/eth0",
            "TOR1->*[Type=host,Name=h-1]/ens3.100",
            "TOR1_PORT2[Name=ignored] --> TOR",
        ]
    )
    assert {key: dict(node.metadata) for key, node in fabric.nodes.items()} == {
        "TOR": {"Name": "tor", "Type": "device", "Probe": "fabric"},
        "TOR_PORT1": {"Name": "port1", "Type": "device", "Probe": "fabric"},
        "TOR1": {"Name": "tor1", "Type": "device", "Probe": "fabric"},
        "TOR1_PORT2": {"Name": "port2", "MTU": "1500", "Type": "device", "Probe": "fabric"},
        "TOR1_PORT1": {"Name": "TOR1_PORT1", "Type": "device", "Probe": "fabric"},
    }
    plain = {"Type": "fabric"}
    assert fabric.links == (
        Link("TOR", "TOR_PORT1", True, plain),
        Link("TOR1", "TOR1_PORT2", True, {"Type": "fabric", "color": "red"}),
        Link("TOR_PORT1", "TOR1_PORT1", False, plain),
        Link("TOR1_PORT2", Found({"Type": "host"}, {"Name": "eth0"}), False, plain),
        Link("TOR1", Found({"Type": "host", "Name": "h-1"}, {"Name": "ens3.100"}), True, plain),
        Link("TOR1_PORT2", "TOR", False, plain),
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is not of the form"),
        ("A", "is not of the form"),
        ("A B -> C", "is not of the form"),
        ("A -> ", "is not of the form"),
        ("A => B", "is not of the form"),
        ("A[x -> B", "is not of the form"),
        ("A -> *[Type=host]", "is not of the form"),
        ("*[Type=host] -> A", "the parent cannot be *"),
        ("A[x] -> B", "'x' is not of the form key=value"),
        ("A -> [=1] B", "'=1' is not of the form key=value"),
        ("A -> A", "cannot be linked to itself"),
        ("A -> B" + "x" * 5000, "is not of the form"),
    ],
)
def test_wrong_lines_are_named(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2 of analyzer\.topology\.fabric") as wrong:
        parse(["A -> B", line])
    assert reason in str(wrong.value)


_WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:-]{0,8}[A-Za-z0-9_]", fullmatch=True)
_PAIRS = st.dictionaries(_WORDS, _WORDS, max_size=3)


def _brackets(pairs: dict[str, str]) -> str:
    return f"[{', '.join(f'{key}={value}' for key, value in pairs.items())}]" if pairs else ""


@given(_WORDS, _PAIRS, st.booleans(), _PAIRS, _WORDS, _PAIRS, st.sampled_from(["", " ", "  "]))
def test_what_is_written_is_read(
    parent: str,
    of_parent: dict[str, str],
    owns: bool,
    of_link: dict[str, str],
    child: str,
    of_child: dict[str, str],
    s: str,
) -> None:
    if parent == child:
        return
    arrow = "->" if owns else "-->"
    line = f"{s}{parent}{_brackets(of_parent)} {arrow}{s}{_brackets(of_link)}{s}{child}{_brackets(of_child)}{s}"
    (link,) = (fabric := parse([line])).links
    assert (link.parent, link.child, link.owns, link.metadata) == (parent, child, owns, {"Type": "fabric", **of_link})
    for key, pairs in ((parent, of_parent), (child, of_child)):
        assert fabric.nodes[key].metadata == {"Name": key, "Type": "device", **pairs, "Probe": "fabric"}


@given(st.text(alphabet="AB[]=,->*/ \n", max_size=30) | st.text(max_size=60))
def test_any_text_is_a_line_or_an_error(line: str) -> None:
    read: Fabric | None = None
    try:
        read = parse([line])
    except ValueError as wrong:
        assert "line 1 of" in str(wrong)  # noqa: PT017 (most texts are errors, some are not)
    assert read is None or len(read.links) == 1
