"""The part of the Docker Engine API that the probe needs, over a unix socket or TCP.

Source: Docker Engine API reference (``/version``, ``/containers/json``, ``/containers/{id}/json``,
``/images/{id}/json``, ``/events``, ``/_ping``); podman's service answers the same requests.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx2
import trio

from skydive_probe_docker.answer import (
    Answer,
    BadAnswer,
    as_object,
    as_text,
    entries,
    identifier,
    is_image_id,
    section,
    text,
)
from skydive_probe_docker.mapping import Container, read_container

NEWEST: Final = (1, 47)
OLDEST: Final = (1, 24)
ANSWER_SECONDS = 10.0
"""A daemon that takes longer to answer is lost."""

_ANSWER_BYTES: Final = 64 << 20
_EVENT_BYTES: Final = 16 << 20
_IMAGES: Final = 1024
_TYPES: Final = ("container", "network")
# Actions that change nothing that ``inspect`` tells; those on the right come with every health check or command.  Which
# others there are depends on who answers, so all others count.
_QUIET: Final = frozenset({
    "attach", "detach", "commit", "copy", "export", "kill", "logs", "resize", "top", "mount", "unmount", "sync",
    "archive-path", "extract-to-dir", "checkpoint", "exec", "exec_create", "exec_start", "exec_die", "exec_died",
    "exec_detach",
})  # fmt: skip


class SourceLost(Exception):
    """The daemon cannot be reached, or does not answer in time."""


@attrs.frozen
class Server:
    """What the daemon says of itself: its version, the API version that both sides speak, and its clock.

    ``engine`` is docker or podman; ``now`` is in seconds since the epoch (None when it does not tell).
    """

    engine: str
    version: str
    api: str
    now: int | None


def parse_url(url: str) -> tuple[str, str | None]:
    """Split the setting ``url`` into (base URL, path of the unix socket or None); ValueError when it is neither."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return "http://docker", parts.path
    if parts.scheme in ("tcp", "http") and parts.hostname and parts.path in ("", "/"):
        return f"http://{parts.netloc}", None
    raise ValueError(
        f"url is {url!r}; it must be unix:///path/of/docker.sock, tcp://address:port or http://address:port"
    )


class DockerClient:
    """Asks one daemon; an async context manager.  Everything raises SourceLost or BadAnswer."""

    def __init__(self, url: str) -> None:
        base, socket = parse_url(url)
        self._http = httpx2.AsyncClient(
            base_url=base,
            transport=httpx2.AsyncHTTPTransport(uds=socket, trust_env=False),
            # Answers are bounded here as a whole, not read by read.
            timeout=None,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )
        self._prefix = ""
        self._engine = "docker"
        self._digests: dict[str, tuple[str, ...]] = {}

    async def __aenter__(self) -> DockerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.move_on_after(1.0, shield=True):
            await self._http.aclose()

    async def negotiate(self) -> Server:
        """Agree on the API version: the daemon's, but none newer than this client knows."""
        answer, headers = await self._get("/version")
        if not isinstance(answer, dict):
            raise BadAnswer("/version answered no object")
        offered = _version(answer.get("ApiVersion"))
        if offered < OLDEST:
            raise BadAnswer(
                f"the daemon's API is {offered[0]}.{offered[1]}; this probe needs {OLDEST[0]}.{OLDEST[1]} (Docker 1.12)"
            )
        api = "{}.{}".format(*min(offered, NEWEST))
        self._prefix = f"/v{api}"
        parts = [text(as_object(part, "Components"), "Name") for part in entries(answer, "Components")]
        self._engine = "podman" if any(part.startswith("Podman") for part in parts) else "docker"
        return Server(self._engine, text(answer, "Version"), api, _seconds(headers.get("date", "")))

    async def containers(self, *, stopped: bool = False) -> list[str]:
        """IDs of the containers that run now, or of all."""
        answer, _ = await self._get(f"{self._prefix}/containers/json{'?all=1' if stopped else ''}")
        if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
            raise BadAnswer("/containers/json answered no list of objects")
        return [identifier(entry.get("Id"), "Id") for entry in answer]

    async def inspect(self, id: str) -> Container | None:
        """A container as it is now; None when it does not exist."""
        answer, _ = await self._get(f"{self._prefix}/containers/{id}/json", missing=True)
        if answer is None:
            return None
        image = text(as_object(answer, "the answer"), "Image")
        return read_container(answer, self._engine, await self._digests_of(image))

    async def _digests_of(self, image: str) -> tuple[str, ...]:
        """Where an image was pulled from; asked once for each image and connection."""
        if image not in self._digests:
            answer: Any = None
            if is_image_id(image):
                answer, _ = await self._get(f"{self._prefix}/images/{image}/json", missing=True)
            found = entries(as_object(answer, "the image"), "RepoDigests")
            if len(self._digests) >= _IMAGES:
                self._digests.clear()
            self._digests[image] = tuple(as_text(digest, "RepoDigests") for digest in found)
        return self._digests[image]

    async def ping(self) -> None:
        """Return when the daemon answers."""
        await self._request("/_ping", missing=False)

    @asynccontextmanager
    async def events(self, since: int | None) -> AsyncIterator[AsyncIterator[str]]:
        """Subscribe to events; gives the ID of the container that each is about.

        With ``since`` (seconds since the epoch, the daemon's clock) it begins with the events from then on, as far
        as the daemon remembers them (256).  The daemon subscribes a moment after it has sent the headers: what
        happens in between comes only with ``since``.  Ends when the daemon closes the stream.
        """
        filters = json.dumps({"type": list(_TYPES)})
        parameters: dict[str, Any] = {"filters": filters}
        if since is not None:
            parameters["since"] = str(since)
        request = self._http.build_request("GET", f"{self._prefix}/events", params=parameters)
        try:
            with trio.fail_after(ANSWER_SECONDS):
                response = await self._http.send(request, stream=True)
        except trio.TooSlowError as error:
            raise SourceLost(f"/events: no answer within {ANSWER_SECONDS:g} s") from error
        except httpx2.HTTPError as error:
            raise SourceLost(f"/events: {_reason(error)}") from error
        try:
            if response.status_code != 200:
                raise BadAnswer(f"/events answered with status {response.status_code}")
            yield self._event_ids(response)
        finally:
            with trio.move_on_after(1.0, shield=True):
                await response.aclose()

    async def _event_ids(self, response: httpx2.Response) -> AsyncIterator[str]:
        rest = bytearray()
        try:
            async for piece in response.aiter_bytes():
                *lines, last = piece.split(b"\n")
                for line in lines:
                    rest += line
                    if rest.strip() and (id := read_event(bytes(rest))) is not None:
                        yield id
                    rest.clear()
                rest += last
                if len(rest) > _EVENT_BYTES:
                    raise BadAnswer(f"/events sent a line of more than {_EVENT_BYTES} bytes")
        except httpx2.HTTPError as error:
            raise SourceLost(f"/events: {_reason(error)}") from error

    async def _get(self, path: str, *, missing: bool = False) -> tuple[Any, httpx2.Headers]:
        body, headers = await self._request(path, missing=missing)
        return (None if body is None else decode(body, path)), headers

    async def _request(self, path: str, *, missing: bool) -> tuple[bytes | None, httpx2.Headers]:
        """GET; the body is None for status 404 when ``missing`` says that this is an answer too."""
        try:
            with trio.fail_after(ANSWER_SECONDS):
                async with self._http.stream("GET", path) as response:
                    body = bytearray()
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) > _ANSWER_BYTES:
                            raise BadAnswer(f"{path} answered with more than {_ANSWER_BYTES} bytes")
        except trio.TooSlowError as error:
            raise SourceLost(f"{path}: no answer within {ANSWER_SECONDS:g} s") from error
        except httpx2.HTTPError as error:
            raise SourceLost(f"{path}: {_reason(error)}") from error
        if missing and response.status_code == 404:
            return None, response.headers
        if response.status_code != 200:
            said = bytes(body[:200]).decode("utf-8", "replace")
            raise BadAnswer(f"{path} answered with status {response.status_code}: {said!r}")
        return bytes(body), response.headers


def decode(body: bytes, path: str) -> Any:
    """Decode an answer; BadAnswer when it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"{path} answered no JSON: {error}") from error


def read_event(line: bytes) -> str | None:
    """The ID of the container of which an event says that it may have changed; None for other events."""
    event: Answer = as_object(decode(line, "/events"), "an event")
    # Health checks and commands are told as "exec_create: sh -c …", "health_status: healthy".
    action = text(event, "Action").partition(":")[0]
    if event.get("Type") == "network":
        id = section(event, "Actor", "Attributes").get("container")
        # Networks come and go without containers, too.
        return identifier(id, "container of an event") if id else None
    return None if action in _QUIET else identifier(section(event, "Actor").get("ID"), "Actor.ID of an event")


def _version(value: Any) -> tuple[int, int]:
    numbers = value.split(".") if isinstance(value, str) else []
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
        raise BadAnswer(f"/version has no ApiVersion like 1.41 but {str(value)[:40]!r}")
    return int(numbers[0]), int(numbers[1])


def _seconds(date: str) -> int | None:
    """The header ``Date`` in seconds since the epoch."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None


def _reason(error: httpx2.HTTPError) -> str:
    return str(error) or type(error).__name__
