"""Access with real processes on two hosts: TLS everywhere, users with two roles, agents with a token or a password."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import bcrypt
import pytest
import trustme

from skycore.client import Access
from skycore.errors import ClientError, RequestRefused
from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost, Underlay
from skycore.testing.pytest_plugin import require
from tests.system.processes import SKYCORE, Process, content, until

TOKEN = "planted-cluster-token-0123456789"
PASSWORDS = {"root": "planted-root-password", "bob": "planted-bob-password", "link": "planted-link-password"}
SECRETS = (TOKEN, *PASSWORDS.values(), "planted-unused-password", "PRIVATE KEY")

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "unshare")


@attrs.frozen
class Site:
    """An analyzer on ``centre`` and an agent on ``one``, both reachable by the other; with TLS."""

    folder: Path
    authority: trustme.CA
    centre: FakeHost
    one: FakeHost
    addresses: dict[str, str]
    analyzer: Process
    agent: Process

    def access(self, user: str | None) -> Access:
        return Access(username=user or "", password=PASSWORDS.get(user or "", ""), cacert=str(self.folder / "ca.pem"))


def issue(folder: Path, authority: trustme.CA, name: str, *identities: str) -> None:
    made = authority.issue_cert(*identities)
    for end, blobs in (("key", [made.private_key_pem]), ("pem", made.cert_chain_pems)):
        (folder / "new").write_bytes(b"".join(blob.bytes() for blob in blobs))
        (folder / "new").replace(folder / f"{name}.{end}")


def tls(folder: Path, name: str) -> dict[str, str]:
    files = {"server_cert": f"{name}.pem", "server_key": f"{name}.key", "ca_cert": "ca.pem"}
    return {key: str(folder / file) for key, file in files.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("root", "ip", "nsenter", "unshare", "bash")
    folder = tmp_path_factory.mktemp("site")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "token").write_text(f"{TOKEN}\n")
    hashes = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode() for name, word in PASSWORDS.items()}
    (folder / "users").write_text("".join(f"{name}:{entry}\n" for name, entry in hashes.items()))
    common: dict[str, Any] = {
        "auth": {
            "people": {"type": "basic", "file": str(folder / "users"), "role": "guest"},
            "spare": {"type": "basic", "users": {"spare": "planted-unused-password"}},
        },
        "rbac": {"policy": ["g, root, admin"]},
    }
    with ExitStack() as stack:
        centre, one = hosts = [stack.enter_context(FakeHost(name)) for name in ("centre", "one")]
        addresses = stack.enter_context(Underlay(hosts)).addresses
        one.run("ip", "link", "add", "br0", "type", "bridge")
        for name in ("centre", "one"):
            issue(folder, authority, name, addresses[name])
        trusted = Access(username="root", password=PASSWORDS["root"], cacert=str(folder / "ca.pem"))
        analyzer = Process(
            centre,
            "analyzer",
            folder / "analyzer",
            {
                **common,
                "analyzer": {
                    "listen": f"{addresses['centre']}:8082",
                    "auth": {"api": {"backend": "people"}, "cluster": {"backend": "people"}},
                },
                "cluster": {"token_file": str(folder / "token")},
                "tls": tls(folder, "centre"),
            },
            address=f"{addresses['centre']}:8082",
            access=trusted,
        )
        agent = Process(
            one,
            "agent",
            folder / "agent",
            {
                **common,
                "analyzers": [f"{addresses['centre']}:8082"],
                "agent": {
                    "listen": f"{addresses['one']}:8081",
                    "auth": {"api": {"backend": "people"}},
                    "topology": {"netlink": {"metrics_update": 0}},
                },
                "cluster": {"token_file": str(folder / "token")},
                "tls": tls(folder, "one"),
            },
            address=f"{addresses['one']}:8081",
            access=trusted,
        )
        for process in (analyzer, agent):
            stack.enter_context(process).start()
        yield Site(folder, authority, centre, one, addresses, analyzer, agent)


def ask(
    site: Site, process: Process, method: str, path: str, user: str | None, body: bytes | None = None, /, **headers: str
) -> tuple[int, str, Any]:
    """Status, text and headers of an answer over TLS."""
    host, port = ("centre", 8082) if process is site.analyzer else ("one", 8081)
    request = urllib.request.Request(f"https://{site.addresses[host]}:{port}{path}", body, method=method)
    if user is not None:
        words = base64.b64encode(f"{user}:{PASSWORDS.get(user, 'x')}".encode()).decode()
        request.add_header("Authorization", f"Basic {words}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    context = ssl.create_default_context(cafile=str(site.folder / "ca.pem"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def send() -> tuple[int, str, Any]:
        try:
            with opener.open(request, timeout=20) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers

    return inside(process.host.netns_path, send)


def test_an_agent_reports_over_tls_with_the_token(site: Site) -> None:
    site.agent.until(lambda: content(site.agent.elements()) == content(site.analyzer.elements()))
    assert "br0" in site.analyzer.query("G.V().Values('Name')")
    (link,) = site.agent.status()["Analyzers"].values()
    assert link["IsConnected"]


@pytest.mark.parametrize("part", ["analyzer", "agent"])
def test_who_may_do_what(site: Site, part: str) -> None:
    process: Process = getattr(site, part)
    for path in ("/api", "/api/status", "/api/topology", "/metrics"):
        status, text, _ = ask(site, process, "GET", path, None)
        assert (path, status, text) == (path, 401, "No credentials provided\n")
        assert ask(site, process, "GET", path, "bob")[0] == 200, path
    assert ask(site, process, "GET", "/healthz", None)[0] == 200
    assert ask(site, process, "GET", "/api", None, Authorization="Basic")[:2] == (401, "Wrong credentials\n")
    if part == "analyzer":
        assert ask(site, process, "GET", "/api/config/host_id", "bob")[0] == 405
        assert ask(site, process, "GET", "/api/config/host_id", "root")[0] == 200
    assert handshake(site, process, "/ws/subscriber", None) == 401
    assert handshake(site, process, "/ws/subscriber", "bob") == 101
    paths = ["/ws/publisher", "/ws/pubsub", "/ws/subscriber/flow"] if part == "analyzer" else ["/ws/publisher"]
    for path in paths:
        assert handshake(site, process, path, None) == 401, path
        assert handshake(site, process, path, "bob") == 403, path
        assert handshake(site, process, path, "root") == 101, path
    if part == "analyzer":
        assert handshake(site, process, "/ws/cluster", None) == 401


def handshake(site: Site, process: Process, path: str, user: str | None) -> int:
    """The status that asking for a WebSocket gets."""
    host, port = ("centre", 8082) if process is site.analyzer else ("one", 8081)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "X-Client-Type": "test",
    }
    if (authorization := site.access(user).authorization) is not None:
        headers["Authorization"] = authorization
    context = ssl.create_default_context(cafile=str(site.folder / "ca.pem"))

    def send() -> int:
        with contextlib.closing(http.client.HTTPSConnection(site.addresses[host], port, context=context)) as connection:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status

    return inside(process.host.netns_path, send)


def test_a_session_from_login_to_logout(site: Site) -> None:
    form = b"username=bob&password=planted-bob-password"
    status, text, headers = ask(site, site.analyzer, "POST", "/login", None, form)
    assert status == 200
    token = json.loads(text)["Token"]
    cookies = headers.get_all("Set-Cookie")
    assert any(cookie.startswith(f"authtoken={token};") and "; Secure" in cookie for cookie in cookies)
    assert headers["Strict-Transport-Security"]
    cookie = {"Cookie": f"authtoken={token}"}
    assert ask(site, site.analyzer, "GET", "/api/status", None, None, **cookie)[0] == 200
    assert ask(site, site.agent, "GET", "/api/status", None, None, **cookie)[0] == 401, (
        "each process has its own sessions"
    )
    evil = {**cookie, "Origin": "https://evil.example"}
    assert ask(site, site.analyzer, "POST", "/api/topology", None, b"{}", **evil)[0] == 403
    assert ask(site, site.analyzer, "POST", "/logout", None, b"", **cookie)[0] == 200
    assert ask(site, site.analyzer, "GET", "/api/status", None, None, **cookie)[0] == 401


def test_the_command_line(site: Site) -> None:
    environment = {**os.environ, "SKYDIVE_USERNAME": "bob", "SKYDIVE_PASSWORD": PASSWORDS["bob"]}
    ask_it = [SKYCORE, "query", "G.V().Has('Name','br0').Values('Name')"]
    address = ["--analyzer", f"https://{site.addresses['centre']}:8082"]

    def run(*options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--net={site.centre.netns_path}", *ask_it, *address, *options]
        return subprocess.run(
            command, env={**environment, **changes}, capture_output=True, text=True, timeout=60, check=False
        )

    site.agent.until(lambda: site.analyzer.query("G.V().Has('Name','br0').Count()") == 1)
    trusting = ("--cacert", str(site.folder / "ca.pem"))
    done = run(*trusting)
    assert (json.loads(done.stdout), done.stderr) == (["br0"], "")
    assert json.loads(run("--insecure").stdout) == ["br0"]
    untrusting = run()
    assert untrusting.returncode == 1
    assert "--cacert" in untrusting.stderr
    wrong = run(*trusting, SKYDIVE_PASSWORD="no")
    assert wrong.returncode == 1
    assert "Wrong credentials" in wrong.stderr
    assert "SKYDIVE_USERNAME" in run(*trusting, SKYDIVE_USERNAME="").stderr


def test_an_agent_with_a_password_instead_of_the_token(site: Site) -> None:
    analyzers = [f"{site.addresses['centre']}:8082"]
    for name, password in (("right", PASSWORDS["link"]), ("wrong", "no")):
        process = Process(
            site.one,
            "agent",
            site.folder / name,
            {
                "host_id": name,
                "analyzers": analyzers,
                "agent": {
                    "listen": "127.0.0.1:8181",
                    "auth": {"cluster": {"username": "link", "password": password}},
                    "topology": {"probes": ["-netlink", "-netns"]},
                },
                "tls": {"ca_cert": str(site.folder / "ca.pem")},
            },
            address="127.0.0.1:8181",
            access=Access(),
        )
        with process:
            process.start()

            def link(process: Process = process) -> dict[str, Any]:
                (state,) = process.status()["Analyzers"].values()
                return dict(state)

            if name == "right":
                process.until(lambda: link()["IsConnected"])
            else:
                process.until(lambda: link()["Error"])
                assert "401" in link()["Error"]
            loaded = Path(f"/proc/{process_id(process)}/maps").read_text()
            assert not [library for library in ("_argon2", "_bcrypt") if library in loaded]


def process_id(process: Process) -> int:
    """The process itself, as this machine numbers it: the last of those that were started for it."""
    assert process._inside is not None
    pid = process._inside.outer.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


def test_certificates_are_renewed_while_agents_stay(site: Site) -> None:
    site.agent.until(lambda: next(iter(site.agent.status()["Analyzers"].values()))["IsConnected"])
    before = connected_at(site)
    serial = served(site)
    issue(site.folder, site.authority, "centre", site.addresses["centre"])
    subprocess.run(["kill", "-HUP", str(process_id(site.analyzer))], check=True)
    until(lambda: served(site) != serial)
    assert site.analyzer.running
    assert connected_at(site) == before
    issue(site.folder, site.authority, "centre", site.addresses["centre"])
    serial = served(site)
    # Without a signal, too.
    until(lambda: served(site) != serial, 30)


def connected_at(site: Site) -> list[str]:
    return [link["ConnectTime"] for link in site.analyzer.status()["Agents"].values() if link["Addr"]]


def served(site: Site) -> str:
    """The serial number of the analyzer's certificate."""

    def look() -> str:
        address = (site.addresses["centre"], 8082)
        pem = ssl.get_server_certificate(address, ca_certs=str(site.folder / "ca.pem"))
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return inside(site.centre.netns_path, look)


def test_secrets_are_nowhere(site: Site) -> None:
    ask(site, site.analyzer, "GET", "/api", None, Authorization="Bearer " + TOKEN + "x")
    ask(site, site.analyzer, "POST", "/login", None, b"username=root&password=planted-root-passwordx")
    shown = [process.log() for process in (site.analyzer, site.agent)]
    for process in (site.analyzer, site.agent):
        for path in ("/api/status", "/metrics", "/api/topology", "/api/openapi.json"):
            shown.append(ask(site, process, "GET", path, "root")[1])
    for key in ("auth", "cluster", "tls", "analyzer", "agent", "rbac", "http"):
        status, text, _ = ask(site, site.analyzer, "GET", f"/api/config/{key}", "root")
        assert status == 200
        shown.append(text)
    everything = "\n".join(shown)
    assert "people" in everything
    for secret in SECRETS:
        encoded = base64.b64encode(f"root:{secret}".encode()).decode()
        assert secret not in everything
        assert encoded not in everything
    for process in (site.analyzer, site.agent):
        command = Path(f"/proc/{process_id(process)}/cmdline").read_bytes().decode()
        assert not any(secret in command for secret in SECRETS)


def test_what_was_done_is_in_the_log(site: Site) -> None:
    ask(site, site.analyzer, "GET", "/api/config/host_id", "bob")
    lines = [json.loads(line) for line in site.analyzer.log().splitlines() if line.startswith("{")]
    refused = [line for line in lines if line["event"] == "access" and line["user"] == "bob"]
    assert {"client": site.addresses["centre"], "object": "config", "action": "read", "status": 405}.items() <= refused[
        -1
    ].items()


LISTENING = [
    ("agent", {}, ["agent.listen", "agent.auth.api.backend"]),
    ("analyzer", {}, ["analyzer.auth.api.backend", "cluster.token_file"]),
    ("analyzer", {"cluster": {"token_file": "TOKEN"}}, ["analyzer.auth.api.backend"]),
    ("analyzer", {"analyzer": {"auth": {"api": {"backend": "basic"}}}}, ["cluster.token_file"]),
]


@pytest.mark.parametrize(("role", "settings", "words"), LISTENING)
def test_an_open_door_is_refused(
    site: Site, tmp_path: Path, role: str, settings: dict[str, Any], words: list[str]
) -> None:
    whole: dict[str, Any] = {"auth": {"basic": {"users": {"a": "b"}}}, **json.loads(json.dumps(settings))}
    if "cluster" in whole:
        whole["cluster"]["token_file"] = str(site.folder / "token")
    whole.setdefault(role, {})["listen"] = f"{site.addresses['one']}:8999"
    process = Process(site.one, role, tmp_path / role, whole, address="127.0.0.1:8999")
    assert process.spawn().wait() == 1
    assert all(word in process.log() for word in words), process.log()
    assert "--insecure-listen" in process.log()


def test_an_all_in_one_with_users_reports_to_itself(site: Site, tmp_path: Path) -> None:
    whole = {
        "host_id": "self",
        "auth": {"basic": {"file": str(site.folder / "users")}},
        "agent": {
            "listen": "127.0.0.1:8281",
            "auth": {"api": {"backend": "basic"}},
            "topology": {"probes": ["-netlink", "-netns"]},
        },
        "analyzer": {
            "listen": "127.0.0.1:8282",
            "auth": {"api": {"backend": "basic"}, "cluster": {"backend": "basic"}},
        },
    }
    access = attrs.evolve(site.access("root"), cacert="")
    process = Process(site.one, "allinone", tmp_path / "self", whole, address="127.0.0.1:8282", access=access)
    with process:
        process.start()
        process.until(lambda: list(process.status()["Agents"]) == ["self"])


def test_a_missing_backend_stops_the_start(site: Site, tmp_path: Path) -> None:
    whole = {
        "auth": {"keystone": {"type": "keystone", "auth_url": "http://127.0.0.1:1"}},
        "analyzer": {"auth": {"api": {"backend": "keystone"}}},
    }
    process = Process(site.one, "analyzer", tmp_path / "analyzer", whole, address="127.0.0.1:8999")
    assert process.spawn().wait() == 2
    assert "auth.keystone" in process.log()
    assert "skycore.auth" in process.log()


def test_the_client_says_what_is_missing(site: Site) -> None:
    def status(access: Access) -> str:
        process = Process(
            site.centre,
            "analyzer",
            site.folder / "unused",
            {},
            address=f"{site.addresses['centre']}:8082",
            access=access,
        )
        with pytest.raises(ClientError) as wrong:
            process.status()
        return f"{type(wrong.value).__name__} {wrong.value}"

    assert "RequestRefused 401 Unauthorized: No credentials provided; give a user" in status(site.access(None))
    assert "use https://" in status(Access())
    assert "--cacert" in status(attrs.evolve(site.access("root"), cacert=str(site.folder / "one.pem")))
    assert issubclass(RequestRefused, ClientError)
