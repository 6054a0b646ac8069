"""The pictures of the walk in docs/webui-panels.md: which container talks to which, over which interfaces, when?

Run from the repository's root, as root: ``python -m tools.web.walk``.  It takes as many minutes as it looks back.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

from skycore.testing.browser import Chromium
from tests.web.containers import ADDRESS, Containers
from tests.web.picture import Picture

IMAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
_SIZE: Final = {"width": 1280, "height": 800}
_ENDED: Final = "batch"
"""The container whose conversation with ``cache`` has ended when the walk is done."""


def walk(page: Page, minutes: int, capture: Callable[[], None], shot: Callable[[str], None]) -> None:
    """Find the answer as a new user would, by what the page shows; ``capture`` passes the time that is looked back."""
    page.goto("/")
    page.get_by_role("button", name="Show everything").click()
    Picture(page).still()
    shot("walk-1-topology")

    navigation = page.get_by_role("navigation")
    navigation.get_by_role("button", name="Captures").click()
    page.get_by_role("button", name="New capture").click()
    form = page.get_by_role("form", name="New capture")
    form.get_by_role("combobox", name="Capture where").fill("G.V().Has('Type', 'veth')")
    form.get_by_label("Name", exact=True).fill("all veths")
    expect(form.get_by_role("status")).to_contain_text("10 nodes")
    shot("walk-2-capture")
    form.get_by_role("button", name="Start the capture").click()
    expect(page.get_by_text("active on 10")).to_be_visible()
    capture()

    navigation.get_by_role("button", name="Flows").click()
    page.get_by_role("tab", name="Map").click()
    page.get_by_label("Groups are").select_option("container")
    page.get_by_role("button", name=re.compile("^web: ")).wait_for()
    page.get_by_role("button", name="Whole window").click()
    page.wait_for_timeout(300)
    shot("walk-3-map")
    page.get_by_role("button", name="Beside the picture").click()

    page.get_by_role("tab", name="Flows").click()
    page.get_by_label("A row is").select_option("who with whom")
    page.get_by_label("Find in Flows").fill("web db")
    row = page.get_by_role("region", name="Flows", exact=True).locator("tbody tr").filter(has_text="web/eth0").first
    row.hover()
    page.wait_for_timeout(1500)
    shot("walk-4-interfaces")

    page.get_by_label("Find in Flows").fill("")
    moment = page.get_by_label("Go to a time")
    moment.fill(f"-{minutes}m")
    moment.press("Enter")
    expect(page.get_by_text("Flows that were there")).to_be_visible()
    rows = page.get_by_role("region", name="Flows", exact=True).locator("tbody tr")
    ended = rows.filter(has_text=_ENDED).filter(has_text="cache").first
    ended.hover()
    page.wait_for_timeout(1500)
    shot("walk-5-then")


def main() -> None:
    """Make a world, walk, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10, help="how far it looks back")
    parser.add_argument("--into", type=Path, default=IMAGES)
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Containers(Path(folder)) as world:
        world.process.until(lambda: world.process.query("G.V().Has('Type', 'container').Count()") == 5, 30)
        with Chromium(Path(folder), world.host.netns_path) as browser, browser.page(ADDRESS, viewport=_SIZE) as watched:

            def pass_time() -> None:
                until = time.monotonic() + options.minutes * 60 + 20
                talk = world.ask_over_http(_ENDED, "http://10.30.0.3:6379/")
                time.sleep(60)
                talk.kill()
                time.sleep(max(0.0, until - time.monotonic()))

            def shot(name: str) -> None:
                watched.page.screenshot(path=options.into / f"{name}.jpg", type="jpeg", quality=72)

            walk(watched.page, options.minutes, pass_time, shot)


if __name__ == "__main__":
    main()
