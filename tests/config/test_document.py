"""Reading YAML: the core schema of 1.2, places, and bounds against hostile documents."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from skycore.config.document import MAX_BYTES, MAX_DEPTH, Where, find, plain, read, scalar


def value(text: str) -> Any:
    node, problems = read(text.encode(), "f")
    assert problems == []
    assert node is not None
    return plain(node)


def problem(text: str | bytes) -> tuple[int, int, str, str]:
    _, problems = read(text.encode() if isinstance(text, str) else text, "f")
    (only,) = problems
    assert only.file == "f"
    return only.line, only.column, only.key, only.message


@pytest.mark.parametrize(
    "text",
    ["no", "No", "yes", "on", "off", "y", "n", "12:30:45", "1:2", "2024-01-02", "0b11", "1_000", "0o8", "0xg", "+-1",
     "1e", ".", "-", "=", "nul", "tRue", "Nan", ".Nan", "1.2.3.4", "٣"],
)  # fmt: skip
def test_words_stay_words(text: str) -> None:
    assert scalar(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None), ("~", None), ("", None), ("Null", None), ("true", True), ("FALSE", False), ("0", 0),
        ("010", 10), ("-7", -7), ("+7", 7), ("0o17", 15), ("0xFf", 255), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0),
        ("1e3", 1000.0), ("-1.5E-1", -0.15), (".inf", math.inf), ("-.INF", -math.inf),
    ],
)  # fmt: skip
def test_core_schema(text: str, expected: object) -> None:
    got = scalar(text)
    assert got == expected
    assert type(got) is type(expected)


def test_not_a_number() -> None:
    got = scalar(".nan")
    assert isinstance(got, float)
    assert math.isnan(got)


def test_quotes_and_tags() -> None:
    text = "a: 'true'\nb: \"1\"\nc: !!str 3\nd: ! 4\ne: !!int '5'\nf: !!float 6\ng: |\n  7\nh: !!map {}\ni: !!seq []\n"
    assert value(text) == {"a": "true", "b": "1", "c": "3", "d": "4", "e": 5, "f": 6.0, "g": "7\n", "h": {}, "i": []}


def test_keys_are_their_text() -> None:
    assert value("80: a\nno: b\ntrue: c\n1.0: d\n~: e\n") == {"80": "a", "no": "b", "true": "c", "1.0": "d", "~": "e"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~", "{}", "\ufeff", "---\n...\n"])
def test_nothing_is_an_empty_map(text: str) -> None:
    assert value(text) == {}


def test_aliases_and_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{x: 5}, *a]}\n"
    assert value(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}, "d": {"x": 5, "y": 2}}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert value("a: {'<<': 1}") == {"a": {"<<": 1}}


def test_places_of_keys_and_values() -> None:
    node, _ = read("a:\n  - b\n  - é: [1,\n      2]\n".encode(), "f")
    assert node is not None
    entry = find(node, ["a", 1, "é"])
    assert entry is not None
    assert (entry.where, entry.node.where) == (Where("f", 3, 5), Where("f", 3, 8))
    second = find(node, ["a", 1, "é", 1])
    assert second is not None
    assert second.node.where == Where("f", 4, 7)
    assert find(node, ["a", 2]) is None
    assert find(node, ["a", "b"]) is None


@pytest.mark.parametrize(
    ("text", "line", "column", "key", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "a", "already set in line 1"),
        ("x:\n  - y: 1\n    y: 2\n", 3, 5, "x[0].y", "already set in line 2"),
        ("a: [1\nb: 2\n", 2, 2, "", "wrong YAML: while parsing a flow sequence"),
        ("a: b: c\n", 1, 5, "", "mapping values are not allowed"),
        ("a: *b\n", 1, 4, "", "*b has no anchor"),
        ("a: &x [1, *x]\n", 1, 11, "", "inside its own anchor"),
        ("a: 1\n---\nb: 2\n", 2, 1, "", "second YAML document"),
        ("- a\n", 1, 1, "", "must be a map"),
        ("\n  word", 2, 3, "", "must be a map"),
        ("a: !python/object:os.system x\n", 1, 4, "", "tag !python/object:os.system is not allowed"),
        ("a: !!binary eA==\n", 1, 4, "", "is not allowed"),
        ("a: !!int x\n", 1, 4, "", "does not fit its tag"),
        ("a: !!int true\n", 1, 4, "", "does not fit its tag"),
        ("a: !!set {x}\n", 1, 4, "", "is not allowed"),
        ("? [a]\n: b\n", 1, 3, "", "a key must be a word"),
        ("a: {<<: 1}\n", 1, 9, "", "takes a map or a list of maps"),
        ("a: " + "9" * 5000, 1, 4, "", "too long"),
        ("a: 1\nb: é\x07\n", 2, 5, "", "U+0007 is not allowed"),
        (b"a: 1\nb: \xff\n", 2, 4, "", "not UTF-8"),
        (b"\xff\xfea\x00", 1, 1, "", "not UTF-8"),
        ("\tb: 1\n", 1, 1, "", "wrong YAML"),
    ],
)  # fmt: skip
def test_wrong_documents(text: str | bytes, line: int, column: int, key: str, message: str) -> None:
    got = problem(text)
    assert got[:3] == (line, column, key)
    assert message in got[3]


def bomb(levels: int = 60) -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "more than 50000 values, counting what aliases repeat"),
        ("a: &a0 {}\n" + "\n".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k: *a{n - 1}}}" for n in range(1, 60)), "50000"),
        ("a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 99)), f"more than {MAX_DEPTH} deep"),
        ("[" * 300_000, "more than 64 deep"),
        ("a: " + "{a: " * 200_000, "more than 64 deep"),
        ("- " * 300_000, "more than 64 deep"),
        ("\n".join(" " * n + "a:" for n in range(200)), "more than 64 deep"),
        ("a: [" + "x," * 200_000 + "]", "more than 50000 values"),
        ("".join(f"k{n}:\n" for n in range(60_000)), "more than 50000 values"),
        ("a: " + "x" * MAX_BYTES, "larger than"),
    ],
)  # fmt: skip
def test_hostile_documents_are_refused_at_once(text: str, message: str) -> None:
    started = time.process_time()
    assert message in problem(text)[3]
    assert time.process_time() - started < 5
