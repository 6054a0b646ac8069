"""The one tree of errors.

    SkycoreError
     ├─ ConfigurationError          wrong YAML or environment; carries every problem found
     ├─ GremlinError                a query that cannot be answered; carries its position
     │   ├─ GremlinSyntaxError
     │   └─ GremlinExecutionError
     ├─ PluginError                 a plugin that is absent, cannot be imported, or broke its contract
     │   ├─ PluginNotInstalled
     │   ├─ PluginImportFailed
     │   ├─ PluginSettingsInvalid
     │   └─ HandleClosed            a call through the handle of a plugin that was stopped
     ├─ ClaimError                  a probe said something that cannot be an element
     ├─ StorageError
     │   ├─ HistoryUnavailable      no store, or one without history
     │   ├─ PeriodTooLarge          a question about the past whose answer would be too large
     │   └─ StoreInUse              another process has the store
     ├─ ClientError                 a request to an analyzer or agent that got no usable answer
     │   └─ RequestRefused          the answer was an error; carries the HTTP status and the server's text
     ├─ LinkError                   the agent-analyzer link met something outside its protocol
     ├─ Refusal                     a request that the server does not serve; carries HTTP status and text
     │   ├─ InvalidResource         an API object that cannot be made or changed so
     │   ├─ ResourceNotFound
     │   ├─ DuplicatedResource
     │   └─ NotModified             a patch that changes nothing
     ├─ WebSocketClosed             the WebSocket is closed; carries code and reason
     ├─ ListenRefused               an address that would be open to others without protection
     └─ AuthUnavailable             an authentication backend cannot tell at present who is who

Every message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class SkycoreError(Exception):
    """Base of every error that Skycore raises on purpose."""


@attrs.frozen
class Problem:
    """One thing that is wrong in the configuration.

    ``file`` is a path, ``<stdin>`` or ``environment``; ``line`` and ``column`` count from 1 (0: unknown);
    ``key`` is the dotted key path (for the environment: the variable's name).
    """

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigurationError(SkycoreError):
    """The configuration is wrong; ``problems`` lists everything that is, in order of file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class GremlinError(SkycoreError):
    """A query that cannot be answered.

    ``message`` keeps the wording that Skydive's clients know; ``offset`` is the place in ``query``
    (in characters from 0; None when the error belongs to no place).  ``str()`` adds line, column,
    the line of the query and a caret.
    """

    def __init__(self, message: str, query: str = "", offset: int | None = None) -> None:
        self.message = message
        self.query = query
        self.offset = offset
        super().__init__(message)

    def __str__(self) -> str:
        if self.offset is None or not self.query:
            return self.message
        offset = min(self.offset, len(self.query))
        start = self.query.rfind("\n", 0, offset) + 1
        end = self.query.find("\n", offset)
        text = self.query[start : len(self.query) if end < 0 else end]
        line = self.query.count("\n", 0, offset) + 1
        column = offset - start + 1
        caret = "".join("\t" if char == "\t" else " " for char in text[: column - 1]) + "^"
        return f"{self.message}\nline {line}, column {column}\n{text}\n{caret}"


class GremlinSyntaxError(GremlinError):
    """The text is not a query of our language."""


class GremlinExecutionError(GremlinError):
    """The query is well formed but cannot be carried out."""


class PluginError(SkycoreError):
    """A plugin that is absent, cannot be imported, or broke its contract."""


class PluginNotInstalled(PluginError):
    """The configuration names a plugin that no installed package offers."""


class PluginImportFailed(PluginError):
    """The plugin's module raised while it was imported."""


class PluginSettingsInvalid(PluginError):
    """The plugin's section of the configuration does not fit its ``Settings``."""


class HandleClosed(PluginError):
    """A call through the handle of a plugin that was stopped; nothing was changed."""


class ClaimError(SkycoreError):
    """A probe said something that cannot be an element (wrong key, metadata that is no JSON object, …)."""


class StorageError(SkycoreError):
    """The store could not be read or written."""


class HistoryUnavailable(StorageError):
    """The graph in the past was asked for, and no store with history is configured."""


class PeriodTooLarge(StorageError):
    """The answer about a time of the past would be larger than was asked for."""


class StoreInUse(StorageError):
    """Another process has the store."""


class CaptureError(SkycoreError):
    """A capture cannot be made, and why."""


class RecordingError(SkycoreError):
    """A recording of packets cannot be read, or not to its end, and why."""


class InjectionError(SkycoreError):
    """Packets cannot be sent, or no more of them; the message says why."""


class ClientError(SkycoreError):
    """A request to an analyzer or agent that got no usable answer."""


class RequestRefused(ClientError):
    """The server answered with an error; ``text`` is what it said, ``status`` the HTTP status, ``reason`` its name.

    ``attempt`` says what was tried.  The message has Skydive's wording:
    ``Failed to get node, 404 Not Found: Node 'x' not found``, and without an attempt what follows the comma.
    """

    def __init__(self, status: int, text: str, reason: str = "", attempt: str = "") -> None:
        self.status = status
        self.text = text
        before = f"{attempt}, " if attempt else ""
        super().__init__(f"{before}{f'{status} {reason}'.rstrip()}: {text}")


class LinkError(SkycoreError):
    """The link between agent and analyzer met something outside its protocol."""


class Refusal(SkycoreError):
    """A request that the server does not serve, answered with ``status`` and ``text`` (text/plain).

    ``headers`` are added to the answer, e.g. ``(("WWW-Authenticate", "Basic"),)``.
    """

    def __init__(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.status = status
        self.text = text
        self.headers = tuple(headers)
        super().__init__(f"{status} {text}")


class InvalidResource(Refusal):
    """What a user sent cannot be an API object, or cannot change one; ``text`` has Skydive's wording."""

    def __init__(self, text: str) -> None:
        super().__init__(400, text)


class ResourceNotFound(Refusal):
    """There is no such API object; an empty ``text`` is answered by an empty body."""

    def __init__(self, text: str = "") -> None:
        super().__init__(404, text)


class DuplicatedResource(Refusal):
    """The same API object is there already."""

    def __init__(self, text: str = "duplicated resource") -> None:
        super().__init__(409, text)


class NotModified(Refusal):
    """A patch that leaves the object as it is."""

    def __init__(self) -> None:
        super().__init__(304, "")


class WebSocketClosed(SkycoreError):
    """The WebSocket is closed; nothing can be sent or received any more.

    ``code`` is a close code of RFC 6455, section 7.4.1, among them 1005 (closed without a code) and 1006 (the
    connection broke, or was given up by us, without a closing handshake).
    """

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"WebSocket closed with code {code}: {reason}" if reason else f"WebSocket closed with {code}")


class ListenRefused(SkycoreError):
    """Listening there would be open to others without protection."""


class AuthUnavailable(SkycoreError):
    """An authentication backend cannot tell at present whether credentials are right."""
