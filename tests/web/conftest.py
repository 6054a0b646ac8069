"""One world and one browser for all tests of the Web UI; each test has a page with its own storage.

Both end with this folder's tests: Playwright's event loop runs in this thread as long as the browser lives, and other
tests have loops of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from skycore.testing.browser import Chromium, Watched
from skycore.testing.pytest_plugin import require
from tests.web.world import ADDRESS, NAMESPACES, World

# A loaded machine is slow, and nothing waits longer than it must.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The all-in-one of `tests/web/world.py`, when its namespaces are known and have had traffic."""
    require("root", "ip", "nsenter", "unshare", "bash", "busybox")
    with World(tmp_path_factory.mktemp("world")) as made:
        names = set(NAMESPACES)
        made.process.until(lambda: names <= set(made.process.query("G.V().Has('Type', 'netns').Values('Name')") or ()))
        made.process.until(lambda: made.process.query("G.V().Has('Name', 'veth-db').HasKey('LastUpdateMetric')"))
        yield made


@pytest.fixture(scope="package")
def chromium(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Debian's Chromium inside the world's host."""
    require("chromium")
    with Chromium(tmp_path_factory.mktemp("chromium"), world.host.netns_path) as browser:
        yield browser


@pytest.fixture
def watched(chromium: Chromium) -> Iterator[Watched]:
    """The page with the live picture."""
    with chromium.page(ADDRESS) as found:
        found.page.goto("/")
        found.page.get_by_text("Live", exact=True).first.wait_for()
        yield found
