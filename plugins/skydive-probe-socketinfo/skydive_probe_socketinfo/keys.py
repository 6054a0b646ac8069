"""Every key that this plugin writes, with its meaning or unit and its source: entries and nodes are made from it.

``python -m skydive_probe_socketinfo.keys`` prints the tables for README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import attrs

from skydive_probe_socketinfo.codec import STATES, Socket
from skydive_probe_socketinfo.connections import Conversation
from skydive_probe_socketinfo.processes import Process

From = TypeVar("From")


@attrs.frozen
class Key(Generic[From]):
    """One key; ``value`` takes it from what the entry, node or edge is about."""

    name: str
    meaning: str
    source: str
    value: Callable[[From], Any]


def said(keys: tuple[Key[From], ...], about: From) -> dict[str, Any]:
    """The keys with their values."""
    return {key.name: key.value(about) for key in keys}


@attrs.frozen
class Listed:
    """A socket with the process that holds it."""

    socket: Socket
    process: Process


@attrs.frozen
class Places:
    """What is written on the node of a host or namespace."""

    sockets: list[dict[str, Any]]
    omitted: int


@attrs.frozen
class Shown:
    """A process, and when it started in ms since the epoch."""

    process: Process
    started: int


_ANY: Final = "`0.0.0.0` or `::`, and 0, when the socket is not connected"
_STATES: Final = " ".join(dict.fromkeys(name for number, name in STATES.items() if number not in {6, 12}))

NODE: Final[tuple[Key[Places], ...]] = (
    Key("Sockets", "list of the sockets of that namespace", "sock_diag, `/proc`", lambda node: node.sockets),
    Key("SocketsOmitted", "how many more there are than a list may hold", "sock_diag", lambda node: node.omitted),
)
"""Of the host's node, and of each namespace's; absent when there are none."""

SOCKET: Final[tuple[Key[Listed], ...]] = (
    Key("Process", "path of the program", "`/proc/PID/exe`", lambda entry: entry.process.path),
    Key("Pid", "process ID; of several that hold the socket, one", "`/proc/PID/fd`", lambda entry: entry.process.pid),
    Key("Name", "name of the process", "`/proc/PID/stat`", lambda entry: entry.process.name),
    Key(
        "LocalAddress",
        "an IPv4 address that an IPv6 socket uses is written as IPv4",
        "inet_diag_sockid.idiag_src",
        lambda entry: entry.socket.local_address,
    ),
    Key("LocalPort", "number", "inet_diag_sockid.idiag_sport", lambda entry: entry.socket.local_port),
    Key("RemoteAddress", _ANY, "inet_diag_sockid.idiag_dst", lambda entry: entry.socket.remote_address),
    Key("RemotePort", "number", "inet_diag_sockid.idiag_dport", lambda entry: entry.socket.remote_port),
    Key("Protocol", "`TCP`, `UDP`", "inet_diag_req_v2.sdiag_protocol", lambda entry: entry.socket.protocol),
    Key(
        "State",
        f"`{_STATES}`; a UDP socket is `ESTABLISHED` when it is connected, else `CLOSE`",
        "inet_diag_msg.idiag_state",
        lambda entry: entry.socket.state,
    ),
)
"""Of one entry of ``Sockets``."""

PROCESS: Final[tuple[Key[Shown], ...]] = (
    Key("Name", "name of the process", "`/proc/PID/stat`", lambda shown: shown.process.name),
    Key("Type", "`process`", "-", lambda _: "process"),
    Key("PID", "process ID", "`/proc`", lambda shown: shown.process.pid),
    Key("StartTime", "ms since the epoch", "`/proc/PID/stat`, `/proc/stat`", lambda shown: shown.started),
    Key("Executable", "path of the program, absent when unknown", "`/proc/PID/exe`", lambda shown: shown.process.path),
)
"""Of the node of a process."""

CONNECTION: Final[tuple[Key[Conversation], ...]] = (
    Key("Ports", "list of the ports of the server's ends", "inet_diag_sockid", lambda talk: sorted(talk.ports)),
    Key("Protocols", "list of `TCP`, `UDP`", "inet_diag_req_v2", lambda talk: sorted(talk.protocols)),
)
"""Of the edge from a client to its server."""


def _rows(where: str, keys: tuple[Key[Any], ...]) -> list[str]:
    return [f"| {where} | `{key.name}` | {key.meaning} | {key.source} |" for key in keys]


def markdown() -> str:
    """The table for README.md."""
    rows = ["| On | Key | Meaning or unit | Source |", "|---|---|---|---|"]
    rows += _rows("host, namespace", NODE)
    rows += _rows("entry of `Sockets`", SOCKET)
    rows += _rows("process", PROCESS)
    rows += _rows("edge `connection`", CONNECTION)
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
