"""What plugins add to the Web UI: which modules there are, and their files.

Files are read when the plugins are known, at start, and stand under a digest of their contents, as the page's do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

import attrs
from starlette.requests import Request
from starlette.responses import Response

from skycore.errors import Refusal
from skycore.plugin.web import WebPanels
from skycore.server.api.body import json_answer
from skycore.server.endpoint import JSON, TEXT, Answer, Endpoint

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_MOST_BYTES: Final = 5 << 20
# A picture that is opened by itself is a page of ours: it may run nothing.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "public, max-age=31536000, immutable",
}
_SCHEMA: Final = {
    "type": "array",
    "items": {"type": "object", "properties": {"Plugin": {"type": "string"}, "Module": {"type": "string"}}},
}


@final
@attrs.frozen
class PluginFiles:
    """The files of one plugin, by their paths in its folder; ``build`` is a digest of them."""

    build: str
    module: str
    files: Mapping[str, bytes]


def read_files(panels: WebPanels) -> PluginFiles:
    """Read a plugin's folder.  Raises OSError, and ValueError for what cannot be served."""
    folder = panels.folder.resolve(strict=True)
    files: dict[str, bytes] = {}
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # A link that leads out of the folder would serve files that nobody meant.
        if path.suffix not in _TYPES or not path.is_file() or not path.resolve().is_relative_to(folder):
            continue
        name, content = path.relative_to(folder).as_posix(), path.read_bytes()
        files[name] = content
        whole.update(f"{name}\0{len(content)}\0".encode() + content)
    if panels.module not in files:
        raise ValueError(f"{panels.folder} has no module {panels.module!r}")
    if (size := sum(map(len, files.values()))) > _MOST_BYTES:
        raise ValueError(f"{panels.folder} holds {size} bytes for the Web UI; at most {_MOST_BYTES} are served")
    return PluginFiles(whole.hexdigest()[:16], panels.module, files)


@final
class PluginPanels:
    """What plugins add; empty until ``use``."""

    def __init__(self) -> None:
        self._found: dict[str, PluginFiles] = {}

    def use(self, found: Mapping[str, WebPanels]) -> dict[str, str]:
        """Serve these, by plugin; why those of some plugins are left out."""
        self._found, faults = {}, {}
        for name, panels in found.items():
            try:
                self._found[name] = read_files(panels)
            except (OSError, ValueError) as error:
                faults[name] = str(error)
        return faults

    def modules(self) -> Sequence[Mapping[str, str]]:
        """The module of each plugin, as the browser is told of it."""
        return [
            {"Plugin": name, "Module": f"/ui/plugin/{name}/{files.build}/{files.module}"}
            for name, files in sorted(self._found.items())
        ]

    def file(self, plugin: str, build: str, name: str) -> bytes:
        """Raises Refusal when there is no such file in this build."""
        files = self._found.get(plugin)
        if files is None or files.build != build or name not in files.files:
            raise Refusal(404, "404 page not found")
        return files.files[name]


def endpoints(panels: PluginPanels) -> Iterable[Endpoint]:
    """The list of modules, for who may see the graph, and the files that it names, which are public as the page is."""

    async def show_modules(_request: Request) -> Response:
        return json_answer(panels.modules())

    async def show_file(request: Request) -> Response:
        given = request.path_params
        content = panels.file(given["plugin"], given["build"], given["file"])
        media_type = _TYPES[Path(given["file"]).suffix]
        return Response(content, headers={**_HEADERS, "Content-Type": media_type})

    yield Endpoint(
        method="GET",
        path="/api/webpanels",
        handler=show_modules,
        summary="Modules that plugins add to the Web UI",
        object="topology",
        action="read",
        answers=(Answer(200, "each plugin and its module", _SCHEMA, (JSON,)), Answer(405, "no permission")),
    )
    yield Endpoint(
        method="GET",
        path="/ui/plugin/{plugin}/{build}/{file:path}",
        handler=show_file,
        summary="A file that a plugin adds to the Web UI",
        public=True,
        parameters={"plugin": "its name", "build": "a digest of its files", "file": "the file's path"},
        answers=(
            Answer(200, "the file", media_types=("text/javascript", "text/css", "image/svg+xml", "image/png")),
            Answer(404, "there is no such file in this build", media_types=(TEXT,)),
        ),
    )
