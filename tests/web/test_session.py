"""Coming and going: logins, permissions, lost connections, restarted servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from skycore.client import Access
from skycore.testing.browser import Chromium
from skycore.testing.lab import FakeHost
from tests.system.processes import Process
from tests.web.picture import Picture
from tests.web.world import ADDRESS

if TYPE_CHECKING:
    from pathlib import Path

    from skycore.testing.browser import Watched
    from tests.web.world import World


def test_a_restarted_server_is_found_again_without_reload(watched: Watched, world: World) -> None:
    page, picture = watched.page, Picture(watched.page)
    picture.card("eth0", "web")
    page.evaluate("window.stayed = true")
    world.process.kill9()
    expect(page.get_by_role("alert")).to_contain_text("Connection lost")
    assert picture.all("eth0", "web")
    watched.shot("connection-lost")
    world.process.start()
    expect(page.get_by_text("Connection lost")).to_have_count(0, timeout=30_000)
    new = world.add_namespace()
    try:
        picture.until(lambda: picture.all(new), 30)
    finally:
        world.delete_namespace(new)
    picture.until(lambda: picture.all("eth0", "web") and not picture.all(new), 30)
    assert page.evaluate("window.stayed")
    watched.forgive("ERR_CONNECTION", "WebSocket", "503", "ERR_EMPTY_RESPONSE", "ERR_SOCKET")


def test_a_frozen_server_is_noticed(watched: Watched, world: World) -> None:
    page = watched.page
    Picture(page).card("rack1")
    inside = world.process._inside
    assert inside is not None
    inside.freeze()
    try:
        expect(page.get_by_text("Connection lost").first).to_be_visible(timeout=20_000)
    finally:
        inside.thaw()
    expect(page.get_by_text("Connection lost")).to_have_count(0, timeout=30_000)
    watched.forgive("ERR_", "WebSocket")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Process]:
    """An analyzer that asks for passwords, and whose sessions are short."""
    with FakeHost("guarded") as host:
        users = {"admin": "right", "guest": "right"}
        configuration = {
            "host_id": "guarded",
            "auth": {"people": {"type": "basic", "users": users}},
            "analyzer": {"listen": "127.0.0.1:8082", "auth": {"api": {"backend": "people"}}},
            "http": {"session_time": 5},
        }
        access = Access(username="admin", password="right")
        process = Process(host, "analyzer", tmp_path / "guarded", configuration, address=ADDRESS, access=access)
        with process:
            yield process.start()


@pytest.fixture
def stranger(chromium: Chromium, guarded: Process, tmp_path: Path) -> Iterator[Watched]:
    # Playwright's loop of this thread is taken, so this one shares it.
    with chromium.elsewhere(tmp_path, guarded.host.netns_path) as other, other.page(ADDRESS) as found:
        found.page.goto("/")
        yield found


def log_in(watched: Watched, user: str, password: str) -> None:
    watched.page.get_by_label("User").fill(user)
    watched.page.get_by_label("Password").fill(password)
    watched.page.get_by_role("button", name="Log in").click()


def test_login_expiry_and_logout(stranger: Watched) -> None:
    page = stranger.page
    stranger.shot("login")
    log_in(stranger, "admin", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("Wrong credentials")
    log_in(stranger, "admin", "right")
    expect(page.get_by_role("banner").get_by_text("Live")).to_be_visible()
    assert not [cookie for cookie in page.context.cookies() if cookie["name"] == "authtoken" and not cookie["httpOnly"]]
    assert "authtoken" not in page.evaluate("document.cookie")
    # After five seconds the session ends; the picture stays behind the login, and goes on after it.
    expect(page.get_by_text("Your session has ended")).to_be_visible(timeout=20_000)
    stranger.shot("login-expired")
    assert page.locator("canvas[role=application]").count() == 1
    log_in(stranger, "admin", "right")
    expect(page.get_by_text("Your session has ended")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    stranger.forgive("401", "WebSocket")


def test_what_may_not_be_done_is_not_shown(stranger: Watched) -> None:
    page = stranger.page
    log_in(stranger, "guest", "right")
    expect(page.get_by_role("banner").get_by_text("Live")).to_be_visible()
    assert page.get_by_role("navigation").get_by_role("button", name="Captures").count() == 0
    assert page.get_by_role("navigation").get_by_role("button", name="Topology").count() == 1
    stranger.forgive("401", "405", "WebSocket")
