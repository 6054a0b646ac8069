"""A plain evaluator of the query language, written from the reference alone."""

import json
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from ipaddress import IPv4Interface, IPv4Network
from typing import Any, NamedTuple

GONE = object()


class Element(NamedTuple):
    id: str
    metadata: dict[str, Any]
    parent: str | None = None
    child: str | None = None
    revision: int = 1
    period: tuple[float, float] = (0, math.inf)
    """The first and the last moment at which it was as this revision says."""
    deleted: bool = False

    @property
    def handle(self) -> tuple[str, int]:
        return self.id, self.revision


class World(NamedTuple):
    nodes: list[Element]
    edges: list[Element]


class Word(str):
    """A keyword, written without quotes."""


class Metadata(list[Any]):
    """Pairs, written as Metadata(…)."""


class Pairs(list[Any]):
    """Pairs, written one after the other."""


Steps = list[tuple[Any, ...]]


def text_of(steps: Steps) -> str:
    return "G" + "".join(
        ".G" if name == "G" else f".{name}({', '.join(text_of_arguments(arguments))})" for name, *arguments in steps
    )


def text_of_arguments(arguments: list[Any]) -> list[str]:
    texts: list[str] = []
    for argument in arguments:
        if isinstance(argument, Metadata):
            texts.append(f"Metadata({', '.join(text_of_arguments([Pairs(argument)]))})")
        elif isinstance(argument, Pairs):
            for key, (predicate, *operands) in argument:
                texts.append(json.dumps(key))
                shown = ", ".join(map(json.dumps, operands))
                texts.append(shown if predicate == "=" else f"{predicate}({shown})")
        elif isinstance(argument, Word):
            texts.append(argument)
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


def value_of(item: Any, key: str) -> Any:
    if isinstance(item, Element):
        return get(item.metadata, key.removeprefix("Metadata.").split("."))
    if not isinstance(item, dict):
        return GONE
    return item[key] if key in item else get(item, key.removeprefix("Metadata.").split("."))


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


def passes(item: Any, name: str, argument: Any) -> bool:
    if argument is None:
        return True
    if isinstance(argument, str):
        return (value_of(item, argument) is not GONE) == (name != "HasNot")
    answers = [satisfies(value_of(item, key), *predicate) for key, predicate in argument]
    return any(answers) if name == "HasEither" else all(answers)


def evaluate(world: World, steps: Steps, name_of: Callable[[Element], str] = lambda element: element.id) -> Any:
    """The answer: IDs for elements, lists of IDs for paths, two lists of IDs for a graph, else JSON values."""
    root, kind, current = world, "graph", list[Any]()
    named: dict[str, list[Any]] = {}
    for name, *arguments in steps:
        match name:
            case "G":
                world, kind = root, "graph"
            case "V" | "E":
                every = world.nodes if name == "V" else world.edges
                current, kind = [one for one in every if not arguments or one.id == arguments[0]], name
            case "Has" | "HasKey" | "HasNot" | "HasEither":
                current = [item for item in current if passes(item, name, arguments[0])]
            case "Limit":
                current = current[: arguments[0]]
            case "Range":
                current = current[arguments[0] : max(arguments)] if arguments[1] > arguments[0] else []
            case "Sort":
                current = ordered(current, *arguments)
            case "Dedup" if kind == "P":
                current, kind = unique([node for path in current for node in path], []), "V"
            case "Dedup":
                current = unique(current, arguments)
            case "As":
                named[arguments[0]] = current
            case "Select":
                there = {element.handle for element in world.nodes}
                current = [element for key in arguments for element in named[key] if element.handle in there]
            case "Count":
                return len(current)
            case "Sum":
                found = [value_of(element, arguments[0]) for element in current]
                members = [one for value in found for one in (value if isinstance(value, list) else [value])]
                return sum(number(one) for one in members if exact(one) is not None)
            case "Values":
                found = [value_of(element, arguments[0]) for element in current]
                current, kind = [value for value in found if value is not GONE and value not in ([], {})], "values"
            case "ValueMap":
                maps = [{key: value_of(element, key) for key in arguments} for element in current]
                maps = [{key: value for key, value in one.items() if value is not GONE} for one in maps]
                current, kind = [one for one in maps if one], "values"
            case "Keys":
                current, kind = keys_of(current), "values"
            case "Descendants" | "Ascendants" | "Neighbors":
                current = surroundings(world, current, name, *arguments)
            case "ShortestPathTo":
                paths = [shortest(world, node, *arguments) for node in current]
                current, kind = [path for path in paths if path], "P"
            case "SubGraph":
                world, kind = subgraph(world, kind, current, *arguments), "graph"
            case _:
                reached = [other for element in current for other in neighbours(world, element, name, world.edges)]
                current = [element for element in reached if passes(element, "Has", arguments[0])]
                kind = "E" if name.endswith("E") else "V"
    match kind:
        case "graph":
            lists = [[name_of(element) for element in elements] or None for elements in world]
            return [dict(zip(("Nodes", "Edges"), lists, strict=True))]
        case "values":
            return current or None
        case "P":
            return [[name_of(node) for node in path] for path in current]
    return [name_of(element) for element in current]


def number(value: Any) -> int | float:
    if isinstance(value, str):
        return float(value) if "." in value else int(value)
    assert isinstance(value, int | float)
    return value


def ordered(items: list[Any], *arguments: str) -> list[Any]:
    if not arguments:
        return items  # all were made at one time
    key = arguments[-1]

    def rank(item: Any) -> tuple[int, Any]:
        value = value_of(item, key)
        if isinstance(value, int | float):
            return 0, value
        if isinstance(value, str):
            return 1, value
        return 2, json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    there = [item for item in items if value_of(item, key) is not GONE]
    there.sort(key=rank, reverse=arguments[0] == "DESC" and len(arguments) == 2)
    return there + [item for item in items if value_of(item, key) is GONE]


def unique(items: list[Any], keys: list[str]) -> list[Any]:
    kept: list[Any] = []
    known: set[str] = set()
    for item in items:
        mine = identity(item, keys)
        if mine is None or mine not in known:
            kept.append(item)
        if mine is not None:
            known.add(mine)
    return kept


def meet(*elements: Element) -> bool:
    """Whether there is a moment at which all of them were current."""
    return max(one.period[0] for one in elements) <= min(one.period[1] for one in elements)


def ends(world: World, id: str | None, *others: Element) -> list[Element]:
    return [node for node in world.nodes if node.id == id and meet(node, *others)]


def neighbours(world: World, element: Element, name: str, edges: list[Element]) -> list[Element]:
    leaving = [edge for edge in edges if edge.parent == element.id and meet(edge, element)]
    arriving = [edge for edge in edges if edge.child == element.id and meet(edge, element)]
    others = [edge for edge in arriving if edge not in leaving]
    found: dict[str, list[tuple[str | None, tuple[Element, ...]]]] = {
        "Out": [(edge.child, (edge, element)) for edge in leaving],
        "In": [(edge.parent, (edge, element)) for edge in arriving],
        "Both": [(edge.child, (edge, element)) for edge in leaving]
        + [(edge.parent, (edge, element)) for edge in others],
        "Ends": [(end, (edge, element)) for edge in leaving + others for end in (edge.parent, edge.child)],
        "OutV": [(element.child, (element,))],
        "InV": [(element.parent, (element,))],
        "BothV": [(element.parent, (element,)), (element.child, (element,))],
    }
    if name in ("OutE", "InE", "BothE"):
        return {"OutE": leaving, "InE": arriving, "BothE": leaving + others}[name]
    return [end for id, together in found[name] for end in ends(world, id, *together)]


def surroundings(world: World, start: list[Any], name: str, pairs: Any, depth: int | None) -> list[Any]:
    pairs = Pairs([("RelationType", ("=", "ownership"))]) if pairs is None else pairs
    edges = [edge for edge in world.edges if passes(edge, "HasEither", pairs)]
    move = {"Descendants": "Out", "Ascendants": "In", "Neighbors": "Ends"}[name]
    found = different(start)
    level = found
    depth = 1 if depth is None else depth
    rounds = len(world.nodes) if depth == 0 and name != "Neighbors" else depth
    for _ in range(rounds):
        level = different([end for node in level for end in neighbours(world, node, move, edges)])
        level = [node for node in level if node not in found]
        found = found + level
    return found


def different(elements: list[Any]) -> list[Any]:
    return list({element.handle: element for element in elements}.values())


def shortest(world: World, source: Element, targets: Any, pairs: Any) -> list[Element]:
    """The shortest path, the first in the alphabet of several, found by trying all."""
    edges = [edge for edge in world.edges if passes(edge, "Has", pairs)]
    by_handle = {element.handle: element for element in world.nodes}

    def ways(path: list[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
        last = by_handle[path[-1]]
        if passes(last, "Has", targets):
            yield path
        for handle in {node.handle for node in neighbours(world, last, "Both", edges)}.difference(path):
            yield from ways([*path, handle])

    best = min(ways([source.handle]), key=lambda path: (len(path), path), default=[])
    return [by_handle[handle] for handle in best]


def subgraph(world: World, kind: str, items: list[Any], pairs: Any) -> World:
    if kind == "E":
        chosen = [edge for edge in world.edges if edge in items]
        there = {end.handle for edge in chosen for id in (edge.parent, edge.child) for end in ends(world, id, edge)}
    else:
        there = {node.handle for node in ([node for path in items for node in path] if kind == "P" else items)}
        chosen = [edge for edge in world.edges if passes(edge, "Has", pairs)]
    nodes = [node for node in world.nodes if node.handle in there]
    inside = World(nodes, [])
    return World(nodes, [edge for edge in chosen if ends(inside, edge.parent, edge) and ends(inside, edge.child, edge)])


def keys_of(elements: list[Any]) -> list[str]:
    if not elements:
        return []
    fields = ["@ID", "@Host", "@Origin", "@CreatedAt", "@UpdatedAt", "@Revision", "@Stale"]
    if elements[0].parent is not None:
        fields += ["Parent", "Child"]
    if any(element.deleted for element in elements):
        fields.insert(5 if elements[0].deleted else len(fields), "@DeletedAt")

    def walk(value: Any, path: list[str]) -> Iterator[str]:
        if isinstance(value, list):
            for member in value:
                if isinstance(member, dict):
                    yield from walk(member, path)
        elif isinstance(value, dict):
            for key, member in value.items():
                yield ".".join([*path, key])
                yield from walk(member, [*path, key])

    return fields + sorted({key for element in elements for key in walk(element.metadata, [])})


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


def answer_of(text: bytes, name_of: Callable[[dict[str, Any]], str] = lambda element: str(element["ID"])) -> Any:
    """An answer as ``evaluate`` writes it."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(one) for one in value]
        if isinstance(value, dict):
            if "Metadata" in value and "Revision" in value:
                return name_of(value)
            return {key: short(one) for key, one in value.items()}
        return value

    return short(json.loads(text))
