"""The Web UI's files: pages, styles and scripts of `skycore/web`, as browsers ask for them.

The page itself is asked for anew each time (by its ETag) and names everything else under `/ui/<build>/`, where
``build`` is a digest of all files: what is there never changes, so browsers keep it, and a page never mixes files of
two versions.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from skycore.errors import Refusal
from skycore.server.compression import chosen_encoding
from skycore.server.endpoint import TEXT, Answer, Endpoint

PAGES: Final = ("/", "/ui", "/topology")
_FOLDER: Final = Path(__file__).resolve().parents[1] / "web"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served, by the end of its name; what else lies in the folder (licences, types for the checker) is not."""
_BUILD: Final = b"@BUILD@"
_MODULES: Final = b"@MODULES@"
_HTML: Final = "text/html"
# https://www.w3.org/TR/CSP3/ and https://www.w3.org/TR/trusted-types/: nothing inline, nothing from elsewhere, and no
# text that becomes markup or a script.  Workers are the one place where a script's URL is made by a script.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types skycore-worker",
    )
)
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-cache",
}
# A worker takes the policy of its own script's answer.
_FILE_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Cache-Control": "public, max-age=31536000, immutable"}


@final
@attrs.frozen
class Asset:
    """One file as it is served, plain and compressed."""

    media_type: str
    plain: bytes
    packed: bytes
    tag: str


@final
@attrs.frozen
class Site:
    """The page and the files of one build."""

    build: str
    page: Asset
    files: Mapping[str, Asset]

    @property
    def packed_size(self) -> int:
        """Bytes of everything when compressed."""
        return sum(len(asset.packed) for asset in (self.page, *self.files.values()))


def assemble(folder: Path) -> Site:
    """Read, digest and compress what is in a folder."""
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }
    whole = hashlib.sha256()
    for name, content in contents.items():
        whole.update(f"{name}\0{len(content)}\0".encode() + content)
    build = whole.hexdigest()[:16]
    # A module is found when the one that imports it has come; named in the page, all of them come at once.
    modules = "\n    ".join(
        f'<link rel="modulepreload" href="/ui/{build}/{name}" />' for name in contents if name.endswith(".js")
    )
    page = contents.pop("index.html").replace(_MODULES, modules.encode()).replace(_BUILD, build.encode())
    files = {name: _asset(name, content) for name, content in contents.items()}
    return Site(build, _asset("index.html", page), files)


def _asset(name: str, content: bytes) -> Asset:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(_TYPES[Path(name).suffix], content, gzip.compress(content, 9, mtime=0), tag)


@cache
def site() -> Site:
    """The Web UI that comes with this version; made when it is first asked for."""
    return assemble(_FOLDER)


async def _site() -> Site:
    return await trio.to_thread.run_sync(site)


def endpoints() -> Iterable[Endpoint]:
    """The page, under its names, and the files that it names."""
    for path in PAGES:
        yield Endpoint(
            method="GET",
            path=path,
            handler=_show_page,
            summary="The Web UI",
            public=True,
            answers=(Answer(200, "the page", media_types=(_HTML,)), Answer(304, "the page has not changed")),
        )
    yield Endpoint(
        method="GET",
        path="/ui/{build}/{file:path}",
        handler=_show_file,
        summary="A file of the Web UI",
        public=True,
        parameters={"build": "a digest of all files, which the page names", "file": "the file's path"},
        answers=(
            Answer(200, "the file", media_types=("text/javascript", "text/css", "image/svg+xml")),
            Answer(304, "the file has not changed"),
            Answer(404, "there is no such file in this build", media_types=(TEXT,)),
        ),
    )


async def _show_page(request: Request) -> Response:
    return _answer(request, (await _site()).page, _PAGE_HEADERS)


async def _show_file(request: Request) -> Response:
    now = await _site()
    asset = now.files.get(request.path_params["file"])
    if asset is None or request.path_params["build"] != now.build:
        raise Refusal(404, "404 page not found")
    return _answer(request, asset, _FILE_HEADERS)


def _answer(request: Request, asset: Asset, headers: Mapping[str, str]) -> Response:
    given = {**headers, "ETag": asset.tag}
    if _matches(request.headers.get("if-none-match", ""), asset.tag):
        return Response(status_code=304, headers=given)
    body = asset.plain
    if len(asset.packed) < len(body) and chosen_encoding(request.headers.getlist("accept-encoding")) == "gzip":
        body = asset.packed
        given["Content-Encoding"] = "gzip"
    return Response(body, headers={**given, "Content-Type": asset.media_type})


def _matches(asked: str, tag: str) -> bool:
    """RFC 9110, section 13.1.2: weak comparison with any in the list."""
    return asked.strip() == "*" or any(one.strip().removeprefix("W/") == tag for one in asked.split(","))
