"""Containers that talk to each other through a router, watched by an all-in-one: what the tests of panels look at.

```
 client ─┐        ┌─ db
 web ────┼─ br0 ──┤ (the host routes) ── br1
 batch ──┘        └─ cache
```
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import attrs

from skycore.testing.lab import Closing, FakeHost, Inside
from skycore.testing.oci import OciRuntime
from tests.system.processes import SKYCORE, Process

ADDRESS: Final = "http://127.0.0.1:8082"
CONTAINERS: Final = {
    "web": ("br0", "10.20.0.2"),
    "client": ("br0", "10.20.0.3"),
    "batch": ("br0", "10.20.0.4"),
    "db": ("br1", "10.30.0.2"),
    "cache": ("br1", "10.30.0.3"),
}
GATEWAYS: Final = {"br0": "10.20.0.254", "br1": "10.30.0.254"}
_SERVE: Final = """
import http.server, sys
class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * 5000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Quiet).serve_forever()
"""
_ASK: Final = """
import sys, time, urllib.request
while True:
    for url in sys.argv[1:]:
        try:
            urllib.request.urlopen(url, timeout=2).read()
        except OSError:
            pass
    time.sleep(0.5)
"""
_PLUGIN: Final = '''
"""A plugin with panels: the racks of a hall."""
from pathlib import Path
import attrs
import trio
from skycore.plugin import Key, WebPanels, hookimpl

class RacksProbe:
    @attrs.frozen
    class Settings: ...

    roles = frozenset({{"analyzer"}})
    def __init__(self, settings, host):
        self._host = host
    async def run(self, task_status):
        with self._host.graph.snapshot():
            self._host.graph.put(Key("rack", "r1"), {{"Name": "r1", "Type": "rack", "Row": 7}})
        task_status.started()
        await trio.sleep_forever()

@hookimpl
def web_panels():
    return WebPanels(Path({folder!r}), "racks.js")
'''


class _WithPlugin(Process):
    """Finds the plugin of ``install_plugin``, and nothing else is different."""

    def __init__(self, *given: object, plugins: Path, **more: object) -> None:
        self.program = ("env", f"PYTHONPATH={plugins}", SKYCORE)
        super().__init__(*given, **more)  # type: ignore[arg-type]


def install_plugin(folder: Path, panels: Path) -> Path:
    """The plugin ``racks``, as a package that is installed would be found; the folder to look in."""
    (folder / "skydive_probe_racks.py").write_text(_PLUGIN.format(folder=str(panels)))
    information = folder / "skydive_probe_racks-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: skydive-probe-racks\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[skycore.probe]\nracks = skydive_probe_racks:RacksProbe\n")
    return folder


@attrs.define
class Containers(Closing):
    """The host ``rack1`` with its containers and their conversations.

    client asks web, web asks db and cache over HTTP, batch pings db.
    """

    folder: Path
    host: FakeHost = attrs.field(factory=lambda: FakeHost("rack1"), init=False)
    runtime: OciRuntime = attrs.field(init=False)
    process: Process = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            self.runtime = OciRuntime(self.host)
            self._wire()
            self._talk()
            plugins = self.folder / "plugins"
            plugins.mkdir()
            install_plugin(plugins, Path(__file__).parents[1] / "data" / "webpanels")
            configuration = {
                "host_id": "rack1",
                "flow": {"update": 2, "expire": 30},
                "analyzer": {"listen": "127.0.0.1:8082", "topology": {"probes": ["racks"]}},
                "agent": {
                    "listen": "127.0.0.1:8081",
                    "topology": {
                        "probes": ["runc", "socketinfo"],
                        "netlink": {"metrics_update": 2},
                        "socketinfo": {"host_update": 2},
                    },
                },
            }
            self.process = _WithPlugin(
                self.host, "allinone", self.folder / "skycore", configuration, address=ADDRESS, plugins=plugins
            )
            self.process.start()
        except BaseException:
            self.host.close()
            raise

    def pid(self, name: str) -> str:
        """Process of a container, as its host counts."""
        return str(self.runtime.state(name)["pid"])

    def inside(self, name: str, *command: str) -> Inside:
        """Start a command of this machine in a container's network."""
        return self.host.popen("nsenter", "-t", self.pid(name), "-n", *command)

    def ask_over_http(self, name: str, *urls: str) -> Inside:
        """Let a container ask others, twice a second."""
        return self.inside(name, os.path.realpath("/usr/bin/python3"), "-c", _ASK, *urls)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What the API answers; LabError when it refuses."""
        given = ("-d", json.dumps(body)) if body is not None else ()
        text = self.host.run("curl", "-sS", "--fail-with-body", "-X", method, *given, f"{ADDRESS}{path}")
        return json.loads(text) if text.strip() else None

    def capture(self, query: str, **fields: object) -> str:
        """Make a capture; its UUID."""
        return str(self.ask("POST", "/api/capture", {"GremlinQuery": query, **fields})["UUID"])

    def node(self, query: str) -> dict[str, Any]:
        """The one node that a query gives."""
        (found,) = self.process.query(query)
        return dict(found)

    def _wire(self) -> None:
        run = self.host.run
        for bridge, address in GATEWAYS.items():
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "addr", "add", f"{address}/24", "dev", bridge)
            run("ip", "link", "set", bridge, "up")
        run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for name, (bridge, address) in CONTAINERS.items():
            self.runtime.run(name, annotations={"app": name})
            pid = self.pid(name)
            run("ip", "link", "add", f"ve-{name}", "type", "veth", "peer", "name", "eth0", "netns", pid)
            run("ip", "link", "set", f"ve-{name}", "master", bridge, "up")
            for command in (
                "link set lo up",
                f"addr add {address}/24 dev eth0",
                "link set eth0 up",
                f"route add default via {GATEWAYS[bridge]}",
            ):
                run("nsenter", "-t", pid, "-n", "ip", *command.split())

    def _talk(self) -> None:
        python = os.path.realpath("/usr/bin/python3")
        for name, port in (("web", 80), ("db", 5432), ("cache", 6379)):
            self.inside(name, python, "-c", _SERVE, str(port))
        self.ask_over_http("client", "http://10.20.0.2/")
        self.ask_over_http("web", "http://10.30.0.2:5432/", "http://10.30.0.3:6379/")
        self.inside("batch", "busybox", "ping", "-q", "-i", "0.5", "10.30.0.2")

    def close(self) -> None:
        self.process.close()
        self.runtime.close()
        self.host.close()
