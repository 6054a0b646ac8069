"""One injector process: a request on its stdin, lines of JSON about what it sent on its stdout.

Injectors are programs of their own (entry-point group ``skycore.injector``): their licences may be others than ours,
and because what they do with other people's bytes must not happen in a process that may do everything.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final, Literal, final

import msgspec
import trio

from skycore.errors import InjectionError

_LONGEST_LINE: Final = 1 << 20
_END_TIME: Final = 5.0
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL")


@final
class Sent(msgspec.Struct, frozen=True):
    """What a line says: how many packets were sent so far, a frame that begins a flow, the end, or what went wrong."""

    event: Literal["sent", "frame", "end", "error"]
    count: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    frame: str = ""
    reason: str = ""

    def bytes_of_frame(self) -> bytes:
        """Raises InjectionError."""
        try:
            return base64.b64decode(self.frame, validate=True)
        except binascii.Error as error:
            raise InjectionError(f"the injector gave a frame that is not base64: {error}") from error


_sent = msgspec.json.Decoder(Sent).decode


async def run(module: str, request: Mapping[str, Any]) -> AsyncIterator[Sent]:
    """Have an injector do its work; its lines, as they come.  Raises InjectionError when it cannot, or says so.

    Whoever stops listening ends it.  (Consume with ``contextlib.aclosing``.)
    """
    line = msgspec.json.encode(request) + b"\n"
    async with _process(module) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(trio.BrokenResourceError):
            await process.stdin.send_all(line)
        ended = False
        async for one in _lines(process.stdout):
            ended = one.event == "end"
            yield one
            if one.event == "error":
                raise InjectionError(one.reason or "the injector gave no reason")
            if ended:
                break
        if not ended:
            raise InjectionError(f"the injector {module} ended without saying what it did; run it by hand to see why")


@asynccontextmanager
async def _process(module: str) -> AsyncIterator[trio.Process]:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # -I: neither the current folder nor the environment decides about what is imported.
    command = [sys.executable, "-I", "-m", module]
    try:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise InjectionError(f"the injector {module} cannot be started: {error}") from error
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _END_TIME):
            assert process.stdin is not None
            await process.stdin.aclose()
            process.terminate()
            await process.wait()
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        assert process.stdout is not None
        with trio.CancelScope(shield=True):
            await process.stdout.aclose()


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[Sent]:
    buffer = bytearray()
    async for piece in stream:
        buffer += piece
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            try:
                yield _sent(line)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise InjectionError(f"the injector said what cannot be read: {error}") from error
        if len(buffer) > _LONGEST_LINE:
            raise InjectionError(f"the injector said more than {_LONGEST_LINE} bytes in one line")
