"""The gatekeeper: who is let in by what, for how long, with which role; and what is noted of it."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
import trio
import trio.testing

from skycore.errors import Refusal
from skycore.server.access import Identity
from skycore.server.auth.guard import Guard, OpenGate
from skycore.server.auth.origin import Origins
from tests.server.auth.conftest import CLIENT, Directory, basic, caller, post

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BOB = {"Authorization": basic("bob", "bob's")}


async def refusal_of(attempt: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await attempt
    return refused.value


async def log_in(guard: Guard, name: str = "bob", **options: Any) -> tuple[str, list[str]]:
    answer = await guard.login(post("/login", f"username={name}&password={name}%27s".encode(), FORM, **options))
    cookies = [value.decode() for header, value in answer.raw_headers if header == b"set-cookie"]
    return json.loads(bytes(answer.body))["Token"], cookies


async def test_without_and_with_wrong_credentials(guard: Guard) -> None:
    for headers, text in (
        ({}, "No credentials provided"),
        ({"Authorization": "Basic"}, "Wrong credentials"),
        ({"Authorization": basic("bob", "root's")}, "Wrong credentials"),
        ({"Authorization": basic("nobody", "")}, "Wrong credentials"),
        ({"Authorization": "Bearer sky.x"}, "Wrong credentials"),
    ):
        refused = await refusal_of(guard.identify(caller(headers)))
        assert (refused.status, refused.text) == (401, text)


async def test_the_default_role_is_there_without_a_login(guard: Guard) -> None:
    ann = await guard.identify(caller({"Authorization": basic("ann", "ann's")}))
    assert ann == Identity("ann", ("guest",))
    assert guard.allows(ann, "status", "read")
    assert not guard.allows(ann, "node", "write")
    root = await guard.identify(caller({"Authorization": basic("root", "root's")}))
    assert guard.allows(root, "node", "write")


async def test_a_login_gives_a_token_cookies_and_permissions(guard: Guard) -> None:
    answer = await guard.login(post("/login", b"username=bob&password=bob%27s", FORM))
    body = json.loads(bytes(answer.body))
    assert answer.headers["cache-control"] == "no-store"
    assert {"Object": "node", "Action": "write", "Allowed": False} in body["Permissions"]
    assert {"Object": "status", "Action": "read", "Allowed": True} in body["Permissions"]
    token, cookies = await log_in(guard)
    assert cookies[0] == f"authtoken={token}; Path=/; Max-Age=3600; SameSite=Strict; HttpOnly"
    name, value = cookies[1].split(";")[0].split("=", 1)
    assert (name, json.loads(b64decode(value))) == ("permissions", body["Permissions"])
    assert "HttpOnly" not in cookies[1]
    _, encrypted = await log_in(guard, scheme="https")
    assert all("; Secure" in cookie for cookie in encrypted)
    for headers, query in (
        ({"Cookie": f"authtoken={token}"}, ""),
        ({"Authorization": f"Bearer {token}"}, ""),
        ({"Authorization": f"Basic {token}"}, ""),
        ({"Authorization": token}, ""),
        ({"X-Auth-Token": token}, ""),
        ({}, f"x-auth-token={token}"),
    ):
        assert (await guard.identify(caller(headers, query=query))).name == "bob"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"username=bob&password=wrong", FORM, 401),
        (b"username=&password=x", FORM, 401),
        (b"", FORM, 401),
        (b"", {}, 401),
        (b"password=%ff%fe", FORM, 401),
        (b"a=1&" * 40, FORM, 400),
        (b"username=b\xf8b", FORM, 400),
        (b'{"username":"bob"}', {"Content-Type": "application/json"}, 400),
        (b"x" * 20_000, FORM, 413),
        (b"--x\r\n\r\n", {"Content-Type": "multipart/form-data"}, 401),
        (b"\xff" * 100, {"Content-Type": 'multipart/form-data; boundary="x"'}, 401),
        (
            b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff\r\n--x--\r\n',
            {"Content-Type": "multipart/form-data; boundary=x"},
            400,
        ),
    ],
)
async def test_forms_that_log_nobody_in(guard: Guard, body: bytes, headers: dict[str, str], status: int) -> None:
    assert (await refusal_of(guard.login(post("/login", body, headers)))).status == status


async def test_a_form_in_parts(guard: Guard) -> None:
    part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = (part.format("username", "bob") + part.format("password", "bob's") + "--b--\r\n").encode()
    answer = await guard.login(post("/login", body, {"Content-Type": "multipart/form-data; boundary=b"}))
    assert json.loads(bytes(answer.body))["Token"]


async def test_a_session_ends_by_time_logout_and_loss_of_the_user(
    guard: Guard, directory: Directory, autojump_clock: trio.testing.MockClock
) -> None:
    token, _ = await log_in(guard)
    cookie = {"Cookie": f"authtoken={token}"}
    answer = await guard.logout(post("/logout", b"", cookie))
    assert answer.status_code == 200
    assert any(value.startswith(b"authtoken=; Path=/; Max-Age=0") for _, value in answer.raw_headers)
    refused = await refusal_of(guard.identify(caller(cookie)))
    assert (refused.status, refused.text) == (401, "Wrong credentials")
    assert "Max-Age=0" in dict(refused.headers)["Set-Cookie"]

    token, _ = await log_in(guard)
    await trio.sleep(3599)
    assert (await guard.identify(caller({"X-Auth-Token": token}))).name == "bob"
    await trio.sleep(1)
    assert (await refusal_of(guard.identify(caller({"X-Auth-Token": token})))).status == 401

    token, _ = await log_in(guard)
    directory.users["bob"] = "new"
    assert (await refusal_of(guard.identify(caller({"X-Auth-Token": token})))).status == 401
    directory.users["bob"] = "bob's"
    assert (await refusal_of(guard.identify(caller({"X-Auth-Token": token})))).status == 401, "it has ended for good"


async def test_right_passwords_are_checked_once_and_not_kept(guard: Guard, directory: Directory) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(guard.identify, caller(BOB))
    assert directory.asked == 1
    kept = repr([vars(part) for part in (guard, guard._verified)])
    assert "bob's" not in kept
    directory.users["bob"] = "new"
    assert (await refusal_of(guard.identify(caller(BOB)))).status == 401
    assert directory.asked == 2


async def test_guesses_are_slowed_down_and_the_right_are_not(
    guard: Guard, directory: Directory, noted: list[dict[str, Any]]
) -> None:
    await guard.identify(caller(BOB))
    statuses = []
    for index in range(12):
        guess = caller({"Authorization": basic("root", f"guess {index}")})
        statuses.append((await refusal_of(guard.identify(guess))).status)
    assert statuses == [401] * 5 + [429] * 7
    assert directory.asked == 1 + 5
    assert [(line["event"], line["user"]) for line in noted] == [("too many wrong credentials", "root")]
    refused = await refusal_of(guard.login(post("/login", b"username=root&password=root%27s", FORM)))
    assert refused.status == 429
    assert 1 <= int(dict(refused.headers)["Retry-After"]) <= 60
    assert (await guard.identify(caller(BOB))).name == "bob", "what is known to be right needs no guess"
    other = caller({"Authorization": basic("root", "root's")}, client=("198.51.100.7", 1))
    assert (await guard.identify(other)).name == "root"


async def test_ended_sessions_do_not_count_as_guesses(guard: Guard) -> None:
    for _ in range(50):
        refused = await refusal_of(guard.identify(caller({"Cookie": "authtoken=sky.gone"})))
        assert refused.status == 401


async def test_a_backend_that_is_away_is_no_wrong_password(guard: Guard, directory: Directory) -> None:
    directory.down = True
    for _ in range(20):
        assert (await refusal_of(guard.identify(caller(BOB)))).status == 503
    directory.down = False
    assert (await guard.identify(caller(BOB))).name == "bob"


async def test_tokens_of_the_backend(guard: Guard, directory: Directory) -> None:
    directory.tokens["gAAAA"] = "root"
    assert (await guard.identify(caller({"X-Auth-Token": "gAAAA"}))).name == "root"
    for _ in range(5):
        assert (await refusal_of(guard.identify(caller({"X-Auth-Token": "gBBBB"})))).status == 401
    assert (await refusal_of(guard.identify(caller({"X-Auth-Token": "gAAAA"})))).status == 429


OURS = {"Host": "sky.example:8082"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://sky.example:8082"}, True),
        ({"Origin": "http://SKY.example:8082"}, True),
        ({"Origin": "https://ui.example"}, True),
        ({"Origin": "https://ui.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://behind.a.proxy"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://sky.example:9999"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://sky.example:8082"}, False),
    ],
)
async def test_another_sites_page_cannot_use_a_cookie(guard: Guard, headers: dict[str, str], allowed: bool) -> None:
    token, _ = await log_in(guard)
    cookie = {**OURS, **headers, "Cookie": f"authtoken={token}"}
    for attempt in (
        lambda: guard.identify(caller(cookie, method="POST")),
        lambda: guard.admit(caller(cookie)),
        lambda: guard.login(post("/login", b"username=bob&password=bob%27s", {**FORM, **OURS, **headers})),
    ):
        if allowed:
            await attempt()
        else:
            assert (await refusal_of(attempt())).status == 403
    await guard.identify(caller(cookie))
    await guard.identify(caller({**OURS, **headers, "X-Auth-Token": token}, method="POST"))
    if not allowed:
        assert (await refusal_of(guard.logout(post("/logout", b"", cookie)))).status == 403


async def test_an_open_port_on_loopback_is_not_there_for_every_page() -> None:
    gate = OpenGate(role="admin", policy=None, origins=Origins(names={"box"}))
    for host in ("127.0.0.1:8082", "localhost:8082", "[::1]:8082", "box:8082", "BOX", ""):
        assert (await gate.identify(caller({"Host": host}))).name == "admin"
    for host in ("rebound.example:8082", "127.0.0.1.evil.example", "[", "a" * 5000):
        assert (await refusal_of(gate.identify(caller({"Host": host})))).status == 403
    page = {"Host": "127.0.0.1:8082", "Origin": "http://evil.example"}
    assert (await refusal_of(gate.identify(caller(page, method="POST")))).status == 403
    assert (await refusal_of(gate.admit(caller(page)))).status == 403
    answer = await gate.login(post("/login", b"", {"Host": "127.0.0.1"}))
    assert json.loads(bytes(answer.body)) == {"Token": "", "Permissions": []}
    assert "set-cookie" not in answer.headers


async def test_one_line_for_each_login_refusal_and_guess(guard: Guard, noted: list[dict[str, Any]]) -> None:
    await log_in(guard)
    await refusal_of(guard.login(post("/login", b"username=root&password=planted-secret", FORM)))
    asked = caller({"Authorization": basic("ro\not\x1b[2J", "planted-secret")}, method="POST", path="/api/node\n")
    guard.audit(None, asked, "node", "write", 401)
    guard.audit(Identity("bob"), caller(method="POST", path="/api/node"), "node", "write", 201)
    guard.audit(None, asked, "node", "write", 429)
    lines = [(line["event"], line["level"], line["user"], line.get("status")) for line in noted]
    assert lines == [
        ("login", "info", "bob", None),
        ("login failed", "warning", "root", None),
        ("access", "warning", "ro\ufffdot\ufffd[2J", 401),
        ("access", "info", "bob", 201),
    ]
    assert all(line["client"] == CLIENT[0] for line in noted)
    assert "planted" not in str(noted)
    assert "\n" not in noted[2]["path"]
