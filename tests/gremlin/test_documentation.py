import json
import re
import types
from pathlib import Path

import msgspec
import pytest

from skycore.errors import GremlinError
from skycore.graph.element import build_revision
from skycore.gremlin import Planner, QueryContext, core_registry, run
from skycore.gremlin.documentation import with_steps
from skycore.gremlin.syntax import PREDICATES
from skycore.plugin.hooks import gremlin_registry
from skycore.testing.views import ListView

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


@pytest.mark.parametrize(("query", "answer"), EXAMPLES)
async def test_the_examples_of_the_page(query: str, answer: str) -> None:
    graph = json.loads((PAGE.parent / "examples" / "graph.json").read_text())
    revisions = [
        build_revision(
            id=one["ID"], metadata=msgspec.json.encode(one["Metadata"]), revision=1, host=one["Host"],
            origin=one["Origin"], created_at=one["CreatedAt"], updated_at=one["UpdatedAt"],
            parent=one.get("Parent"), child=one.get("Child"), born=born,
        )
        for born, one in enumerate(graph["Nodes"] + graph["Edges"])
    ]  # fmt: skip
    result = await run(query, QueryContext(ListView(revisions), now=lambda: 0))
    assert result.json().decode() == answer + "\n"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 15


def test_the_step_of_the_page_works() -> None:
    (code,) = (text for language, text in blocks() if language == "python")
    plugin = types.ModuleType("example")
    exec(code, plugin.__dict__)
    registry, faults = gremlin_registry({"example": plugin})
    assert faults == {}
    assert "LAST" in registry.names
