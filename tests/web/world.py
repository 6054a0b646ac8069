"""A host with namespaces, a bridge, traffic, and an all-in-one that watches it: what the browser tests look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from skycore.testing.lab import Closing, FakeHost, Inside
from tests.system.processes import Process

NAMESPACES: Final = {"web": "10.1.0.2", "db": "10.1.0.3", "cache": "10.1.0.4"}
ADDRESS: Final = "http://127.0.0.1:8082"
MANY: Final = 30
"""Interfaces of one type, enough to be drawn as a bundle."""


class World(Closing):
    """The host ``rack1``: a bridge with three namespaces, thirty spare interfaces, pings from web to db.

    ``more`` is configuration besides; the process is restarted by ``restart``.
    """

    def __init__(self, folder: Path, more: Mapping[str, Any] | None = None) -> None:
        self.host = FakeHost("rack1")
        self.traffic: list[Inside] = []
        self._made = 0
        try:
            self._wire()
            analyzer = {"listen": "127.0.0.1:8082"}
            agent = {
                "listen": "127.0.0.1:8081",
                "topology": {"probes": ["netlink", "netns"], "netlink": {"metrics_update": 2}},
            }
            configuration = {"host_id": "rack1", "analyzer": analyzer, "agent": agent, **(more or {})}
            self.process = Process(self.host, "allinone", folder, configuration, address=ADDRESS)
            self.process.start()
        except BaseException:
            self.host.close()
            raise

    def _wire(self) -> None:
        run = self.host.run
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", "10.1.0.1/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        for name, address in NAMESPACES.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"veth-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"veth-{name}", "master", "br0", "up")
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        lines = "".join(f"link add spare{number} type ifb\n" for number in range(MANY))
        run("ip", "-batch", "-", data=lines.encode())
        pinged = ("busybox", "ping", "-q", "-i", "0.1", "-s", "1200", NAMESPACES["db"])
        self.traffic.append(self.host.popen("ip", "netns", "exec", "web", *pinged))

    def add_namespace(self) -> str:
        """One more namespace, with a name that was not there."""
        self._made += 1
        name = f"extra{self._made}"
        self.host.run("ip", "netns", "add", name)
        return name

    def delete_namespace(self, name: str) -> None:
        self.host.run("ip", "netns", "del", name)

    def restart(self) -> None:
        """Kill the process and start it again."""
        self.process.kill9()
        self.process.start()

    def close(self) -> None:
        self.process.close()
        for one in self.traffic:
            one.kill()
        self.host.close()
