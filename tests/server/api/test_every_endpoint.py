"""Every endpoint × method × user × good and bad input.

The endpoints come from the table that serves them; one without a case here, or a case without an endpoint, fails.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import attrs
import pytest
import yaml
from jsonschema import Draft202012Validator

from skycore.server.api.body import LARGEST
from skycore.server.api.objects import KINDS
from skycore.server.api.openapi import document
from skycore.server.api.table import endpoints
from skycore.server.endpoint import Endpoint
from skycore.server.plugin_web import read_files
from skycore.server.web import PAGES, site
from tests.server.api.conftest import RACKS

if TYPE_CHECKING:
    from tests.server.api.conftest import Asked, Reply

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
GUEST_MAY: Final = {("status", "read"), ("topology", "read")}
BROKEN_JSON: Final = (b"{", b"[1", b"nul", b"\xff\xfe{}", b"{} {}", b"[" * 5000, b'{"a":1e999999}x', b"\0")
WRONG_JSON: Final = (b'"x"', b"17", b"true")


@attrs.frozen
class Input:
    """One request and the status that an admin gets.

    ``made``: of an object that is made before; ``{id}`` in the path is its id.  ``fresh``: the body has words that are
    replaced by an id that nothing has yet, and by those of two nodes.
    """

    status: int
    path: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    made: bool = False
    fresh: bool = False


def say(value: Any) -> bytes:
    return json.dumps(value).encode()


RECORDING: Final = (Path(__file__).parents[2] / "data" / "flows" / "dns.pcap").read_bytes()
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
YAML: Final = {"Content-Type": "application/yaml"}
CASES: Final[dict[str, list[Input]]] = {
    "GET /api": [Input(200), Input(200, "/api?x=%ff&y=1")],
    "GET /api/openapi.json": [Input(200)],
    "POST /login": [
        Input(200, body=b"username=admin&password=right", headers=FORM),
        Input(401, body=b"username=admin&password=wrong", headers=FORM),
        Input(401),
        Input(400, body=b"%%%&&&=\xff", headers=FORM),
    ],
    "GET /login": [Input(302)],
    "POST /logout": [Input(200), Input(200, body=b"anything")],
    "GET /api/status": [Input(200), Input(200, body=b"unasked")],
    "GET /api/config/{key}": [
        Input(200, "/api/config/analyzer.listen"),
        Input(200, "/api/config/nothing"),
        Input(200, "/api/config/%00%ff"),
    ],
    "GET /healthz": [Input(200)],
    "GET /metrics": [Input(200)],
    "GET /api/topology": [
        Input(200),
        Input(200, headers={"Accept": "text/vnd.graphviz"}),
        Input(406, headers={"Accept": "application/vnd.tcpdump.pcap"}),
    ],
    "GET /api/gremlin": [Input(200)],
    "POST /api/pcap": [
        Input(202, body=RECORDING),
        Input(400, body=RECORDING[:-1]),
        Input(400, body=b"GET / HTTP/1.1"),
        Input(400),
    ],
    "GET /api/session": [Input(200)],
    "GET /api/history/density": [
        Input(200, "/api/history/density?start=1000&end=2000&parts=10"),
        Input(400),
        Input(400, "/api/history/density?start=2000&end=1000&parts=10"),
        Input(400, "/api/history/density?start=1000&end=1000&parts=10"),
        Input(400, "/api/history/density?start=-1&end=1000&parts=10"),
        Input(400, "/api/history/density?start=0&end=999999999999999&parts=10"),
        Input(400, "/api/history/density?start=0&end=9&parts=1001"),
        Input(400, "/api/history/density?start=0&end=9&parts=0"),
        Input(400, "/api/history/density?start=0&end=9&parts=%D9%A3"),
    ],
    **{f"GET {page}": [Input(200), Input(200, headers={"Accept-Encoding": "gzip;q=0"})] for page in PAGES},
    "GET /ui/{build}/{file:path}": [
        Input(200, f"/ui/{site().build}/app.js"),
        Input(200, f"/ui/{site().build}/style/base.css"),
        Input(304, f"/ui/{site().build}/app.js", headers={"If-None-Match": "*"}),
        Input(404, "/ui/0123456789abcdef/app.js"),
        Input(404, f"/ui/{site().build}/../app.js"),
        Input(404, f"/ui/{site().build}/%2e%2e/server/web.py"),
        Input(404, f"/ui/{site().build}/vendor/preact.LICENSE"),
    ],
    "GET /api/webpanels": [Input(200)],
    "GET /ui/plugin/{plugin}/{build}/{file:path}": [
        Input(200, f"/ui/plugin/racks/{read_files(RACKS).build}/racks.js"),
        Input(404, f"/ui/plugin/racks/{read_files(RACKS).build}/../racks.js"),
        Input(404, "/ui/plugin/racks/0123456789abcdef/racks.js"),
        Input(404, f"/ui/plugin/shelves/{read_files(RACKS).build}/racks.js"),
    ],
    "GET /api/flows/top": [
        Input(200),
        Input(400, "/api/flows/top?start=5&end=5"),
        Input(400, "/api/flows/top?start=0&end=99999999999999999"),
        Input(400, "/api/flows/top?start=1&end=5&by=size"),
        Input(400, "/api/flows/top?start=1&end=5&limit=0"),
        Input(200, "/api/flows/top?start=1&end=5"),
        Input(200, "/api/flows/top?start=1&end=5&by=pair&measure=packets&limit=3&node=x"),
    ],
    "POST /api/topology": [
        Input(200, body=say({"GremlinQuery": "G.V()"})),
        Input(200, body=b"GremlinQuery: G.V()\n", headers=YAML),
        Input(204),
        Input(400, body=say({"GremlinQuery": "G.V("})),
        Input(400, body=say({"GremlinQuery": None})),
        Input(400, body=b"GremlinQuery: [\n", headers=YAML),
        Input(406, body=say({"GremlinQuery": "G.V()"}), headers={"Accept": "text/vnd.graphviz"}),
    ],
}


NODE: Final = {"Metadata": {"Name": "made", "Type": "fabric"}}
# A good one of every kind, and what is wrong with others.
OBJECTS: Final[dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]] = {
    "node": ({"ID": "{fresh}", **NODE}, [NODE, {"ID": "", **NODE}, {"ID": "a", "Metadata": {"Type": "fabric"}}]),
    "edge": (
        {"ID": "{fresh}", "Parent": "{end}", "Child": "{end2}", "Metadata": {"RelationType": "layer2"}},
        [
            {"ID": "e", "Parent": "{end}", "Child": "{end2}", "Metadata": {}},
            {"ID": "e", "Parent": "{end}", "Metadata": {"RelationType": "layer2"}},
            {"Parent": "{end}", "Child": "{end2}", "Metadata": {"RelationType": "layer2"}},
        ],
    ),
    "noderule": (
        {"Action": "create", "Metadata": {"Name": "ruled", "Type": "fabric"}},
        [{"Action": "destroy", **NODE}, {"Action": "update", "Query": "G.V(", "Metadata": {"a": 1}}, {}],
    ),
    "edgerule": (
        {"Src": "G.V()", "Dst": "G.V()", "Metadata": {"RelationType": "layer2"}},
        [{"Src": "", "Dst": "G.V()", "Metadata": {"RelationType": "layer2"}}, {"Src": "G.V()", "Dst": "G.V()"}],
    ),
    "capture": (
        {"GremlinQuery": "G.V().Has('Name', '{fresh}')", "BPFFilter": "tcp port 80"},
        [
            {},
            {"GremlinQuery": "G.V("},
            {"GremlinQuery": "G.V()", "BPFFilter": "tcp prot 80"},
            {"GremlinQuery": "G.V()", "Type": "carrier pigeon"},
            {"GremlinQuery": "G.V()", "HeaderSize": 13},
        ],
    ),
    "injectpacket": (
        {"Src": "G.V('sender')", "DstIP": "10.9.0.2", "DstMAC": "02:00:00:00:00:02", "Type": "icmp4"},
        [
            {},
            {"Src": "G.V('sender')", "DstIP": "10.9.0.2", "Type": "icmp4"},
            {"Src": "G.V().Has('Name', 'nobody')", "DstIP": "10.9.0.2", "Type": "icmp4"},
            {"Src": "G.V('sender')", "DstIP": "10.9.0.2", "Type": "carrier pigeon"},
            {"Src": "G.V('sender')", "DstIP": "nowhere", "Type": "icmp4"},
            {"Src": "G.V('sender')", "Type": "icmp4", "Pcap": "no base64"},
        ],
    ),
    "usermetadata": (
        {"GremlinQuery": "G.V()", "Key": "{fresh}", "Value": 1},
        [{"GremlinQuery": "nonsense", "Key": "a", "Value": "b"}, {"GremlinQuery": "G.V()", "Value": "b"}],
    ),
}
TTL: Final = "X-Resource-TTL"


def _cases_of(kind: str) -> dict[str, list[Input]]:
    good, wrong = OBJECTS[kind]
    one, many = f"/api/{kind}/{{id}}", f"/api/{kind}"
    updatable = KINDS[kind].updatable
    add = say([{"op": "add", "path": "/Metadata/Added", "value": {"deep": [1, None]}}])
    nothing = say([{"op": "test", "path": "/Metadata", "value": {}}])
    broken_json = [Input(400, body=body) for body in BROKEN_JSON]
    return {
        f"GET {many}": [Input(200)],
        f"POST {many}": [
            Input(201, body=say(good), fresh=True),
            Input(201, body=say({name.upper(): value for name, value in good.items()} | {"Extra": 1}), fresh=True),
            Input(201, body=yaml.safe_dump(good).encode(), headers=YAML, fresh=True),
            Input(201, body=say(good), headers={TTL: "1h30m"}, fresh=True),
            Input(400, body=say(good), headers={TTL: "a while"}, fresh=True),
            *(Input(400, body=say(body), fresh=True) for body in (*wrong, [], [good], "x", None)),
            *broken_json,
        ],
        f"GET {many}/{{id:path}}": [
            Input(200, one, made=True),
            Input(404, f"{many}/nothing"),
            Input(404, f"{many}/%00%ff/..%2f"),
        ],
        f"PATCH {many}/{{id:path}}": [
            Input(200 if updatable else 400, one, body=add, made=True),
            *([Input(304, one, body=b"[]", made=True), Input(404, f"{many}/nothing", body=add)] if updatable else []),
            *(Input(400, one, body=body, made=True) for body in (nothing, say({}), say([{"op": "fly"}]), b"[1]")),
            Input(400, f"{many}/", body=add),
        ],
        f"DELETE {many}/{{id:path}}": [
            Input(200, one, made=True),
            Input(404, f"{many}/nothing"),
            Input(400, f"{many}/"),
        ],
    }


for _kind in OBJECTS:
    CASES.update(_cases_of(_kind))


def name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def table(role: Asked) -> dict[str, Endpoint]:
    return {name(endpoint): endpoint for endpoint in endpoints(role.services)}


async def test_every_endpoint_has_cases_and_every_case_an_endpoint(analyzer: Asked, agent: Asked) -> None:
    assert set(table(analyzer)) | set(table(agent)) == set(CASES)
    assert set(analyzer.services.objects) == set(OBJECTS) == set(KINDS)
    for case, inputs in CASES.items():
        assert any(one.status < 400 for one in inputs) or case.startswith("PATCH"), f"{case} has no good input"


async def test_an_agent_serves_its_share(agent: Asked) -> None:
    paths = {endpoint.path for endpoint in table(agent).values()}
    assert {"/api", "/login", "/api/status", "/api/topology", "/metrics", "/healthz", "/api/openapi.json"} <= paths
    assert not {path for path in paths if path.startswith(("/api/config", "/api/node"))}
    assert (await agent.ask("GET", "/api/config/host_id"))[0] == 404


@pytest.mark.parametrize("case", CASES)
async def test_as_admin_as_guest_and_as_nobody(analyzer: Asked, sender: None, case: str) -> None:
    await _all_inputs(analyzer, case)


async def test_the_same_of_an_agent(agent: Asked) -> None:
    for case in table(agent):
        if case != "POST /login":
            await _all_inputs(agent, case)


async def _all_inputs(role: Asked, case: str) -> None:
    endpoint = table(role)[case]
    for one in CASES[case]:
        await _as_everybody(role, endpoint, one)
    if not endpoint.public:
        asked = await role.ask(endpoint.method, CASES[case][0].path or endpoint.path, user="stranger")
        # Who is wrong too often has to wait.
        assert asked[0] in (401, 429), asked


async def _as_everybody(role: Asked, endpoint: Endpoint, one: Input) -> None:
    ask = await _prepared(role, endpoint, one)
    # Who may not is told so before anything is done, so the order does not matter to what the input needs.
    for user, expected, text in _refusals(endpoint):
        status, headers, body = await ask(user)
        assert (status, body) == (expected, text), f"{name(endpoint)} as {user or 'nobody'}"
        assert headers["x-content-type-options"] == "nosniff"
    for user in ["admin"] + ["guest"] * (not _refused(endpoint, "guest")) + [""] * endpoint.public:
        ask = await _prepared(role, endpoint, one)
        status, headers, body = await ask(user)
        assert status == one.status, f"{name(endpoint)} with {one} as {user or 'nobody'}: {body!r}"
        _check_answer(role, endpoint, status, headers, body)


async def _prepared(role: Asked, endpoint: Endpoint, one: Input) -> Callable[[str], Awaitable[Reply]]:
    """How to ask it, after what it needs was made."""
    path, body = one.path or endpoint.path, one.body
    if one.fresh:
        body = await _filled(role, body)
    if one.made:
        kind = endpoint.object
        made = await role.ask("POST", f"/api/{kind}", body=await _filled(role, say(OBJECTS[kind][0])))
        assert made[0] == 201, made
        described = json.loads(made[2])
        path = path.replace("{id}", described.get("UUID") or described["ID"])
    return lambda user: role.ask(endpoint.method, path, user=user, headers=one.headers, body=body)


async def _filled(role: Asked, body: bytes) -> bytes:
    body = body.replace(b"{fresh}", uuid4().hex.encode())
    for word in (b"{end}", b"{end2}"):
        if word in body:
            id = uuid4().hex
            assert (await role.ask("POST", "/api/node", body=say({"ID": id, **NODE})))[0] == 201
            body = body.replace(word, id.encode())
    return body


def _refused(endpoint: Endpoint, user: str) -> bool:
    return bool(user == "guest" and endpoint.object and (endpoint.object, endpoint.action) not in GUEST_MAY)


def _refusals(endpoint: Endpoint) -> list[tuple[str, int, bytes]]:
    if endpoint.public:
        return []
    found = [("", 401, b"No credentials provided\n")]
    if _refused(endpoint, "guest"):
        why = f"'guest' has no '{endpoint.action}' permission on '{endpoint.object}'\n".encode()
        found.append(("guest", 405, why if endpoint.says_why else b""))
    return found


def _check_answer(role: Asked, endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """The answer is one of those that the table tells of, and has the form that all of its kind have."""
    answers = [answer for answer in endpoint.answers if answer.status == status]
    assert answers, f"{name(endpoint)} answers {status}, which its row does not tell"
    media = headers.get("content-type", "").partition(";")[0]
    assert any(media in answer.media_types or not (answer.media_types or body) for answer in answers), (media, body)
    if status >= 400 and body:
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert body.endswith(b"\n")
    if media == "application/json":
        described = document([endpoint], role.services.role)
        (schema,) = (answer["content"][media].get("schema") for answer in _described(described, status))
        if schema is not None:
            Draft202012Validator({**schema, "components": described["components"]}).validate(json.loads(body))
    assert "Accept-Encoding" in headers["vary"]


def _described(document: dict[str, Any], status: int) -> list[dict[str, Any]]:
    return [operation["responses"][str(status)] for path in document["paths"].values() for operation in path.values()]


@pytest.mark.parametrize("case", [case for case in CASES if case.partition(" ")[0] in ("POST", "PATCH")])
async def test_broken_bodies(analyzer: Asked, case: str) -> None:
    endpoint = table(analyzer)[case]
    if endpoint.body is None or "application/json" not in endpoint.body.media_types:
        return
    path = endpoint.path.replace("{id:path}", "some-id")
    # Whether the object is there is looked at before what an operation says.
    for body in BROKEN_JSON + (WRONG_JSON if endpoint.method == "POST" else ()):
        status, headers, text = await analyzer.ask(endpoint.method, path, body=body)
        assert status == 400, (path, body, text)
        assert text.endswith(b"\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"
    assert (await analyzer.ask(endpoint.method, path, body=bytes(LARGEST + 1)))[0] == 413
    for body in (b"a: [", b"a: &x [*x]", b"\xff", b"- &a [x]\n- *a\n", b"%"):
        status, _, text = await analyzer.ask(endpoint.method, path, body=body, headers=YAML)
        assert status == 400, (path, body, text)


async def test_every_other_method_of_every_path(analyzer: Asked, agent: Asked) -> None:
    for role in (analyzer, agent):
        served: dict[str, set[str]] = {}
        for endpoint in table(role).values():
            served.setdefault(endpoint.path, set()).add(endpoint.method)
        for path, listed in served.items():
            methods = listed | {"HEAD"} if "GET" in listed else listed
            for method in METHODS:
                if method in methods:
                    continue
                status, headers, body = await role.ask(method, path.replace(":path", ""))
                assert (status, body) == (405, b""), (method, path)
                assert {one.strip() for one in headers["allow"].split(",")} == methods


async def test_head_is_answered_wherever_get_is(analyzer: Asked) -> None:
    for endpoint in table(analyzer).values():
        if endpoint.method == "GET" and ":path" not in endpoint.path:
            path = next(one.path or endpoint.path for one in CASES[name(endpoint)] if one.status < 400)
            status, headers, body = await analyzer.ask("HEAD", path)
            assert (status < 400, body) == (True, b""), path
            assert headers.keys() - {"date", "content-length", "transfer-encoding"}


async def test_what_is_refused_or_written_is_told_to_the_gatekeeper(analyzer: Asked) -> None:
    await analyzer.ask("GET", "/api/status")
    assert analyzer.audited == []
    await analyzer.ask("GET", "/api/config/x", user="guest")
    await analyzer.ask("GET", "/api/config/x", user="stranger")
    assert analyzer.audited == [
        ("guest", "GET", "config", "read", 405),
        ("", "GET", "config", "read", 401),
    ]
