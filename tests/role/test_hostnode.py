"""The node of the host: its keys, the page that lists them, and the values from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from skycore.config.schema import Agent, Config, MetadataConfig, MetadataFile
from skycore.graph.graph import Graph
from skycore.role import hostnode

PAGE = Path(__file__).parents[2] / "docs" / "host.md"


def file(path: Path, type: str, selector: str, name: str = "region") -> MetadataFile:
    return MetadataFile(path=path, type=type, name=name, selector=selector)  # type: ignore[arg-type]


def test_the_page_lists_every_key() -> None:
    found = re.search(r"<!-- keys: .*? -->\n\n(.*?)\n<!-- end of keys -->", PAGE.read_text(), flags=re.DOTALL)
    assert found is not None
    assert found[1] == hostnode.markdown(), "run `python -m skycore.role.hostnode` and put its output into docs/host.md"


@pytest.mark.parametrize(
    ("type", "selector", "text"),
    [
        ("json", "a.b", '{"a": {"b": "eu"}}'),
        ("toml", "a.b", '[a]\nb = "eu"'),
        ("yaml", "a.b", "a:\n  b: eu"),
        ("yml", "a", "a: eu"),
        ("ini", "a.b", "top = 1\n[a]\nb = 'eu'"),
        ("ini", "top", "top = eu\n[a]\nb = 1"),
        ("properties", "a.b", "# a comment\na.b = eu\n"),
        ("props", "a b", "a\\ b: e\\\n   u\n"),
        ("prop", "a", "!x\na eu"),
    ],
)
def test_each_form_of_a_file(tmp_path: Path, type: str, selector: str, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert hostnode.read(file(path, type, selector)) == "eu"


def test_numbers_and_booleans_are_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('{"n": 1.5, "b": true, "l": [1]}')
    assert [hostnode.read(file(path, "json", key)) for key in ("n", "b")] == ["1.5", "true"]
    for selector in ("l", "x", "n.x"):
        with pytest.raises(ValueError, match="at"):
            hostnode.read(file(path, "json", selector))


@given(st.binary(max_size=120), st.sampled_from(["json", "toml", "ini", "yaml", "properties"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes, type: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(raw)
    try:
        assert isinstance(hostnode.read(file(path, type, "a")), str)
    except ValueError:
        pass


async def test_a_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostnode, "_EACH", 0.01)
    path = tmp_path / "facts"
    files = (file(path, "json", "region"), file(path, "json", "zone", "zone"))
    agent = Agent(metadata={"rack": "r7", "Type": "no"}, metadata_config=MetadataConfig(files=files))
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    node = hostnode.HostNode(graph, Config(host_id="h", agent=agent))

    def told() -> Mapping[str, object]:
        (revision,) = graph.nodes.values()
        return revision.metadata()

    async def until(expected: object) -> None:
        with trio.fail_after(10):
            cursor = graph.log.cursor()
            while told().get("Config") != expected:
                await cursor.wait()
                cursor.read()

    assert told()["rack"] == "r7"
    assert told()["Type"] == "host"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        path.write_text('{"region": "eu", "zone": 3}')
        await until({"region": "eu", "zone": "3"})
        path.write_text('{"region": "us"}')
        await until({"region": "us"})
        path.unlink()
        await until(None)
        nursery.cancel_scope.cancel()
