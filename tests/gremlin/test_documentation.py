import json
import re
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skycore.errors import GremlinError
from skycore.graph.element import Revision, build_revision
from skycore.gremlin import Planner, QueryContext, core_registry, run
from skycore.gremlin.documentation import with_steps
from skycore.gremlin.syntax import PREDICATES
from skycore.plugin.hooks import gremlin_registry
from skycore.testing.flows import ListedFlows
from skycore.testing.views import ListHistory, ListView

PAGE = Path(__file__).parents[2] / "docs" / "gremlin.md"


def test_the_table_of_steps_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert with_steps(page, core_registry()) == page, "run: python -m skycore.gremlin.documentation docs/gremlin.md"


def test_every_step_is_documented() -> None:
    assert [one.name for one in core_registry() if not one.summary.endswith(".")] == []


def test_every_predicate_is_documented() -> None:
    page = PAGE.read_text()
    assert [name for name in PREDICATES if f"`{name}(" not in page and f"({name}(" not in page] == []


def test_a_page_without_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="no marked place"):
        with_steps("# Nothing\n", core_registry())


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the page's code."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_first_queries_of_the_page_are_right_and_its_error_is_ours() -> None:
    queries, _, error = (text for language, text in blocks() if not language)
    for query in queries.splitlines():
        Planner().plan(query)
    with pytest.raises(GremlinError) as caught:
        Planner().plan(error.splitlines()[2])
    assert f"{caught.value}\n" == error


EXAMPLES = re.findall(r"^\| [^|]+\? \| `(G.*?)` \| `(.*?)` \|$", PAGE.read_text(), re.MULTILINE)


LONG_EXAMPLES = re.findall(
    r"^```gremlin\n(.*?)\n```\n\n```json\n(.*?)\n```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
)
TEN_MINUTES = 600_000


def revisions_of(elements: list[dict[str, Any]]) -> list[Revision]:
    return [
        build_revision(
            id=one["ID"], metadata=msgspec.json.encode(one["Metadata"]), revision=one["Revision"], host=one["Host"],
            origin=one["Origin"], created_at=one["CreatedAt"], updated_at=one["UpdatedAt"], deleted_at=one["DeletedAt"],
            parent=one.get("Parent"), child=one.get("Child"), born=born,
        )
        for born, one in enumerate(elements)
    ]  # fmt: skip


async def ask(query: str) -> str:
    """The answer over the graph of the page and its history, ten minutes after the graph was made."""
    graph = json.loads((PAGE.parent / "examples" / "graph.json").read_text())
    later = json.loads((PAGE.parent / "examples" / "history.json").read_text())
    first = revisions_of(graph["Nodes"] + graph["Edges"])
    now = first[0].created_at + TEN_MINUTES
    context = QueryContext(
        ListView(first),
        now=lambda: now,
        history=ListHistory([*first, *revisions_of(later)]),
        flows=ListedFlows(json.loads((PAGE.parent / "examples" / "flows.json").read_text()), expire_ms=0),
    )
    return (await run(query, context)).json().decode()


@pytest.mark.parametrize(("query", "answer"), EXAMPLES)
async def test_the_examples_of_the_page(query: str, answer: str) -> None:
    assert await ask(query) == answer + "\n"


@pytest.mark.parametrize(("query", "answer"), LONG_EXAMPLES)
async def test_the_long_examples_of_the_page(query: str, answer: str) -> None:
    assert json.loads(await ask(query)) == json.loads(answer)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 25
    assert len(LONG_EXAMPLES) > 1
    shown = str(EXAMPLES + LONG_EXAMPLES)
    assert [name for name in ("At", "Diff", "Revisions", "Metrics", "Flows") if f".{name}(" not in shown] == []


def test_the_step_of_the_page_works() -> None:
    (code,) = (text for language, text in blocks() if language == "python")
    plugin = types.ModuleType("example")
    exec(code, plugin.__dict__)
    registry, faults = gremlin_registry({"example": plugin})
    assert faults == {}
    assert "LAST" in registry.names
