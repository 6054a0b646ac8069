"""The commands against a real all-in-one: forms of output, objects, following, hostile names, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from skycore.cli.main import skycore, skydive
from skycore.client import Edge, Node
from tests.storage.analyzers import Running, running

SKYCORE = Path(sys.executable).with_name("skycore")
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202egpj.exe\n\t|"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("allinone", tmp_path_factory.mktemp("allinone")) as made:
        made.until(lambda: made.ask("G.V().Has('Type', 'host').Count()") == 1)
        yield made


@pytest.fixture
def address(process: Running) -> str:
    return str(process.client.server.address)


def run(address: str, *words: str, program: click.Command = skycore, input: str | None = None) -> Result:
    return CliRunner().invoke(
        program, list(words), env={"SKYDIVE_ANALYZER": address}, input=input, catch_exceptions=False
    )


def answer(address: str, *words: str, program: click.Command = skycore) -> Any:
    result = run(address, *words, program=program)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_nodes_and_edges(address: str) -> None:
    one = answer(address, "node", "create", "--node-name", "one", "--node-type", "fabric", "--metadata", "a.b=1, c=x y")
    assert one["Metadata"] == {"Name": "one", "Type": "fabric", "a": {"b": "1"}, "c": "x y"}
    assert one["Origin"].startswith("cli.")
    two = answer(address, "client", "node", "create", "--node-name", "two", "--node-type", "fabric", program=skydive)
    words = ["--parent", one["ID"], "--child", two["ID"], "--edge-type", "layer2"]
    edge = answer(address, "edge", "create", *words)
    assert answer(address, "edge", "get", edge["ID"]) == edge

    changed = answer(address, "node", "update", one["ID"], "-a", "Rack.Row=7", "-a", "a.d=[1]", "-r", "c")
    assert changed["Metadata"]["Rack"] == {"Row": 7}
    assert changed["Metadata"]["a"] == {"b": "1", "d": [1]}
    assert "c" not in changed["Metadata"]
    assert run(address, "node", "update", one["ID"], "-a", "Rack.Row=7").stdout == "Not modified\n"

    listed = run(address, "node", "list").stdout.splitlines()
    assert listed[0].split() == ["ID", "TYPE", "NAME", "HOST", "ORIGIN", "REVISION"]
    assert any(line.split()[:3] == [two["ID"], "fabric", "two"] for line in listed)
    as_map = answer(address, "client", "node", "list", program=skydive)
    assert as_map == answer(address, "node", "list", "-o", "json")
    assert as_map == yaml.safe_load(run(address, "node", "list", "-o", "yaml").stdout)
    assert as_map[two["ID"]] == two

    deleted = run(address, "node", "delete", "--gremlin", "G.V().Has('Type', 'fabric')")
    assert (deleted.exit_code, deleted.output) == (0, "")
    assert answer(address, "client", "edge", "list", program=skydive) == {}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["node", "get", "zz"], "Failed to get node, 404 Not Found: Node 'zz' not found\n"),
        (["node", "update", "zz", "-a", "k=v"], "Failed to update node, 404 Not Found: \n"),
        (["edge", "delete", "zz"], "Failed to delete edge, 404 Not Found: Edge 'zz' not found\n"),
        (["node-rule", "get", "zz"], "Failed to get noderule, 404 Not Found: NodeRule 'zz' not found\n"),
        (
            ["user-metadata", "delete", "zz"],
            "Failed to delete usermetadata, 404 Not Found: UserMetadata 'zz' not found\n",
        ),
        (
            ["edge", "create", "--parent", "zz", "--child", "y", "--edge-type", "t"],
            "Could not find parent node: Failed to get node, 404 Not Found: Node 'zz' not found\n",
        ),
    ],
)
def test_what_is_not_there_ends_with_1(address: str, words: list[str], text: str) -> None:
    for program, before in ((skycore, []), (skydive, ["client"])):
        result = run(address, *before, *words, program=program)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)


def test_deleting_goes_on_after_a_refusal(address: str) -> None:
    made = answer(address, "node", "create", "--node-name", "one", "--node-type", "fabric")
    result = run(address, "node", "delete", "zz", made["ID"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert run(address, "node", "get", made["ID"]).exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ["node", "update", "x"],
        ["node", "update", "x", "-a", "novalue"],
        ["node", "create", "--metadata", "novalue"],
        ["node", "delete"],
        ["edge", "create", "--parent", "x"],
        ["node-rule", "create", "--action", "else"],
        ["query", "G", "--follow", "-o", "dot"],
        ["completion", "tcsh"],
    ],
)
def test_wrong_usage_ends_with_2(address: str, words: list[str]) -> None:
    assert run(address, *words).exit_code == 2


def test_rules_and_user_metadata(process: Running, address: str) -> None:
    words = ["--action", "create", "--node-name", "tor1", "--node-type", "fabric", "--name", "n", "--description", "d"]
    rule = answer(address, "node-rule", "create", *words)
    assert rule["Metadata"] == {"Name": "tor1", "Type": "fabric"}
    ends = ["--src", "G.V().Has('Name','tor1')", "--dst", "G.V().Has('Type','host')", "--relationtype", "layer2"]
    link = answer(address, "client", "edge-rule", "create", *ends, "--metadata", "k=v", program=skydive)
    assert link["Metadata"] == {"RelationType": "layer2", "k": "v"}
    process.until(lambda: answer(address, "query", "G.E().Has('RelationType', 'layer2').Count()") == 1)
    for verb in ("create", "add"):
        words = ["--gremlin", "G.V().Has('Type','host')", "--key", verb, "--value", "me"]
        data = answer(address, "user-metadata", verb, *words)
        assert data["UUID"] in run(address, "user-metadata", "list").stdout
        assert run(address, "user-metadata", "delete", data["UUID"]).exit_code == 0
    assert rule["UUID"] in run(address, "node-rule", "list").stdout
    assert list(answer(address, "edge-rule", "list", "-o", "json")) == [link["UUID"]]
    assert run(address, "edge-rule", "delete", link["UUID"]).exit_code == 0
    assert run(address, "node-rule", "delete", rule["UUID"]).exit_code == 0
    process.until(lambda: process.ask("G.V().Has('Type', 'fabric').Count()") == 0)


def test_forms_of_a_result(address: str) -> None:
    table = run(address, "query", "G.V().Has('Type', 'host')", "-o", "table").stdout.splitlines()
    assert [line.split()[1:4] for line in table] == [["TYPE", "NAME", "HOST"], ["host", "box", "box"]]
    assert run(address, "query", "G.V().Has('Type', 'host').Values('Name')", "-o", "table").stdout == "VALUE\nbox\n"
    assert run(address, "query", "G.V().Has('Type', 'host').Count()", "-o", "yaml").stdout == "1\n"
    maps = run(address, "query", "G.V().Has('Type', 'host').ValueMap('Name', 'Type')", "-o", "table").stdout
    assert maps == "Name  Type\nbox   host\n"
    assert run(address, "query", "G", "-o", "dot").stdout.startswith("digraph g {\n")
    assert "text/vnd.graphviz" in run(address, "query", "G.V()", "-o", "dot").stderr
    (graph,) = yaml.safe_load(run(address, "topology", "query", "-o", "yaml").stdout)
    assert graph.keys() == {"Nodes", "Edges"}


def test_export_and_import(process: Running, address: str, tmp_path: Path) -> None:
    graph = [
        {
            "Nodes": [
                {"ID": "i1", "Metadata": {"Name": "i1", "Type": "x"}},
                {"ID": "i2", "Metadata": {"Name": "i2"}},
            ],
            "Edges": [{"ID": "ie", "Parent": "i1", "Child": "i1", "Metadata": {"RelationType": "x"}}],
        }
    ]
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    result = run(address, "client", "topology", "import", "--file", str(tmp_path / "graph.json"), program=skydive)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "i2: Metadata.Type is required: a string that is not empty",
        "1 of 3 elements were not taken",
    ]
    assert process.client.nodes.get("i1").origin.startswith("CLI.")
    exported = run(address, "topology", "export").stdout
    assert {"i1", "ie"} <= {one["ID"] for part in json.loads(exported)[0].values() for one in part or ()}
    assert run(address, "topology", "import", "--file", "-", input=exported).exit_code == 0
    for text in ("", "{}", "[]", '[{"Nodes":5,"Edges":null}]'):
        assert run(address, "topology", "import", "--file", "-", input=text).exit_code == 1
    assert "cannot be read: No such file" in run(address, "topology", "import", "--file", "/nowhere").stderr


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_hostile_names_are_shown_harmlessly(process: Running, address: str, form: str) -> None:
    process.client.nodes.create(Node(id="evil", metadata={"Name": HOSTILE, "Type": "x", HOSTILE: {HOSTILE: 1}}))
    process.client.edges.create(Edge(id="link", parent="evil", child="evil", metadata={"RelationType": HOSTILE}))
    try:
        for words in (["query", "G"], ["node", "list"], ["edge", "list"], ["query", "G.V().ValueMap('Name')"]):
            shown = run(address, *words, "-o", form).stdout
            assert not [char for char in shown if not char.isprintable() and char != "\n"], words
            if form == "json" and words == ["node", "list"]:
                assert json.loads(shown)["evil"]["Metadata"]["Name"] == HOSTILE
            if form == "yaml" and words == ["node", "list"]:
                assert yaml.safe_load(shown)["evil"]["Metadata"]["Name"] == HOSTILE
            if form == "table" and words == ["node", "list"]:
                assert "\\u001b[2J" in shown
        assert "\x1b" not in run(address, "node", "get", "\x1b[2J").stderr
    finally:
        process.client.nodes.delete("evil")


# Processes of their own: signals and pipes.


def spawn(address: str, *words: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "SKYDIVE_ANALYZER": address}
    return subprocess.Popen(
        [SKYCORE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True, **options
    )


def read_line(popen: subprocess.Popen[str]) -> str:
    assert popen.stdout is not None
    return popen.stdout.readline()


def test_following_until_ctrl_c(process: Running, address: str) -> None:
    with spawn(address, "query", "G.V().Has('Type', 'fabric').SubGraph()", "--follow") as popen:
        try:
            # The state is empty: the first line is that of the new node, once it is heard.
            process.until(lambda: process.client.status()["Subscribers"])
            process.client.nodes.create(Node(id="one", metadata={"Name": "one", "Type": "fabric"}))
            first = json.loads(read_line(popen))
            assert (first["Type"], first["Obj"]["ID"]) == ("NodeAdded", "one")
            process.client.nodes.delete("one")
            assert json.loads(read_line(popen))["Type"] == "NodeDeleted"
            popen.send_signal(signal.SIGINT)
            assert popen.wait(30) == 130
            assert popen.stderr is not None
            assert popen.stderr.read() == ""
        finally:
            popen.kill()


@pytest.mark.parametrize("words", [["query", "G", "--follow", "-o", "table"], ["query", "G"]])
def test_a_pipe_that_breaks(address: str, words: list[str]) -> None:
    """A program that reads one line ends us too, quietly, though nothing changes any more."""
    with spawn(address, *words) as popen:
        try:
            assert popen.stdout is not None
            assert popen.stderr is not None
            assert popen.stdout.read(1)
            popen.stdout.close()
            assert popen.wait(30) in (0, 1)
            assert popen.stderr.read() == ""
        finally:
            popen.kill()


def test_a_terminal_gets_a_table_drawn(address: str) -> None:
    script = "import sys, pty; sys.stdout.isatty(); status = pty.spawn(sys.argv[1:]); sys.exit(status >> 8)"
    environment = {**os.environ, "SKYDIVE_ANALYZER": address, "TERM": "xterm", "COLUMNS": "140"}
    done = subprocess.run(
        [sys.executable, "-c", script, SKYCORE, "node", "list"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=60,
        check=True,
    )
    assert "─" in done.stdout.decode()
    assert "box" in done.stdout.decode()
