"""`query`, `status` and `version` as a person types them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import click
import pytest
from click.testing import CliRunner

import skycore as package
from skycore.cli.main import skycore, skydive

ANSWERS = {
    "/api/topology": (200, b'[{"Metadata":{"Name":"eth0","MTU":1e3,"Z":"\\u003c"},"ID":"a"}]\n'),
    "/api/status": (200, b'{"Peers":{},"Agents":{}}'),
}


@contextlib.contextmanager
def answering(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(("program", "words"), [(skycore, []), (skydive, ["client"])])
def test_query_prints_json_as_the_server_wrote_it(program: click.Group, words: list[str]) -> None:
    with answering(ANSWERS) as address:
        result = CliRunner().invoke(program, [*words, "query", "G.V()", "--analyzer", address, "-o", "json"])
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        '[\n  {\n    "Metadata": {\n      "Name": "eth0",\n      "MTU": 1e3,\n      "Z": "\\u003c"\n    },\n'
        '    "ID": "a"\n  }\n]\n'
    )


def test_the_address_comes_from_the_environment() -> None:
    with answering(ANSWERS) as address:
        result = CliRunner().invoke(skycore, ["status"], env={"SKYDIVE_ANALYZER": address})
    assert (result.stdout, result.exit_code) == ('{\n  "Agents": {},\n  "Peers": {}\n}\n', 0)


def test_a_refused_query_shows_the_servers_text_on_stderr() -> None:
    text = 'found "x", expected `G`\nline 1, column 1\nx\n^'
    with answering({"/api/topology": (400, text.encode() + b"\n")}) as address:
        result = CliRunner().invoke(skycore, ["query", "x", "--analyzer", address])
    assert (result.stdout, result.stderr, result.exit_code) == ("", f"400 Bad Request: {text}\n", 1)


def test_an_answer_that_is_no_json() -> None:
    with answering({"/api/topology": (200, b"<html>")}) as address:
        result = CliRunner().invoke(skycore, ["query", "G", "--analyzer", address])
    assert (result.stdout, result.exit_code) == ("", 1)
    assert "the answer is no JSON" in result.stderr


def test_an_empty_answer_prints_nothing() -> None:
    with answering({"/api/topology": (204, b"")}) as address:
        result = CliRunner().invoke(skycore, ["query", "", "--analyzer", address])
    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)


@pytest.mark.parametrize("arguments", [["query"], ["query", "G", "-o", "xml"], ["query", "G", "--timeout", "0"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(skycore, arguments).exit_code == 2


def test_version() -> None:
    assert CliRunner().invoke(skycore, ["version"]).output == f"skycore {package.__version__}\n"
    assert CliRunner().invoke(skydive, ["version"]).output.split()[2] == package.__version__
