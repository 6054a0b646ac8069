import re
from pathlib import Path

import pytest

from skycore.errors import GremlinError
from skycore.gremlin import Planner, core_registry
from skycore.gremlin.documentation import with_steps
from skycore.gremlin.syntax import PREDICATES

PAGE = Path(__file__).parents[2] / "docs" / "gremlin.md"


def test_the_table_of_steps_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert with_steps(page, core_registry()) == page, "run: python -m skycore.gremlin.documentation docs/gremlin.md"


def test_every_step_is_documented() -> None:
    assert [one.name for one in core_registry() if not one.summary.endswith(".")] == []


def test_every_predicate_is_documented() -> None:
    page = PAGE.read_text()
    # Metadata belongs to a step that is not there yet.
    assert [name for name in PREDICATES if f"`{name}(" not in page and name != "Metadata"] == []


def test_a_page_without_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="no marked place"):
        with_steps("# Nothing\n", core_registry())


def test_the_queries_of_the_page_are_right_and_its_error_is_ours() -> None:
    queries, error = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for query in queries.splitlines():
        Planner().plan(query)
    with pytest.raises(GremlinError) as caught:
        Planner().plan(error.splitlines()[2])
    assert f"{caught.value}\n" == error
