"""The program: a request on stdin, lines of JSON about what was sent on stdout.

It ends when all was sent, or when stdin is closed: whoever asked has gone.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from typing import Any, Final

from skydive_inject_scapy import frames, replay, sender
from skydive_inject_scapy.request import Request, WrongRequest, read

_TELL_EACH: Final = 0.5
_FLOWS_TOLD: Final = 64
"""First frames of so many flows are shown; a random injection has as many flows as packets."""
_LONGEST_REQUEST: Final = 64 << 20


def main() -> int:
    """Returns 0 when all was sent, 1 when something was wrong; then the last line says what."""
    sent = 0
    try:
        request = read(sys.stdin.buffer.readline(_LONGEST_REQUEST))
        with sender.open_socket(request.namespace, request.interface) as sending:
            sender.drop_privileges()
            threading.Thread(target=_end_with_stdin, daemon=True).start()
            for sent in _sent(request, sending):  # noqa: B007
                pass
    except WrongRequest as error:
        return _fail(sent, str(error))
    except OSError as error:
        return _fail(sent, error.strerror or str(error))
    _tell(event="end", count=sent)
    return 0


def _sent(request: Request, sending: Any) -> Any:
    """Send it all; gives how many packets were sent, after each."""
    gap = max(request.interval_ms / 1000, 1 / request.rate)
    due = now = time.monotonic()
    told, shown = 0.0, 0
    made = replay.recorded(request) if request.pcap else frames.made(request)
    for number, (frame, anew) in enumerate(made, 1):
        if due > now:
            time.sleep(due - now)
        try:
            sender.send(sending, request.interface, frame, ethernet=request.ethernet)
        except OSError as error:
            raise OSError(error.errno, f"{request.interface}: {error.strerror} ({len(frame)} bytes)") from error
        if anew and shown < _FLOWS_TOLD:
            shown += 1
            _tell(event="frame", frame=base64.b64encode(frame).decode())
        yield number
        now = time.monotonic()
        due = max(due + gap, now - 0.1)
        if now - told >= _TELL_EACH:
            _tell(event="sent", count=number)
            told = now


def _fail(sent: int, reason: str) -> int:
    _tell(event="error", count=sent, reason=reason)
    return 1


def _tell(**line: Any) -> None:
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    os.read(0, 1)
    os._exit(2)


if __name__ == "__main__":
    sys.exit(main())
