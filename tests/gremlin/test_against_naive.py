"""Random queries over random graphs give what a plain evaluator, written here from the reference alone, gives."""

import json
import math
import re
from fractions import Fraction
from ipaddress import IPv4Interface, IPv4Network
from typing import Any, NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.past import PastView
from skycore.graph.view import GraphView
from skycore.gremlin import QueryContext, run
from skycore.testing.views import ListView

GONE = object()

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


class Element(NamedTuple):
    id: str
    metadata: dict[str, Any]
    parent: str | None = None
    child: str | None = None


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Element], list[Element]]:
    nodes = [Element(f"n{number}", found) for number, found in enumerate(draw(st.lists(METADATA, max_size=5)))]
    ends = st.sampled_from([node.id for node in nodes]) if nodes else st.nothing()
    drawn = draw(st.lists(st.tuples(ends, ends, METADATA), max_size=6)) if nodes else []
    return nodes, [Element(f"e{number}", found, *pair) for number, (*pair, found) in enumerate(drawn)]


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
PAIRS = st.lists(st.tuples(st.sampled_from(KEYS), PREDICATES), min_size=1, max_size=2)
FILTERS = st.one_of(
    st.tuples(st.sampled_from(["Has", "HasEither"]), PAIRS),
    st.tuples(st.sampled_from(["Has", "HasKey", "HasNot", "HasEither"]), st.sampled_from(KEYS)),
)
NODE_MOVES = st.tuples(st.sampled_from(["Out", "In", "Both", "OutE", "InE", "BothE"]), st.none() | PAIRS)
EDGE_MOVES = st.tuples(st.sampled_from(["OutV", "InV", "BothV"]), st.none() | PAIRS)
WINDOWS = st.one_of(
    st.tuples(st.just("Limit"), st.integers(0, 4)),
    st.tuples(st.just("Range"), st.integers(0, 3), st.integers(0, 5)),
)
DEDUPS = st.lists(st.sampled_from(KEYS), max_size=2).map(lambda keys: ("Dedup", *keys))


@st.composite
def queries(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    on_nodes = draw(st.booleans())
    steps: list[tuple[Any, ...]] = [("V",) if on_nodes else ("E",)]
    for _ in range(draw(st.integers(0, 5))):
        step = draw(FILTERS | WINDOWS | DEDUPS | (NODE_MOVES if on_nodes else EDGE_MOVES))
        if step[0] in ("OutE", "InE", "BothE", "OutV", "InV", "BothV"):
            on_nodes = not on_nodes
        steps.append(step)
    key = draw(st.sampled_from(KEYS))
    ends: list[list[tuple[Any, ...]]] = [[], [("Count",)]]
    if on_nodes:
        ends += [[("Values", key)], [("Values", key), ("Dedup",)]]
    end: list[tuple[Any, ...]] = draw(st.sampled_from(ends))
    return steps + end


def text_of(steps: list[tuple[Any, ...]]) -> str:
    return "G" + "".join(f".{name}({', '.join(text_of_arguments(arguments))})" for name, *arguments in steps)


def text_of_arguments(arguments: list[Any]) -> list[str]:
    texts: list[str] = []
    for argument in arguments:
        if isinstance(argument, list):
            for key, (predicate, *operands) in argument:
                texts.append(json.dumps(key))
                shown = ", ".join(map(json.dumps, operands))
                texts.append(shown if predicate == "=" else f"{predicate}({shown})")
        elif argument is not None:
            texts.append(json.dumps(argument))
    return texts


def get(value: Any, path: list[str]) -> Any:
    if not path:
        return value
    if isinstance(value, dict):
        return get(value[path[0]], path[1:]) if path[0] in value else GONE
    if not isinstance(value, list):
        return GONE
    found = [got for one in value if isinstance(one, dict) and (got := get(one, path)) is not GONE]
    return [part for got in found for part in (got if isinstance(got, list) else [got])] if found else GONE


def value_of(element: Element, key: str) -> Any:
    return get(element.metadata, key.removeprefix("Metadata.").split("."))


def exact(value: Any) -> Fraction | None:
    """What a value is worth as a number."""
    if isinstance(value, bool | int | float):
        return Fraction(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return Fraction(value)
    return None


def equal(value: Any, literal: Any) -> bool:
    if isinstance(literal, str | bool):
        return type(value) is type(literal) and value == literal
    return exact(value) == Fraction(literal)


def in_network(value: Any, network: str) -> bool:
    try:
        return isinstance(value, str) and IPv4Interface(value).ip in IPv4Network(network, strict=False)
    except ValueError:
        return False


def satisfies(value: Any, predicate: str, *operands: Any) -> bool:
    members = [] if value is GONE else value if isinstance(value, list) else [value]

    def some(low: Any, high: Any, *, with_low: bool = False, with_high: bool = False) -> bool:
        numbers = [number for member in members if (number := exact(member)) is not None]
        return any((low < n or (with_low and n == low)) and (n < high or (with_high and n == high)) for n in numbers)

    infinity = math.inf
    first: Any = exact(operands[0]) if operands else None
    second: Any = exact(operands[1]) if len(operands) > 1 else None
    match predicate:
        case "=" | "Within":
            return any(equal(member, operand) for member in members for operand in operands)
        case "Nee" | "Without":
            return not any(equal(member, operand) for member in members for operand in operands)
        case "Ne":
            return value is not GONE and not any(equal(member, operands[0]) for member in members)
        case "Lt":
            return some(-infinity, first)
        case "Lte":
            return some(-infinity, first, with_high=True)
        case "Gt":
            return some(first, infinity)
        case "Gte":
            return some(first, infinity, with_low=True)
        case "Inside":
            return some(first, infinity) and some(-infinity, second)
        case "Between":
            return some(first, infinity, with_low=True) and some(-infinity, second)
        case "Outside":
            return some(-infinity, first) or some(second, infinity)
        case "Regex":
            return any(isinstance(member, str) and re.fullmatch(operands[0], member) for member in members)
        case "Ipv4Range":
            return any(in_network(member, operands[0]) for member in members)
    raise AssertionError(predicate)


def passes(element: Element, name: str, argument: Any) -> bool:
    if argument is None:
        return True
    if isinstance(argument, str):
        return (value_of(element, argument) is not GONE) == (name != "HasNot")
    answers = [satisfies(value_of(element, key), *predicate) for key, predicate in argument]
    return any(answers) if name == "HasEither" else all(answers)


def evaluate(nodes: list[Element], edges: list[Element], steps: list[tuple[Any, ...]]) -> Any:
    by_id = {element.id: element for element in nodes + edges}
    current: list[Any] = []
    for name, *arguments in steps:
        match name:
            case "V" | "E":
                current = list(nodes if name == "V" else edges)
            case "Has" | "HasKey" | "HasNot" | "HasEither":
                current = [element for element in current if passes(element, name, arguments[0])]
            case "Limit":
                current = current[: arguments[0]]
            case "Range":
                current = current[arguments[0] : max(arguments)] if arguments[1] > arguments[0] else []
            case "Count":
                return len(current)
            case "Values":
                found = [value_of(element, arguments[0]) for element in current]
                current = [value for value in found if value is not GONE and value not in ([], {})]
            case "Dedup":
                kept: list[Any] = []
                for item in current:
                    mine = identity(item, arguments)
                    if mine is None or mine not in [identity(other, arguments) for other in kept]:
                        kept.append(item)
                current = kept
            case _:
                reached = [by_id[id] for element in current for id in neighbours(element, name, edges)]
                current = [element for element in reached if passes(element, "Has", arguments[0])]
    if steps[-1][0] == "Values" or (len(steps) > 1 and steps[-2][0] == "Values"):
        return current or None
    return [element.id for element in current]


def neighbours(element: Element, name: str, edges: list[Element]) -> list[str]:
    leaving = [edge for edge in edges if edge.parent == element.id]
    arriving = [edge for edge in edges if edge.child == element.id]
    others = [edge for edge in arriving if edge not in leaving]
    found: dict[str, list[str | None]] = {
        "Out": [edge.child for edge in leaving],
        "In": [edge.parent for edge in arriving],
        "Both": [edge.child for edge in leaving] + [edge.parent for edge in others],
        "OutE": [edge.id for edge in leaving],
        "InE": [edge.id for edge in arriving],
        "BothE": [edge.id for edge in leaving + others],
        "OutV": [element.child],
        "InV": [element.parent],
        "BothV": [element.parent, element.child],
    }
    return [id for id in found[name] if id is not None]


def identity(item: Any, keys: list[str]) -> str | None:
    """JSON text of what makes an item itself, with whole floats written as integers."""
    if not isinstance(item, Element):
        return json.dumps(whole(item), sort_keys=True)
    if not keys:
        return item.id
    there = {key: whole(value) for key in keys if (value := value_of(item, key)) is not GONE}
    return json.dumps(there, sort_keys=True) if there else None


def whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(member) for member in value]
    if isinstance(value, dict):
        return {key: whole(member) for key, member in value.items()}
    return value


def revision(element: Element) -> Revision:
    return build_revision(
        id=element.id, metadata=canonical_metadata(element.metadata), revision=1, host="h", origin="agent.h",
        created_at=1, updated_at=1, parent=element.parent, child=element.child,
    )  # fmt: skip


def ask(nodes: list[Element], edges: list[Element], query: str) -> Any:
    revisions = [revision(element) for element in nodes + edges]
    views: list[GraphView] = [ListView(revisions), ListView(revisions, frozen=False), PastView(revisions)]
    answers = [trio.run(run, query, QueryContext(view, now=lambda: 0)).json() for view in views]
    assert answers == answers[:1] * len(views)
    answer = json.loads(answers[0])
    if isinstance(answer, list):
        return [one["ID"] if isinstance(one, dict) and "Metadata" in one else one for one in answer]
    return answer


@settings(max_examples=400, deadline=None)
@given(graphs(), queries())
def test_queries(graph: tuple[list[Element], list[Element]], steps: list[tuple[Any, ...]]) -> None:
    found, expected = ask(*graph, text_of(steps)), evaluate(*graph, steps)
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@settings(max_examples=400, deadline=None)
@given(st.lists(METADATA, min_size=3, max_size=8), st.sampled_from(KEYS), PREDICATES)
def test_each_predicate_on_each_kind_of_value(
    found: list[dict[str, Any]], key: str, predicate: tuple[Any, ...]
) -> None:
    nodes = [Element(str(number), metadata) for number, metadata in enumerate(found)]
    steps = [("V",), ("Has", [(key, predicate)])]
    assert ask(nodes, [], text_of(steps)) == evaluate(nodes, [], steps)
