"""One world of containers for the tests of panels, and a page that looks at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skycore.testing.browser import Chromium, Watched
from skycore.testing.pytest_plugin import require
from tests.web.containers import ADDRESS, CONTAINERS, Containers


@pytest.fixture(scope="package")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The all-in-one of `tests/web/containers.py`, when its containers are known, captured and talk."""
    require("root", "ip", "nsenter", "unshare", "bash", "busybox", "runc", "python3")
    with Containers(tmp_path_factory.mktemp("containers")) as made:
        process, names = made.process, set(CONTAINERS)
        process.until(lambda: names <= set(process.query("G.V().Has('Type', 'container').Values('Name')") or ()), 30)
        made.capture("G.V().Has('Type', 'veth')", Name="all veths", RawPacketLimit=5)
        process.until(lambda: process.query("G.Flows().Has('From.Container', 'web', 'To.Container', 'db').Count()"), 30)
        process.until(lambda: process.query("G.At(NOW, 60).Flows().Has('To.Container', 'db').Count()"), 30)
        process.until(lambda: process.query("G.V().Has('Name', 'br0').HasKey('LastUpdateMetric').Count()"), 30)
        yield made


@pytest.fixture(scope="package")
def browser(containers: Containers, chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Debian's Chromium inside the containers' host."""
    with chromium.elsewhere(tmp_path_factory.mktemp("elsewhere"), containers.host.netns_path) as found:
        yield found


@pytest.fixture
def here(browser: Chromium, containers: Containers) -> Iterator[Watched]:
    """The page with the live picture."""
    with browser.page(ADDRESS) as found:
        found.page.goto("/")
        found.page.get_by_text("Live", exact=True).first.wait_for()
        yield found
