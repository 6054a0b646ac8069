"""Any text gives a result or an error with its place, soon, and nothing else."""

import json
import time

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.errors import GremlinError
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.graph.view import Gap
from skycore.gremlin import QueryContext, Result, core_registry, run
from skycore.gremlin.syntax import PREDICATES
from skycore.testing.views import ListHistory

NAMES = [definition.name for definition in core_registry()]
WORDS = [*NAMES, *PREDICATES, "G", "TRUE", "false", "ASC", "DESC", "NOW", "FOREVER"]
LITERALS = [
    "'Name'",
    '"a"',
    "'RelationType'",
    "'ownership'",
    "0",
    "1",
    "-2",
    "1.5",
    "1e400",
    "9" * 30,
    r"'\u00e9'",
    "''",
]
SOUP = st.lists(st.sampled_from([*WORDS, *LITERALS, "(", ")", ",", ".", " ", "\n", "'", "\\", "$", "\x00", "é"]))
PARAMETERS = st.recursive(
    st.sampled_from([*LITERALS, "true", "ASC", "DESC", "NOW", "FOREVER"]),
    lambda inner: st.tuples(st.sampled_from(list(PREDICATES)), st.lists(inner, max_size=3)).map(
        lambda found: f"{found[0]}({', '.join(found[1])})"
    ),
    max_leaves=4,
)
STEPS = st.tuples(st.sampled_from(NAMES), st.lists(PARAMETERS, max_size=4)).map(
    lambda found: f"{found[0]}({', '.join(found[1])})"
)
SOURCES = st.sampled_from(
    [
        "G", "G.V()", "G.E()", "G.V().As('Name')", "G.V().Metrics()", "G.V().Values('Name')",
        "G.At(NOW)", "G.At(3).V()", "G.At(NOW, FOREVER)", "G.At(3, 2).V()", "G.At(3, 9).E()",
    ]
)  # fmt: skip
QUERIES = st.tuples(SOURCES, st.lists(STEPS, max_size=4)).map(lambda found: ".".join([found[0], *found[1]]))

CLOCK = iter(range(1000, 100_000, 100))
GRAPH = Graph(host="h", origin="agent.h", with_tids=False, clock=lambda: next(CLOCK))
WHOLE_PAST = GRAPH.log.cursor(every=True)
for number in range(5):
    GRAPH.claimant("p").put(
        str(number), {"Name": str(number), "a": [number, {"b": None}], "LastUpdateMetric": {"Last": 9}}
    )
    GRAPH.claimant("p").link(str(number // 2), str(number), "ownership")
    GRAPH.claimant("p").put("changing", {"Name": "x", "a": number})
GRAPH.claimant("p").drop("1")
HISTORY = ListHistory(list(WHOLE_PAST.read().changes), [Gap("agent.h", 2000, 2500, 3)])
CONTEXT = QueryContext(LiveView(GRAPH), now=lambda: 10_000, history=HISTORY)


@settings(max_examples=600, deadline=None)
@given(st.text(max_size=60) | SOUP.map("".join) | SOUP.map(lambda found: "G." + "".join(found)) | QUERIES)
def test_any_text(text: str) -> None:
    start = time.monotonic()
    outcome = ask(text)
    assert time.monotonic() - start < 5
    assert not GRAPH.pins
    if isinstance(outcome, Result):
        json.loads(outcome.json())
        return
    assert outcome.offset in range(len(text) + 1)
    assert outcome.message in str(outcome)


def ask(text: str) -> Result | GremlinError:
    try:
        return trio.run(run, text, CONTEXT)
    except GremlinError as error:
        return error
