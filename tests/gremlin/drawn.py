"""Random graphs and queries for the plain evaluator."""

from typing import Any

from hypothesis import strategies as st

from tests.gremlin.naive import Element, Metadata, Pairs, Steps, Word, World

KEYS = ["a", "b", "c", "c.x", "c.x.y", "Metadata.a", "gone"]
SCALARS = st.sampled_from(
    ["", "x", "xy", "1", "-1", "2.50", "0", "true", "10.0.0.7", "10.0.0.9/8", "11.0.0.1", "1e1", "é\n", "$"]
) | st.sampled_from([0, 1, 2, -1, 10, 2**53 + 1, 0.5, 2.5, -1.0, True, False, None])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
    max_leaves=4,
)
METADATA = st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3)


@st.composite
def graphs(draw: st.DrawFn) -> World:
    nodes = [Element(f"n{number}", found) for number, found in enumerate(draw(st.lists(METADATA, max_size=5)))]
    ends = st.sampled_from([node.id for node in nodes]) if nodes else st.nothing()
    drawn = draw(st.lists(st.tuples(ends, ends, METADATA), max_size=6)) if nodes else []
    return World(nodes, [Element(f"e{number}", found, *pair) for number, (*pair, found) in enumerate(drawn)])


LITERALS = st.sampled_from(
    ["", "x", "xy", "1", "-1", "2.50", "true", 0, 1, 2, -1, 10, 0.5, 2.5, -1.0, 2**53 + 1, True, False]
)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 10, 0.5, 2.5, -0.5, "1", "2.50", "-1"])
PREDICATES = st.one_of(
    st.tuples(st.just("="), LITERALS),
    st.tuples(st.sampled_from(["Ne", "Nee"]), LITERALS),
    st.tuples(st.sampled_from(["Lt", "Lte", "Gt", "Gte"]), NUMBERS),
    st.tuples(st.sampled_from(["Inside", "Outside", "Between"]), NUMBERS, NUMBERS),
    st.lists(LITERALS, max_size=3).map(lambda found: ("Within", *found)),
    st.lists(LITERALS, max_size=3).map(lambda found: ("Without", *found)),
    st.tuples(st.just("Regex"), st.sampled_from([".*", "x.?", "x|1", "[0-9.]+", "\\d", "", "(?s).*"])),
    st.tuples(st.just("Ipv4Range"), st.sampled_from(["10.0.0.8/29", "10.0.0.0/29", "0.0.0.0/0", "11.0.0.1/32"])),
)
PAIRS = st.lists(st.tuples(st.sampled_from(KEYS), PREDICATES), min_size=1, max_size=2).map(Pairs)
RELATIONS = st.sampled_from([("RelationType", ("=", "layer2")), ("RelationType", ("=", "ownership"))])
EDGE_PAIRS = PAIRS | RELATIONS.map(lambda pair: Pairs([pair]))
METADATA_PAIRS = EDGE_PAIRS.map(Metadata)
FILTERS = st.one_of(
    st.tuples(st.sampled_from(["Has", "HasEither"]), PAIRS),
    st.tuples(st.sampled_from(["Has", "HasKey", "HasNot", "HasEither"]), st.sampled_from(KEYS)),
)
NODE_MOVES = st.tuples(st.sampled_from(["Out", "In", "Both"]), st.none() | PAIRS) | st.tuples(
    st.sampled_from(["OutE", "InE", "BothE"]), st.none() | EDGE_PAIRS
)
EDGE_MOVES = st.tuples(st.sampled_from(["OutV", "InV", "BothV"]), st.none() | PAIRS)
SURROUNDINGS = st.tuples(
    st.sampled_from(["Descendants", "Ascendants", "Neighbors"]), st.none() | EDGE_PAIRS, st.none() | st.integers(0, 3)
)
WINDOWS = st.one_of(
    st.tuples(st.just("Limit"), st.integers(0, 4)),
    st.tuples(st.just("Range"), st.integers(0, 3), st.integers(0, 5)),
)
DEDUPS = st.lists(st.sampled_from(KEYS), max_size=2).map(lambda keys: ("Dedup", *keys))
SORTS = st.one_of(
    st.just(("Sort",)),
    st.tuples(st.just("Sort"), st.sampled_from(KEYS)),
    st.tuples(st.just("Sort"), st.sampled_from(["ASC", "DESC"]).map(Word), st.sampled_from(KEYS)),
)
SUBGRAPHS = st.tuples(st.just("SubGraph"), st.none() | EDGE_PAIRS)
PATHS = st.tuples(st.just("ShortestPathTo"), METADATA_PAIRS, st.none() | METADATA_PAIRS)
TAKES = st.one_of(
    st.tuples(st.just("Values"), st.sampled_from(KEYS)),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(lambda keys: ("ValueMap", *keys)),
    st.just(("Keys",)),
)


@st.composite
def queries(draw: st.DrawFn) -> Steps:
    kind = draw(st.sampled_from("VE"))
    steps: Steps = [(kind,)]
    named = False
    for _ in range(draw(st.integers(0, 5))):
        both = FILTERS | WINDOWS | DEDUPS | SORTS
        if kind == "E":
            step: tuple[Any, ...] = draw(both | EDGE_MOVES | st.just(("SubGraph", None)))
        else:
            again = st.just(("Select", "x")) if named else st.just(("As", "x"))
            step = draw(both | NODE_MOVES | SURROUNDINGS | SUBGRAPHS | again)
        steps.append(step)
        named = named or step[0] == "As"
        if step[0] in ("OutE", "InE", "BothE"):
            kind = "E"
        elif step[0] in ("OutV", "InV", "BothV"):
            kind = "V"
        elif step[0] == "SubGraph" or (step[0] == "As" and draw(st.booleans())):
            if step[0] == "As":
                steps.append(("G",))
            kind = draw(st.sampled_from("VE"))
            steps.append((kind,))
    ends: list[Steps] = [[], [("Count",)]]
    taken, key = draw(TAKES), draw(st.sampled_from(KEYS))
    ends += [[taken], [taken, ("Dedup",)], [taken, draw(WINDOWS)], [taken, ("Count",)], [("Sum", key)]]
    ends += [[("ValueMap", "a", "c.x"), ("Has", draw(PAIRS))]]
    if kind == "V":
        path = draw(PATHS)
        ends += [[path], [path, ("Count",)], [path, ("Dedup",)], [path, ("SubGraph", None)], [path, draw(WINDOWS)]]
    return steps + draw(st.sampled_from(ends))
