"""What the shell completes, and where it sees the cursor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.cli.shell.scan import scan
from skycore.cli.shell.suggest import Language, Step, Suggester
from skycore.errors import ClientError, GremlinSyntaxError
from skycore.gremlin import core_registry
from skycore.gremlin.syntax import PREDICATES, Literal, parse

REGISTRY = core_registry()


def suggester(**answers: Any) -> Suggester:
    steps = [Step(one.name, list(one.aliases), one.parameters, one.summary, dict(one.gives)) for one in REGISTRY]

    def ask(query: str) -> Any:
        # Every question has to be one that the server's own parser takes.
        parse(query, REGISTRY.names)
        if query not in answers:
            raise ClientError(f"unexpected: {query}")
        return answers[query]

    return Suggester(Language(steps, list(PREDICATES)), ask)


def texts(typed: str, **answers: Any) -> list[str]:
    """The whole lines that could come of what was typed."""
    return [typed[: one.start] + one.text for one in suggester(**answers).after(typed)]


def test_steps_follow_what_they_take() -> None:
    assert texts("") == ["G"]
    assert "G.V(" in texts("G.")
    assert texts("G.V().InV") == []
    assert "G.E().InV(" in texts("G.E().InV")
    assert "G.V().Has('Name', 'a').Count()" in texts("G.V().Has('Name', 'a').Cou")
    assert texts("g.v().cOU") == ["g.v().Count()"]
    # Of an unknown step nothing is known: everything may follow.
    assert "G.V().Nonsense().InV(" in texts("G.V().Nonsense().InV")


def test_keys_and_values() -> None:
    keys = {"G.V().Keys()": ["Name", "Type", "K8s.Extra"]}
    assert texts("G.V().Has(", **keys) == [f"G.V().Has('{key}'" for key in keys["G.V().Keys()"]]
    assert texts("G.V().Has('T", **keys) == ["G.V().Has('Type'"]
    assert texts('G.V("t', **keys) == ['G.V("Type"']
    values = {'G.V().HasKey("Name").Dedup("Name").Limit(100).Values("Name")': ["eth0", "it's", 'a"b', 7]}
    assert texts("G.V().Has('Name', ", **values) == [
        "G.V().Has('Name', 'eth0'",
        "G.V().Has('Name', 'it\\'s'",
        "G.V().Has('Name', 'a\"b'",
        "G.V().Has('Name', 7",
    ]
    assert texts("G.V().Has('Name', Within('e", **values) == ["G.V().Has('Name', Within('eth0'"]
    assert texts("G.V().Has('Name', Wi") == ["G.V().Has('Name', Within(", "G.V().Has('Name', Without("]


def test_a_question_that_cannot_be_answered_suggests_nothing() -> None:
    assert texts("G.V().Has('") == []


@pytest.mark.parametrize(
    ("typed", "complete"),
    [
        ("G.V()", True),
        ("G.V(", False),
        ("G.V().Has('a(", False),
        ("G.V().Has('a(')", True),
        ("G.V().Has('\\'", False),
        ("G.V().Has('a', Within(1, 2)", False),
    ],
)
def test_when_a_query_goes_on_in_the_next_line(typed: str, complete: bool) -> None:
    assert scan(typed).complete is complete


@given(st.text("G.V()'\"\\, Has12a-", max_size=40))
def test_whatever_was_typed_there_is_a_place(typed: str) -> None:
    place = scan(typed)
    assert typed.endswith(place.word)
    assert place.start + len(place.word) == len(typed)
    try:
        parse(typed, REGISTRY.names)
    except GremlinSyntaxError:
        return
    # What the server can read is whole.
    assert place.complete


@given(st.text(max_size=20), st.sampled_from("'\""))
def test_a_suggested_value_is_that_value(value: str, quote: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    query = 'G.V().HasKey("K").Dedup("K").Limit(100).Values("K")'
    (line,) = texts(f"G.V().Has('K', {quote}", **{query: [value]})
    (_, has) = parse(f"{line})", REGISTRY.names).steps
    written = has.arguments[1]
    assert isinstance(written, Literal)
    assert written.value == value
