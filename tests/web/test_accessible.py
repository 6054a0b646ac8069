"""axe-core finds nothing serious on any view, in both themes (https://www.w3.org/TR/WCAG22/, levels A and AA)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.picture import Picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from skycore.testing.browser import Chromium
    from tests.web.world import World

AXE = Path(__file__).resolve().parents[2] / "tools" / "web" / "node_modules" / "axe-core" / "axe.min.js"


def serious(page: Page) -> list[Any]:
    """What axe-core finds that is serious or critical: rule, why, where."""
    found: list[Any] = page.evaluate(
        """async () => (await axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }))
            .violations.filter((one) => ['serious', 'critical'].includes(one.impact))
            .map((one) => [one.id, one.nodes.slice(0, 4).map((node) => node.html + ' ' + node.failureSummary)])"""
    )
    return found


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_view_has_serious_faults(chromium: Chromium, world: World, theme: str) -> None:
    # The page's own policy would refuse a script that is put into it.
    with chromium.page("http://127.0.0.1:8082", bypass_csp=True, color_scheme=theme) as watched:
        page = watched.page
        page.goto("/")
        picture = Picture(page)
        picture.card("rack1")
        page.add_script_tag(path=AXE)
        faults = {"live": serious(page)}
        picture.click("eth0", "web")
        faults["details"] = serious(page)
        page.get_by_role("combobox", name="Search").fill("veth")
        faults["search"] = serious(page)
        page.get_by_role("option", name="Highlight").click()
        faults["highlight"] = serious(page)
        page.get_by_role("button", name="Links and bandwidth").click()
        faults["links"] = serious(page)
        page.get_by_role("button", name="Links and bandwidth").click()
        page.keyboard.press("v")
        faults["table"] = serious(page)
        page.keyboard.press("Escape")
        page.get_by_role("textbox", name="Go to a time").fill("-20s")
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        faults["past"] = serious(page)
        page.locator("canvas[role=application]").focus()
        page.keyboard.press("l")
        page.keyboard.press("?")
        faults["help"] = serious(page)
        watched.shot(f"accessible-{theme}")
        assert {view: found for view, found in faults.items() if found} == {}
