"""What all answers have in common, and the endpoints without objects, as Skydive's clients know them."""

from __future__ import annotations

import gzip
import json
import ssl
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from skycore.server import rest

if TYPE_CHECKING:
    from tests.server.api.conftest import Asked
    from tests.server.conftest import Serve

UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "": bytes}


async def test_about(analyzer: Asked, agent: Asked) -> None:
    for role, service in ((analyzer, "analyzer"), (agent, "agent")):
        status, headers, body = await role.ask("GET", "/api")
        assert status == 200
        assert headers["content-type"] == "application/json; charset=UTF-8"
        assert json.loads(body)["Host"] == "here"
        assert json.loads(body)["Service"] == service


async def test_configuration_by_dotted_key_and_without_secrets(analyzer: Asked) -> None:
    async def value(key: str) -> object:
        status, _, body = await analyzer.ask("GET", f"/api/config/{key}")
        assert status == 200
        return json.loads(body)

    assert await value("host_id") == "here"
    assert await value("HTTP.WS.Ping_Delay") == 2
    assert await value("storage.embedded.driver") == "embedded"
    assert await value("analyzer.topology.probes") == []
    assert await value("http.ws") == {
        key: await value(f"http.ws.{key}") for key in json.loads((await analyzer.ask("GET", "/api/config/http.ws"))[2])
    }
    assert await value("auth.people.type") == "basic"
    assert b"right" not in (await analyzer.ask("GET", "/api/config/auth"))[2]
    assert await value("auth.people.users") == "********"
    for unknown in ("nothing", "host_id.more", "http..ws", "http.ws.", ".", "%20"):
        assert await value(unknown) == ""


async def test_a_slash_at_the_end_is_redirected(analyzer: Asked) -> None:
    for method, path, to in (
        ("GET", "/api/status/", "/api/status"),
        ("POST", "/api/topology/", "/api/topology"),
        ("GET", "/api/topology//?a=b&c=%2F", "/api/topology?a=b&c=%2F"),
        ("GET", "/api/config/x/", "/api/config/x"),
    ):
        status, headers, _ = await analyzer.ask(method, path)
        assert (status, headers.get("location")) == (301, to)
    for path in ("//example.org/", "/nothing/", "/%2e%2e/", "/api/config/"):
        assert (await analyzer.ask("GET", path))[0] == 404


async def test_unknown_paths_and_wrong_methods(analyzer: Asked) -> None:
    status, headers, body = await analyzer.ask("GET", "/api/nothing", user="")
    assert (status, body) == (404, b"404 page not found\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    status, headers, body = await analyzer.ask("DELETE", "/api/topology")
    assert (status, body) == (405, b"")
    assert {method.strip() for method in headers["allow"].split(",")} == {"GET", "HEAD", "POST"}


async def test_queries(analyzer: Asked) -> None:
    async def ask(body: bytes, accept: str = "application/json") -> tuple[int, dict[str, str], bytes]:
        return await analyzer.ask("POST", "/api/topology", body=body, headers={"Accept": accept})

    assert (await ask(b'{"GremlinQuery":"G.V()"}'))[::2] == (200, b"[]\n")
    assert (await ask(b'{"gremlinQUERY":"G.V().Count()","more":1}'))[::2] == (200, b"0\n")
    for empty in (b"", b" ", b'{"GremlinQuery":""}', b"{}"):
        assert (await ask(empty))[::2] == (204, b"")
    for wrong, text in (
        (b'{"GremlinQuery":"G.Nothing()"}', b"Expected step function, got: Nothing"),
        (b'{"GremlinQuery":1}', b"GremlinQuery must be a string\n"),
        (b"[]", 'the body must be {"GremlinQuery": "…"}, not a list\n'.encode()),
        (b"{", b"the body is not JSON: "),
        (b"[" * 100_000, b"the body is not JSON"),
        (b'{"GremlinQuery":"\xff"}', b"the body is not JSON"),
    ):
        status, headers, body = await ask(wrong)
        assert status == 400, wrong
        assert body.startswith(text), body
        assert body.endswith(b"\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"


async def test_the_types_of_answers_to_queries(analyzer: Asked) -> None:
    async def ask(accept: str, query: str = "G") -> tuple[int, str, bytes]:
        body = json.dumps({"GremlinQuery": query}).encode()
        status, headers, answer = await analyzer.ask("POST", "/api/topology", body=body, headers={"Accept": accept})
        return status, headers["content-type"], answer

    for accept, given in (
        ("application/json", "application/json"),
        ("application/vnd.x+json", "application/vnd.x+json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml", "application/json"),
        ("application/xhtml+xml", "application/json"),
        ("application/JavaScript", "application/json"),
    ):
        assert await ask(accept) == (200, f"{given}; charset=UTF-8", b'[{"Nodes":null,"Edges":null}]\n')
    assert await ask("text/vnd.graphviz") == (200, "text/vnd.graphviz; charset=UTF-8", b"digraph g {\n}\n")
    assert (await ask("text/vnd.graphviz", "G.V()"))[0] == 406
    assert (await ask("application/vnd.tcpdump.pcap"))[0] == 406
    assert (await analyzer.ask("GET", "/api/topology"))[2] == b'{"Nodes":null,"Edges":null}\n'
    status, headers, body = await analyzer.ask("GET", "/api/topology", headers={"Accept": "text/vnd.graphviz"})
    assert (status, headers["content-type"], body[:7]) == (200, "text/vnd.graphviz; charset=UTF-8", b"digraph")


async def test_a_drawn_graph_cannot_be_broken_by_names(agent: Asked) -> None:
    claimant = agent.role.graph.claimant("test")
    first, second = "aaaaaaaa-1", "bbbbbbbb-2"
    claimant.put(first, {"Name": 'a"]; "x\\', "Type": "two\nlines", "IPV4": ["10.0.0.1/8", "10.0.0.2/8"]})
    claimant.put(second, {"Name": "b", "Type": "device"})
    claimant.link(first, second, "layer2")
    status, _, body = await agent.ask("GET", "/api/topology", headers={"Accept": "text/vnd.graphviz"})
    assert status == 200
    lines = body.decode().splitlines()
    title = f'"a\\"]; \\"x\\\\-{first[:8]}"'
    assert f"{title} [label={title[:-1]}\\nType = two\\nlines" in body.decode()
    assert "IPV4 = 10.0.0.1/8, 10.0.0.2/8" in body.decode()
    assert f'{title} -> "b-{second[:8]}" [label="layer2",dir=both]' in lines


async def test_compression_as_the_client_asks(analyzer: Asked) -> None:
    claimant = analyzer.role.graph.claimant("test")
    for number in range(300):
        claimant.put(f"n{number}", {"Name": f"n{number}", "Type": "device"})
    plain = (await analyzer.ask("GET", "/api/topology"))[2]
    for accepted, used in (
        ("gzip", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("br, *;q=0.1", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("gzip;q=x", ""),
        ("", ""),
    ):
        status, headers, body = await analyzer.ask("GET", "/api/topology", headers={"Accept-Encoding": accepted})
        assert (status, headers.get("content-encoding", "")) == (200, used), accepted
        assert "Accept-Encoding" in headers["vary"]
        assert UNPACK[used](body) == plain
    # Known whole: with a length.
    status, headers, body = await analyzer.ask("GET", "/api/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert int(headers["content-length"]) == len(body)
    assert json.loads(gzip.decompress(body))["openapi"] == "3.1.0"
    # Short: as it is.
    status, headers, body = await analyzer.ask("GET", "/api", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in headers
    assert json.loads(body)["Host"] == "here"


async def test_pages_of_other_origins_may_ask_but_not_with_the_browsers_credentials(analyzer: Asked) -> None:
    _, headers, _ = await analyzer.ask("GET", "/api", headers={"Origin": "http://elsewhere"})
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers
    for method in ("PATCH", "DELETE", "POST"):
        status, headers, _ = await analyzer.ask(
            "OPTIONS",
            "/api/topology",
            user="",
            headers={
                "Origin": "http://elsewhere",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "x-auth-token,content-type",
            },
        )
        assert status == 200
        assert method in headers["access-control-allow-methods"]
        assert "X-Auth-Token" in headers["access-control-allow-headers"]


async def test_over_tls_browsers_are_told_to_stay_there(analyzer: Asked, serve: Serve) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("here.example").configure_cert(ours)
    authority.configure_trust(theirs)
    far, near = trio.testing.memory_stream_pair()
    client = serve(rest.application(analyzer.services)).join(
        (
            trio.SSLStream(far, theirs, server_hostname="here.example"),
            trio.SSLStream(near, ours, server_side=True, https_compatible=True),
        )
    )
    status, headers, _ = await client.get("/healthz")
    assert (status, headers["strict-transport-security"]) == (200, "max-age=31536000")
    assert "strict-transport-security" not in (await analyzer.ask("GET", "/healthz"))[1]


async def test_a_long_list_of_objects_is_one_object(analyzer: Asked) -> None:
    assert (await analyzer.ask("GET", "/api/node"))[2] == b"{}\n"
    claimant = analyzer.role.graph.claimant("test")
    for count in (512, 1300):
        for number in range(count):
            claimant.put(f"n{number}", {"Name": f"n{number}", "Type": "device"})
        status, headers, body = await analyzer.ask("GET", "/api/node")
        assert (status, headers["content-type"]) == (200, "application/json; charset=UTF-8")
        assert {id: node["Metadata"]["Name"] for id, node in json.loads(body).items()} == {
            f"n{number}": f"n{number}" for number in range(count)
        }
        assert body.endswith(b"}\n")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_metrics(analyzer: Asked, agent: Asked, accept: str) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics  # noqa: PLC0415
    from prometheus_client.parser import text_string_to_metric_families as prometheus  # noqa: PLC0415

    analyzer.role.graph.claimant("test").put("a", {"Name": "a", "Type": "device"})
    await analyzer.run("G.V()")
    for role in (analyzer, agent):
        status, headers, body = await role.ask("GET", "/metrics", headers={"Accept": accept})
        assert status == 200
        assert headers["content-type"].startswith(accept.partition(";")[0] or "text/plain; version=")
        families = {family.name: family for family in (openmetrics if accept else prometheus)(body.decode())}
        assert "process_resident_memory_bytes" in families
        nodes = [one.value for one in families["skycore_graph_elements"].samples if one.labels["kind"] == "node"]
        assert nodes == [1.0]
    counts = await _query_counts(analyzer)
    assert counts["skycore_query_seconds_count"] == 1


async def _query_counts(role: Asked) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    body = (await role.ask("GET", "/metrics"))[2].decode()
    (family,) = [one for one in text_string_to_metric_families(body) if one.name == "skycore_query_seconds"]
    return {sample.name: sample.value for sample in family.samples}
