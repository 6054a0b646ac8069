"""Every panel for who cannot see it well, in light and dark; and for who may not do all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from tests.web.containers import ADDRESS

if TYPE_CHECKING:
    from skycore.testing.browser import Chromium, Watched
    from tests.web.containers import Containers

AXE = Path(__file__).parents[3] / "tools" / "web" / "node_modules" / "axe-core" / "axe.min.js"
PANELS = ("Flows", "Captures", "Injection", "Rules", "Gremlin", "Status")
EVERY_SECTION = "document.querySelectorAll('details.section').forEach((one) => { one.open = true; })"


def serious(page: Page) -> list[Any]:
    """What axe-core finds serious or critical."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_serious(browser: Chromium, containers: Containers, theme: str) -> None:
    if not AXE.exists():
        pytest.fail(f"{AXE} is missing; ./task sets it up")
    web = containers.node("G.V().Has('Type', 'container', 'Name', 'web').In().Out('Name', 'eth0')")["ID"]
    with browser.page(ADDRESS, color_scheme=theme) as here:
        page = here.page
        page.goto(f"/?select={web}")
        expect(page.locator("aside.side")).to_be_visible()
        page.evaluate(EVERY_SECTION)
        expect(page.locator("figure.chart").first).to_be_visible()
        assert serious(page) == []
        here.shot(f"panels-details-{theme}")
        for panel in PANELS:
            page.get_by_role("navigation").get_by_role("button", name=panel).click()
            for new in page.get_by_role("button", name="New ").all():
                new.click()
            page.wait_for_timeout(500)
            assert (panel, serious(page)) == (panel, [])
            here.shot(f"panels-{panel.lower()}-{theme}")
        page.get_by_role("navigation").get_by_role("button", name="Flows").click()
        for view in ("Top talkers", "Matrix", "Map"):
            page.get_by_role("tab", name=view).click()
            page.wait_for_timeout(300)
            assert (view, serious(page)) == (view, [])


def test_what_one_may_not_do_is_not_offered(here: Watched, containers: Containers) -> None:
    page = here.page
    session = containers.ask("GET", "/api/session")
    for permission in session["Permissions"]:
        allowed = permission["Action"] == "read" and permission["Object"] in ("topology", "status", "capture")
        permission["Allowed"] = allowed or permission["Object"] == "websocket"

    page.route("**/api/session", lambda route: route.fulfill(json=session))
    page.goto("/?panel=captures")
    navigation = page.get_by_role("navigation")
    expect(page.get_by_role("region", name="Captures", exact=True).first).to_be_visible()
    for gone in ("Injection", "Rules"):
        expect(navigation.get_by_role("button", name=gone)).to_have_count(0)
    expect(page.get_by_role("button", name="New capture")).to_have_count(0)
    page.get_by_role("region", name="Captures", exact=True).locator("tbody tr").first.click()
    expect(page.get_by_role("button", name="Delete the capture")).to_have_count(0)
