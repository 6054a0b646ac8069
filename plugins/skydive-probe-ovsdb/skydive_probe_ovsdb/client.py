"""A client of an OVSDB server: one database, watched.

Sources: RFC 7047; ovsdb-server(7), 4.1.12 to 4.1.15 (``monitor_cond``, ``monitor_cond_since``, ``update2``,
``update3``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import msgspec
import trio

from skydive_probe_ovsdb.address import Address, connect
from skydive_probe_ovsdb.errors import BadAnswer, SourceLost
from skydive_probe_ovsdb.framing import Splitter
from skydive_probe_ovsdb.schema import Column, read_schema

DATABASE: Final = "Open_vSwitch"
LARGEST_MESSAGE: Final = 256 << 20
ANSWER_SECONDS = 10.0
IDLE_SECONDS = 5.0
"""After so long a silence the server is asked whether it is there."""
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
_MONITOR: Final = "skycore"
_CHUNK: Final = 1 << 17


class _Message(msgspec.Struct):
    id: Any = None
    method: str | None = None
    params: Any = None
    result: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


@attrs.frozen
class Update:
    """Rows that changed: table → UUID → what the server says of the row.

    ``method`` is the name of the notification whose form ``rows`` has: ``update`` or ``update2``.
    ``complete`` says that these are all rows; ``last`` names the transaction after which that was so, "" if unknown.
    """

    method: str
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]]
    complete: bool
    last: str = ""


class OvsdbClient:
    """One connection; every method raises SourceLost when the server cannot be reached, hangs or talks nonsense."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._splitter = Splitter(LARGEST_MESSAGE)
        self._received: list[bytes] = []
        self._count = 0
        self._early: list[_Message] = []

    async def schema(self) -> dict[str, dict[str, Column]]:
        """table → column → type, as this server's version has them."""
        return read_schema(await self._call("get_schema", [DATABASE]))

    async def monitor(self, columns: Mapping[str, Iterable[str]], last: str = "") -> AsyncIterator[Update]:
        """What is in these columns (table → columns), then each change, until the connection is lost.

        ``last`` names the transaction up to which the caller knows all; servers that remember it send what is new.
        """
        wanted = {table: {"columns": list(names)} for table, names in columns.items()}
        conditional = {table: [request] for table, request in wanted.items()}
        try:
            answer = await self._call("monitor_cond_since", [DATABASE, _MONITOR, conditional, last or _FIRST_ID])
            if not (isinstance(answer, list) and len(answer) == 3):
                raise BadAnswer("monitor_cond_since is answered by no list of three")
            yield Update("update2", _rows(answer[2]), not answer[0], str(answer[1]))
        except _Refused:
            try:
                answer = await self._call("monitor_cond", [DATABASE, _MONITOR, conditional])
                yield Update("update2", _rows(answer), complete=True)
            except _Refused:
                yield Update("update", _rows(await self._call("monitor", [DATABASE, _MONITOR, wanted])), complete=True)
        while True:
            message = await self._next()
            if message.method in ("update", "update2", "update3"):
                params = message.params
                if not isinstance(params, list) or len(params) != (3 if message.method == "update3" else 2):
                    raise BadAnswer(f"{message.method} without its parameters")
                method = "update" if message.method == "update" else "update2"
                transaction = str(params[1]) if message.method == "update3" else ""
                yield Update(method, _rows(params[-1]), complete=False, last=transaction)

    async def _call(self, method: str, params: list[Any]) -> Any:
        self._count += 1
        await self._send({"method": method, "params": params, "id": self._count})
        try:
            with trio.fail_after(ANSWER_SECONDS):
                while True:
                    message = await self._read()
                    if message.method is not None:
                        # A change may come between our question and its answer; it is told after the answer.
                        await self._handle(message, self._early)
                    elif message.id == self._count:
                        break
        except trio.TooSlowError as error:
            raise SourceLost(f"no answer to {method} within {ANSWER_SECONDS:g} s") from error
        if message.error is not None:
            raise _Refused(f"{method} was refused: {_short(message.error)}")
        return message.result

    async def _next(self) -> _Message:
        """The next notification; asks the silent server whether it is there."""
        while not self._early:
            with trio.move_on_after(IDLE_SECONDS) as idle:
                await self._handle(await self._read(), self._early)
            if idle.cancelled_caught:
                await self._call("echo", [])
        return self._early.pop(0)

    async def _handle(self, message: _Message, notifications: list[_Message]) -> None:
        if message.method == "echo":
            await self._send({"result": message.params, "error": None, "id": message.id})
        elif message.method is not None:
            notifications.append(message)

    async def _read(self) -> _Message:
        while not self._received:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except trio.BrokenResourceError as error:
                raise SourceLost(f"the connection broke: {error.__cause__ or error}") from error
            if not data:
                raise SourceLost("the server closed the connection")
            self._received += self._splitter.feed(bytes(data))
        raw = self._received.pop(0)
        try:
            return _decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadAnswer(f"a message that cannot be read ({error}): {raw[:60]!r}") from error

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                await self._stream.send_all(_encode(message))
        except trio.TooSlowError as error:
            raise SourceLost(f"the server takes nothing for {ANSWER_SECONDS:g} s") from error
        except (trio.BrokenResourceError, OSError) as error:
            raise SourceLost(f"the connection broke: {error.__cause__ or error}") from error


class _Refused(SourceLost):
    """The server answered with an error."""


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[OvsdbClient]:
    """A client of the server at this address, for as long as the block lasts."""
    stream = await connect(address)
    try:
        yield OvsdbClient(stream)
    finally:
        await trio.aclose_forcefully(stream)


def _rows(raw: Any) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    if not isinstance(raw, dict) or not all(
        isinstance(rows, dict) and all(isinstance(row, dict) for row in rows.values()) for rows in raw.values()
    ):
        raise BadAnswer(f"updates that are none: {_short(raw)}")
    return raw


def _short(value: Any) -> str:
    return str(value)[:120]
