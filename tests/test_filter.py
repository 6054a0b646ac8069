import subprocess
import sys
from typing import Any as AnyValue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.filter import (
    EVERYTHING,
    MISSING,
    All,
    Any,
    Compare,
    Equals,
    Filter,
    InNetwork,
    Leaf,
    Matches,
    Not,
    Present,
    compile_filter,
    lookup,
    metadata_path,
    number_of,
    value_test,
)

YES, NO = Present("yes"), Present("no")


def holds(filter: Filter, **metadata: AnyValue) -> bool:
    return compile_filter(filter)(lambda key: lookup(metadata, metadata_path(key)))


@pytest.mark.parametrize(
    ("wanted", "equal", "different"),
    [
        ("lo", ["lo", ["x", "lo"]], ["LO", "", 0, None, [], ["x"], {"lo": 1}, [["lo"]], MISSING]),
        ("42", ["42"], [42, 42.0, "042"]),
        ("true", ["true"], [True, 1]),
        (
            42,
            [42, 42.0, "42", "042", "+42", "42.0", [1, 42], ["42"]],
            [43, 42.5, "42 ", "4e1", "x", None, {}, [], MISSING],
        ),
        (1, [1, True, "1", [True]], [False, 2, "true", MISSING]),
        (0, [0, False, -0.0, "0"], [None, "", [], {}, MISSING]),
        (1.5, [1.5, "1.5", "1.50", [1.5]], [1, 2, "1", True, "1.6"]),
        (-7, [-7, "-7", -7.0], [7, "7", "- 7"]),
        (2**63, [2**63, str(2**63)], [2**63 - 1, float(2**64)]),
        (2**53 + 1, [2**53 + 1], [float(2**53)]),
        (True, [True, [False, True]], [1, "true", "1", 1.0, False, None, MISSING]),
        (False, [False], [0, "", None, [], MISSING]),
    ],
)
def test_equals(wanted: AnyValue, equal: list[AnyValue], different: list[AnyValue]) -> None:
    test = value_test(Equals("k", wanted))
    assert [value for value in equal if not test(value)] == []
    assert [value for value in different if test(value)] == []


@pytest.mark.parametrize(
    ("leaf", "passes", "fails"),
    [
        (Present("k"), [None, 0, "", [], {}, False], [MISSING]),
        (Compare("k", "lt", 10), [9, 9.99, "9", -1, True, [50, 3], "-3.5"], [10, "10", "abc", None, {}, [], MISSING]),
        (Compare("k", "lte", 10), [10, "10", 10.0], [10.01, 11, "11"]),
        (Compare("k", "gt", -1.5), [-1, 0, "-1.4", False], [-1.5, -2, "-1.5", "", "-"]),
        (Compare("k", "gte", -1.5), [-1.5, "-1.5"], [-1.51, "1e3x", MISSING]),
        (
            Matches("k", "veth[0-9]+"),
            ["veth0", ["x", "veth12"]],
            ["veth", "xveth0", "veth0x", "veth0\n", 0, None, MISSING],
        ),
        (Matches("k", "a|b"), ["a", "b"], ["ab", "ba", "xb", "ax"]),
        (Matches("k", "1.*"), ["1", "12"], [1, 12, True, ["2"]]),
        (Matches("k", "é."), ["éa"], ["e", "é\udc80", "é"]),
        (
            InNetwork("k", "10.1.2.3/16"),
            ["10.1.0.0", "10.1.255.255/24", ["::1", "10.1.0.4/32"]],
            [
                "10.2.0.0",
                "10.1.0",
                "10.1.0.1/33",
                "10.1.0.1/",
                "10.1.0.1/-1",
                "010.1.0.1",
                "x\0",
                "",
                10,
                None,
                MISSING,
            ],
        ),
        (InNetwork("k", "0.0.0.0/0"), ["1.2.3.4", "255.255.255.255/8"], ["::ffff:1.2.3.4", "1.2.3.4/24/1"]),
        (InNetwork("k", "1.2.3.4"), ["1.2.3.4", "1.2.3.4/24"], ["1.2.3.5"]),
    ],
)
def test_leaf(leaf: Leaf, passes: list[AnyValue], fails: list[AnyValue]) -> None:
    test = value_test(leaf)
    assert [value for value in passes if not test(value)] == []
    assert [value for value in fails if test(value)] == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (EVERYTHING, True),
        (All((YES, YES)), True),
        (All((YES, NO)), False),
        (Any(), False),
        (Any((NO, YES)), True),
        (Any((NO, NO)), False),
        (Not(NO), True),
        (Not(Any()), True),
        (Not(All((YES, Not(YES)))), True),
    ],
)
def test_connectives(filter: Filter, expected: bool) -> None:
    assert holds(filter, yes=1) is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Name", "eth0"),
        ("Metadata.Name", "eth0"),
        ("Null", None),
        ("Gone", MISSING),
        ("Name.x", MISSING),
        ("Metric.RxBytes", 7),
        ("Metric.Gone", MISSING),
        ("Captures.ID", ["a", "b"]),
        ("Captures.Gone", MISSING),
        ("Captures.Tags", [1, 2]),
        ("Tables.Routes.Prefix", ["p1", "p2", "p3"]),
        ("Empty.ID", MISSING),
        ("Only.Tags", []),
        ("Numbers", [1, 2]),
        ("Numbers.x", MISSING),
        ("", MISSING),
        ("Metric.", MISSING),
    ],
)
def test_lookup(key: str, expected: AnyValue) -> None:
    metadata: dict[str, AnyValue] = {
        "Name": "eth0",
        "Null": None,
        "Metric": {"RxBytes": 7},
        "Captures": [{"ID": "a", "Tags": [1, 2]}, "no object", {"ID": "b"}, {}],
        "Tables": [{"Routes": [{"Prefix": "p1"}, {"Prefix": "p2"}]}, {"Routes": []}, {"Routes": [{"Prefix": "p3"}]}],
        "Empty": [],
        "Only": [{"Tags": []}],
        "Numbers": [1, 2],
    }
    assert lookup(metadata, metadata_path(key)) == expected


def test_fan_out_feeds_any_element_matching() -> None:
    captures = [{"ID": "a", "Type": "pcap"}, {"ID": "b"}]
    assert holds(Equals("Captures.ID", "b"), Captures=captures)
    assert not holds(Equals("Captures.ID", "c"), Captures=captures)


def test_filters_tell_true_from_one() -> None:
    assert len({Equals("k", 1), Equals("k", True), Equals("k", 1.0), Equals("k", "1")}) == 3
    assert Equals("k", True) != Equals("k", 1)
    assert Equals("k", 1) == Equals("k", 1.0)


@pytest.mark.parametrize(
    "leaf",
    [
        Matches("k", "(a"),
        Matches("k", "[z-a]"),
        Matches("k", r"(a)\1"),
        Matches("k", "a{1001}"),
        Matches("k", "[a-z]{500}x\\pL{100}"),
        Matches("k", "\ud800"),
        InNetwork("k", "10.0.0.0/33"),
        InNetwork("k", "fe80::/10"),
        InNetwork("k", "x"),
        InNetwork("k", ""),
    ],
)
def test_what_cannot_be_compiled_is_a_value_error_each_time(leaf: Leaf) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"error parsing regexp|invalid CIDR address"):
            compile_filter(All((leaf,)))


def test_a_pattern_that_takes_other_engines_ages_ends() -> None:
    assert not holds(Matches("k", "(a+)+b"), k="a" * 10_000)


@given(st.one_of(st.integers(-(2**63), 2**64 - 1), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_counts_as_itself_and_equals_itself(number: float) -> None:
    assert number_of(number) == number
    assert value_test(Equals("k", number))(number)


@given(st.text())
def test_text_counts_as_a_number_only_when_python_agrees(text: str) -> None:
    number = number_of(text)
    assert number is None or float(text) == float(number)


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-(2**63), 2**64 - 1))
def test_exactly_one_of_less_equal_greater_holds(value: int, bound: int) -> None:
    leaves: list[Leaf] = [Compare("k", "lt", bound), Equals("k", bound), Compare("k", "gt", bound)]
    for shown in (value, str(value), [value]):
        assert sum(value_test(leaf)(shown) for leaf in leaves) == 1


def test_the_pattern_library_is_loaded_only_for_patterns() -> None:
    program = (
        "import sys, skycore.filter as f\n"
        "f.compile_filter(f.Equals('k', 1)); assert 're2' not in sys.modules\n"
        "f.compile_filter(f.Matches('k', 'a')); assert 're2' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
