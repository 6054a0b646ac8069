"""The Web UI's files as they are served: caching, compression, the policy that the browser holds them to."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from starlette.applications import Starlette

from skycore.errors import Refusal
from skycore.server import web
from skycore.server.access import OPEN
from skycore.server.endpoint import refused, routes

if TYPE_CHECKING:
    from tests.server.conftest import Serve

WEB = Path(web.__file__).resolve().parents[1] / "web"
LARGEST = 400_000
"""Bytes that all of it may have when compressed."""


@attrs.frozen
class Page:
    """An answer."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


class Site:
    """Asks for files of the Web UI, each over a connection of its own."""

    def __init__(self, serve: Serve) -> None:
        async def explain(_request: Any, error: Exception) -> Any:
            assert isinstance(error, Refusal)
            return refused(error)

        app = Starlette(routes=routes(web.endpoints(), OPEN), exception_handlers={Refusal: explain})
        self._server = serve(app)

    async def get(self, path: str, **headers: str) -> Page:
        client = self._server.memory()
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await client.send("\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *lines, "", "")).encode())
        return Page(*await client.response())


@pytest.fixture
def ui(serve: Serve) -> Site:
    return Site(serve)


async def test_the_page_names_files_that_are_there_and_nothing_inline(ui: Site) -> None:
    page = await ui.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) > 4
    for path in named:
        assert path.startswith(f"/ui/{web.site().build}/")
        assert (await ui.get(path)).status == 200, path
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|style=", page.text)


def test_every_import_leads_to_a_file_that_is_served() -> None:
    for name, asset in web.site().files.items():
        if not name.endswith(".js"):
            continue
        text = re.sub(r"/\*.*?\*/", "", asset.plain.decode(), flags=re.DOTALL)
        for target in re.findall(r"""(?:^|[;}\s])(?:import|export)\b[^'"();]*?from\s*["']([^"']+)["']""", text):
            assert target.startswith("."), (name, target)
            found = (WEB / name).parent.joinpath(target).resolve().relative_to(WEB).as_posix()
            assert found in web.site().files, (name, target)


async def test_the_policy_lets_nothing_in_from_elsewhere(ui: Site) -> None:
    for path in ("/", f"/ui/{web.site().build}/app.js"):
        policy = (await ui.get(path)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "frame-ancestors 'none'" in policy
        for weak in ("unsafe-inline", "unsafe-eval", "*", "http:", "https:"):
            assert weak not in policy


async def test_the_page_is_asked_for_again_and_files_are_kept_for_ever(ui: Site) -> None:
    page = await ui.get("/")
    assert page.headers["cache-control"] == "no-cache"
    assert (await ui.get("/", If_None_Match=f'"x", W/{page.headers["etag"]}')).status == 304
    assert (await ui.get("/", If_None_Match='"x"')).status == 200
    path = f"/ui/{web.site().build}/app.js"
    file = await ui.get(path)
    assert "immutable" in file.headers["cache-control"]
    again = await ui.get(path, If_None_Match=file.headers["etag"])
    assert (again.status, again.content) == (304, b"")


async def test_what_is_not_of_this_build_is_not_there(ui: Site) -> None:
    build = web.site().build
    paths = ("/ui/0123456789abcdef/app.js", f"/ui/{build}/../web.py", f"/ui/{build}/index.html", f"/ui/{build}/vendor/")
    for path in paths:
        assert (await ui.get(path)).status == 404, path


def test_another_version_has_other_addresses(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<script src="/ui/@BUILD@/a.js"></script>')
    (tmp_path / "a.js").write_text("1;")
    first = web.assemble(tmp_path)
    assert first.page.plain == f'<script src="/ui/{first.build}/a.js"></script>'.encode()
    (tmp_path / "a.js").write_text("2;")
    assert web.assemble(tmp_path).build != first.build


async def test_compressed_as_the_client_likes(ui: Site) -> None:
    path = f"/ui/{web.site().build}/vendor/uplot.js"
    packed = await ui.get(path, Accept_Encoding="gzip")
    plain = await ui.get(path, Accept_Encoding="identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.content) == plain.content == web.site().files["vendor/uplot.js"].plain


def test_all_of_it_is_small() -> None:
    assert web.site().packed_size < LARGEST, web.site().packed_size
