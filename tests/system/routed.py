"""Two networks with a router between them, in one host that Skycore watches: real namespaces, bridges and packets."""

from __future__ import annotations

import sys
from typing import Final

from skycore.testing.lab import FakeHost, Inside

ADDRESS: Final = "127.0.0.1:8082"
QUICK: Final = {"update": 1, "expire": 60}
CONFIGURATION: Final = {
    "flow": QUICK,
    "agent": {"topology": {"probes": ["socketinfo"], "netlink": {"metrics_update": 2}}},
}

_SERVER: Final = """
import socket
listening = socket.create_server(("", 8080))
while True:
    connection, _ = listening.accept()
    while piece := connection.recv(4096):
        connection.sendall(piece)
    connection.close()
"""
_CLIENT: Final = """
import socket, time
connection = socket.create_connection(("10.77.2.2", 8080))
while True:
    connection.sendall(b"x" * 100)
    connection.recv(4096)
    time.sleep(0.2)
"""
_REFUSED: Final = """
import socket
for _ in range(3):
    try:
        socket.create_connection(("10.77.2.2", 81), 1)
    except OSError:
        pass
"""


def furnish(host: FakeHost) -> None:
    """``left`` (10.77.1.2) and ``right`` (10.77.2.2) on bridges of their own, ``router`` on both, ``alone`` on none."""
    host.run("ip", "link", "set", "lo", "up")
    for name in ("left", "right", "router", "alone"):
        host.run("ip", "netns", "add", name)
        host.run("ip", "-n", name, "link", "set", "lo", "up")
    for number, name in enumerate(("left", "right"), 1):
        host.run("ip", "link", "add", f"br-{name}", "type", "bridge")
        host.run("ip", "link", "set", f"br-{name}", "up")
        for inner, last in ((name, 2), ("router", 254)):
            port, end = f"{inner[:2]}-{name}", f"eth-{name}"
            host.run("ip", "link", "add", port, "type", "veth", "peer", "name", end, "netns", inner)
            host.run("ip", "link", "set", port, "master", f"br-{name}", "up")
            host.run("ip", "-n", inner, "address", "add", f"10.77.{number}.{last}/24", "dev", end)
            host.run("ip", "-n", inner, "link", "set", end, "up")
        host.run("ip", "-n", name, "route", "add", "default", "via", f"10.77.{number}.254")
    host.run("ip", "-n", "left", "link", "set", "eth-left", "mtu", "1400")
    host.run("ip", "netns", "exec", "router", "sysctl", "-qw", "net.ipv4.ip_forward=1")


def serve(host: FakeHost) -> Inside:
    """A server in ``right``, which gives back what it gets."""
    return host.popen("ip", "netns", "exec", "right", sys.executable, "-c", _SERVER)


def talk(host: FakeHost) -> Inside:
    """A client in ``left``: five messages a second."""
    return host.popen("ip", "netns", "exec", "left", sys.executable, "-c", _CLIENT)


def knock(host: FakeHost) -> None:
    """Three connections from ``left`` to a port of ``right`` where nobody listens."""
    host.run("ip", "netns", "exec", "left", sys.executable, "-c", _REFUSED)


def tell(host: FakeHost, address: str, port: int) -> None:
    """A datagram from ``left``."""
    send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{address}', {port}))"
    host.run("ip", "netns", "exec", "left", sys.executable, "-c", send)
