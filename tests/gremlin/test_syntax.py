import json
import time

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.errors import GremlinError, GremlinSyntaxError
from skycore.graph.element import build_revision
from skycore.gremlin import Planner, QueryContext, core_registry, run
from skycore.gremlin.syntax import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_STEPS,
    PREDICATES,
    Literal,
    Parameter,
    Predicate,
    Query,
    Step,
    Word,
    parse,
    write,
)
from skycore.testing.views import ListHistory, ListView

NAMES = core_registry().names


def parameters_of(text: str) -> tuple[Parameter, ...]:
    (step,) = parse(f"G.Has({text})", NAMES).steps
    return step.arguments


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-7", -7),
        ("007", 7),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("25e-1", 2.5),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("true", True),
        ("FALSE", False),
        ("'a'", "a"),
        ('"a"', "a"),
        ("''", ""),
        ('"it\'s"', "it's"),
        ("'say \"x\"'", 'say "x"'),
        (r"'it\'s'", "it's"),
        (r'"a\"b"', 'a"b'),
        (r"'a\\b'", "a\\b"),
        (r"'\\'", "\\"),
        (r"'\b\f\n\r\t\/'", "\b\f\n\r\t/"),
        (r"'é\u00e9\u2028'", "éé\u2028"),
        (r"'\ud83d\ude00'", "😀"),
        (r"'eth\d+\.\w'", r"eth\d+\.\w"),
        ("'line\nend'", "line\nend"),
    ],
)
def test_literals(text: str, value: object) -> None:
    (literal,) = parameters_of(text)
    assert isinstance(literal, Literal)
    assert (type(literal.value), literal.value) == (type(value), value)


@pytest.mark.parametrize("text", ["'a' 'b'", "'a','b'", "'a'\r\n,\t'b'", "'a''b'", "'a',,'b',"])
def test_commas_between_parameters_may_be_left_out(text: str) -> None:
    assert parameters_of(text) == (Literal("a"), Literal("b"))


def test_keywords_in_any_case_and_white_space_anywhere() -> None:
    query = parse(" g \r\n. v ( )\t.HAS ( 'Name' , nE ( \"lo\" ) )\n.bothe().g.AT(now,Forever)", NAMES)
    assert query == Query(
        (
            Step("V"),
            Step("Has", (Literal("Name"), Predicate("Ne", (Literal("lo"),)))),
            Step("BothE"),
            Step("G"),
            Step("At", (Word("NOW"), Word("FOREVER"))),
        )
    )


def test_offsets() -> None:
    step = parse("G.V().Has('a', Ne(5))", NAMES).steps[1]
    predicate = step.arguments[1]
    assert isinstance(predicate, Predicate)
    assert (step.offset, predicate.offset, predicate.arguments[0].offset) == (6, 15, 18)


DEEP = "Ne(" * MAX_DEPTH

ERRORS = [
    ("", 0, 'found "", expected `G`'),
    ("x", 0, 'found "x", expected `G`'),
    ("  V()", 2, 'found "V", expected `G`'),
    ("'G'", 0, "found \"'G'\", expected `G`"),
    ("G V()", 2, 'found "V", expected `.`'),
    ("G.V())", 5, 'found ")", expected `.`'),
    ("G.V()\u00a0.Count()", 5, 'found "\u00a0", expected `.`'),
    ("G()", 1, 'found "(", expected `.`'),
    ("G.", 2, "Expected step function, got: end of query"),
    ("G..V()", 2, "Expected step function, got: ."),
    ("G.$()", 2, "Expected step function, got: $"),
    ("G.'V'()", 2, "Expected step function, got: 'V'"),
    ("G.V().Hass('x')", 6, "Expected step function, got: Hass (did you mean Has?)"),
    ("G.V().limits(1)", 6, "Expected step function, got: limits (did you mean Limit?)"),
    ("G.Alerts()", 2, "Expected step function, got: Alerts"),
    ("G." + "x" * 100, 2, "Expected step function, got: " + "x" * 40 + "…"),
    ("G.V", 3, "Expected left parenthesis, got: end of query"),
    ("G.V.Count()", 3, "Expected left parenthesis, got: ."),
    ("G.V(", 4, "Expected right parenthesis"),
    ("G.V('a'", 7, "Expected right parenthesis"),
    ("G.V(()", 4, "Unexpected token while parsing parameters, got: ("),
    ("G.V(-)", 4, "Unexpected token while parsing parameters, got: -"),
    ("G.V(x)", 4, "Unexpected token while parsing parameters, got: x"),
    ("G.V(Withn(1))", 4, "Unexpected token while parsing parameters, got: Withn (did you mean Within?)"),
    ("G.V('a)", 4, "Unterminated string: the closing ' is missing"),
    ("G.V('a\\')", 4, "Unterminated string: the closing ' is missing"),
    ("G.V(\"a')", 4, 'Unterminated string: the closing " is missing'),
    ("G.V(10s)", 4, "Expected number token, got: 10s"),
    ("G.V(1.2.3)", 4, "Expected number token, got: 1.2.3"),
    ("G.V(1.)", 4, "Expected number token, got: 1."),
    ("G.V(1e999)", 4, "Expected number token, got: 1e999"),
    ("G.V(18446744073709551616)", 4, "Expected number token, got: 18446744073709551616"),
    ("G.V(" + "9" * 5000 + ")", 4, "Expected number token, got: " + "9" * 40 + "…"),
    ("G.V().Has('a', LT())", 15, "One parameter expected with LT: []"),
    ("G.V().Has('a', LT(1, 'b'))", 15, "One parameter expected with LT: [1 b]"),
    ("G.V().Has('a', Regex())", 15, "One parameter expected with REGEX: []"),
    ("G.V().Has('a', Inside(1))", 15, "Two parameters expected with INSIDE: [1]"),
    ("G.V().Has('a', Outside(1, 2, true))", 15, "Two parameters expected with OUTSIDE: [1 2 true]"),
    ("G.V().Has(Metadata('a'))", 10, "slice must be defined by pair k,v: [a]"),
    ("G.V('ab\\u12')", 7, r"\u needs the four hexadecimal digits"),
    ("G.V('\\ud800')", 5, r"\u needs the four hexadecimal digits"),
    ("G.V('\ud800')", 5, "a lone surrogate is no character"),
    ("G.V(" + DEEP + ")", 4 + len(DEEP) - 1, f"parameters are nested too deeply: at most {MAX_DEPTH} levels"),
    ("G" + ".V()" * (MAX_STEPS + 1), 2 + 4 * MAX_STEPS, f"too many steps: at most {MAX_STEPS} are taken"),
    ("G" + " " * MAX_LENGTH, None, f"the query is too long: {MAX_LENGTH + 1} characters"),
]


@pytest.mark.parametrize(("text", "offset", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors(text: str, offset: int | None, message: str) -> None:
    with pytest.raises(GremlinSyntaxError) as caught:
        parse(text, NAMES)
    assert caught.value.message.startswith(message)
    assert caught.value.offset == offset


def test_an_error_shows_its_place() -> None:
    with pytest.raises(GremlinSyntaxError) as caught:
        parse("G.V()\n\t.Hass('Name')", NAMES)
    assert str(caught.value).splitlines() == [
        "Expected step function, got: Hass (did you mean Has?)",
        "line 2, column 3",
        "\t.Hass('Name')",
        "\t ^",
    ]


literals = st.builds(
    Literal,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans(),
)
words = st.builds(Word, st.sampled_from(["ASC", "DESC", "NOW", "FOREVER"]))


def predicates(inner: st.SearchStrategy[Parameter]) -> st.SearchStrategy[Parameter]:
    def arguments(name: str) -> st.SearchStrategy[Parameter]:
        count = PREDICATES[name]
        lists = st.lists(inner, min_size=count or 0, max_size=4 if count is None else count)
        if name == "Metadata":
            lists = lists.filter(lambda found: len(found) % 2 == 0)
        return st.builds(Predicate, st.just(name), lists.map(tuple))

    return st.sampled_from(sorted(PREDICATES)).flatmap(arguments)


parameters: st.SearchStrategy[Parameter] = st.recursive(literals | words, predicates, max_leaves=6)
steps = st.builds(Step, st.sampled_from(sorted(NAMES.values())), st.lists(parameters, max_size=4).map(tuple))
queries = st.builds(Query, st.lists(steps | st.just(Step("G")), max_size=6).map(tuple))


@given(queries)
def test_a_written_query_is_read_as_the_same_tree(query: Query) -> None:
    assert parse(write(query), NAMES) == query


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_string_in_json_is_read_as_itself(text: str) -> None:
    for ascii_only in (True, False):
        assert parameters_of(json.dumps(text, ensure_ascii=ascii_only)) == (Literal(text),)


PIECES = [
    *NAMES.values(), *PREDICATES, "G", "G.V()", ".", "(", ")", ",", "'", '"', "\\", "\\u", "d83d", "'Name'", "'a.b'",
    "1", "-1", "1.5", "1e400", "NOW", "FOREVER", "true", "'-1h'", "'^a'", "'(a'", "'a.*'", "'10.0.0.0/8'", " ",
    "\r\n", "\x00", "\ud800", "é", "$",
]  # fmt: skip


NODE = build_revision(
    id="Name", metadata=b'{"Name":"a","b":[1,{"a":2}]}', revision=1, host="h", origin="o", created_at=0, updated_at=0
)
EDGE = build_revision(
    id="e", metadata=b"{}", revision=1, host="h", origin="o", created_at=0, updated_at=0, parent="Name", child="Name"
)
CONTEXT = QueryContext(ListView([NODE, EDGE]), now=lambda: 0, history=ListHistory([NODE, EDGE]))


def error_of(query: str) -> GremlinError | None:
    try:
        result = trio.run(run, query, CONTEXT)
        json.loads(result.json())
    except GremlinError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_is_answered_or_a_positioned_error(text: str) -> None:
    for query in (text, f"G.V().Has({text})", f"G.V().{text}"):
        error = error_of(query)
        if error is not None:
            assert error.message
            assert error.offset is not None
            assert 0 <= error.offset <= len(query)
            assert str(error).startswith(error.message)


@pytest.mark.parametrize(
    "text",
    [
        "(" * MAX_LENGTH,
        "'" * MAX_LENGTH,
        "G.V(" + "\\" * 65_000,
        "G.V('" + "\\'" * 32_000,
        "G.V('" + "\\u" * 32_000 + "')",
        "G.V('" + "a" * 65_000,
        "G.V(" + "9" * 65_000 + ")",
        "G.V(" + "1e+" * 21_000 + ")",
        "G." + "V" * 65_000 + "()",
        "G.V(" + "," * 65_000 + ")",
        "G.V().Has(" + "'a' " * 16_000 + ")",
        "G.V().Has('a', Within(" + "1 " * 32_000 + "))",
        "G.V().Has('a', Regex('" + "(" * 65_000 + "'))",
        "G.V().Has('" + "a." * 32_000 + "', 1)",
        "G.V()" + ".Has('a',1)" * 900,
        "G" + " " * (MAX_LENGTH - 1),
    ],
    ids=range(16),
)
def test_the_longest_texts_are_read_in_bounded_time(text: str) -> None:
    assert len(text) <= MAX_LENGTH
    start = time.thread_time()
    try:
        Planner().plan(text)
    except GremlinError as error:
        str(error)
    # Linear work takes some 50 ms; anything quadratic takes minutes.
    assert time.thread_time() - start < 5
