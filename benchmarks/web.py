"""The Web UI in Debian's Chromium, beside cytoscape and sigma on the same graph.

A real analyzer serves; a publisher tells it of hosts with namespaces, veth pairs and a bridge.  *Script a frame* is
what the page's thread runs of JavaScript for one frame while the view is moved with everything unfolded: CPU time, so
that other work on the machine does not count (CDP's ScriptDuration over 120 frames).  The peers draw the same nodes at
the same places with the same links, moved the same way.  *First picture* is from the navigation to the first frame with
all in its place; of the peers, from data and library in memory to their first frame, with places given.  *Blocked* is
the longest time in which the page could not have answered to input while so many changes a second came in.  *Heap* is
measured after a collection.

Needs what `./task setup-tests` brings.  Run: .venv/bin/python -m benchmarks.web [--changes]
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import trio
import trio_websocket
from playwright.sync_api import CDPSession, Page

from skycore.client import Client
from skycore.errors import ClientError
from skycore.testing.browser import Chromium
from tests.system.processes import SKYCORE, until

SIZES: Final = (1_000, 5_000, 20_000)
FRAMES: Final = 120
RATE: Final = 500
OF_A_HOST: Final = 98
# What was said before is worked through before this is answered; the state of long ago is small.
_END: Final = '{"Namespace":"Graph","Type":"SyncRequest","UUID":"end","Obj":{"Time":1}}'
MODULES: Final = Path(__file__).resolve().parents[1] / "tools" / "web" / "node_modules"
PAN: Final = """(frames, move) => new Promise((done) => {
    let frame = 0;
    const next = () => { if (frame++ >= frames) return done(); move(frame); requestAnimationFrame(next); };
    requestAnimationFrame(next);
})"""
OURS: Final = f"""async (frames) => {{
    const t = document.querySelector('canvas').topology;
    await ({PAN})(frames, (n) => {{ t.camera.pan(n % 40 < 20 ? 4 : -4, 1); t.draw(); }});
}}"""
CYTOSCAPE: Final = f"""async (frames) => ({PAN})(frames, (n) => window.cy.panBy({{ x: n % 40 < 20 ? 4 : -4, y: 1 }}))"""
SIGMA: Final = f"""async (frames) => ({PAN})(frames, (n) => {{
    const state = window.renderer.getCamera().getState();
    window.renderer.getCamera().setState({{ ...state, x: state.x + (n % 40 < 20 ? 0.003 : -0.003) }});
}})"""


def elements(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Nodes and edges: hosts, each with a bridge and 32 namespaces with their veth pairs."""
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []

    def node(id: str, name: str, type: str, **more: Any) -> str:
        if len(nodes) < count:
            nodes.append({"ID": id, "Metadata": {"Name": name, "Type": type, **more}})
        return id

    def edge(parent: str, child: str, relation: str) -> None:
        edges.append(
            {"ID": f"{parent}>{child}>{relation}", "Parent": parent, "Child": child,
             "Metadata": {"RelationType": relation}}
        )  # fmt: skip

    for number in range(-(-count // OF_A_HOST)):
        host = node(f"h{number}", f"host{number}", "host")
        bridge = node(f"h{number}b", "br0", "bridge", State="UP")
        edge(host, bridge, "ownership")
        for inner in range(32):
            netns = node(f"h{number}n{inner}", f"ns{inner}", "netns", Path=f"/run/netns/ns{inner}")
            outside = node(f"h{number}v{inner}", f"veth{inner}", "veth", State="UP", MTU=1500)
            inside = node(f"h{number}i{inner}", "eth0", "veth", State="UP", IPV4=[f"10.{number % 250}.0.{inner}/24"])
            edge(host, netns, "ownership")
            edge(host, outside, "ownership")
            edge(bridge, outside, "layer2")
            edge(netns, inside, "ownership")
            edge(outside, inside, "layer2")
    there = {one["ID"] for one in nodes}
    return nodes, [one for one in edges if one["Parent"] in there and one["Child"] in there]


@asynccontextmanager
async def publisher(port: int) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Speaks as a publisher; at the end everything that was said has been taken."""
    url = f"ws://127.0.0.1:{port}/ws/publisher?x-client-type=bench&x-host-id=bench"
    async with trio.open_nursery() as nursery:
        channel = await trio_websocket.connect_websocket_url(nursery, url)
        yield channel
        await channel.send_message(_END)
        while '"end"' not in await channel.get_message():
            pass
        nursery.cancel_scope.cancel()


async def _publish(port: int, nodes: list[dict[str, Any]], edges: list[dict[str, Any]]) -> None:
    async with publisher(port) as channel:
        for type, told in (("NodeAdded", nodes), ("EdgeAdded", edges)):
            for one in told:
                await channel.send_message(json.dumps({"Namespace": "Graph", "Type": type, "UUID": "", "Obj": one}))


async def _change(port: int, nodes: list[dict[str, Any]], rate: int, total: int) -> None:
    start = time.monotonic()
    async with publisher(port) as channel:
        for number in range(total):
            one = nodes[number % len(nodes)]
            metric = {"RxBytes": number, "TxBytes": number, "Start": 1, "Last": 2}
            obj = {**one, "Metadata": {**one["Metadata"], "LastUpdateMetric": metric}}
            message = {"Namespace": "Graph", "Type": "NodeUpdated", "UUID": "", "Obj": obj}
            await channel.send_message(json.dumps(message))
            ahead = number / rate - (time.monotonic() - start)
            if ahead > 0.01:
                await trio.sleep(ahead)


@contextmanager
def analyzer(folder: Path, port: int) -> Iterator[None]:
    """An analyzer on a port of loopback."""
    folder.mkdir()
    configuration = {
        "host_id": "bench",
        "analyzer": {"listen": f"127.0.0.1:{port}"},
        "storage": {"embedded": {"driver": "embedded", "path": str(folder / "state")}},
    }
    (folder / "skycore.yml").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        command = [SKYCORE, "run", "--role", "analyzer", "-c", str(folder / "skycore.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            client = Client(f"http://127.0.0.1:{port}")
            until(lambda: _answers(client), 30)
            yield
        finally:
            process.kill()
            process.wait()


def _answers(client: Client) -> bool:
    try:
        return bool(client.status())
    except ClientError:
        return False


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def script_time(page: Page, session: CDPSession, program: str) -> float:
    """Milliseconds of JavaScript for each frame of a program that moves the view."""

    def spent() -> float:
        told = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in told if one["name"] == "ScriptDuration"))

    before = spent()
    page.evaluate(f"({program})({FRAMES})")
    return (spent() - before) * 1000 / FRAMES


def ours(chromium: Chromium, port: int, count: int) -> tuple[float, float, list[dict[str, Any]]]:
    """First picture in seconds, script a frame in milliseconds, and where everything stands."""
    with chromium.page(f"http://127.0.0.1:{port}", bypass_csp=True) as watched:
        page = watched.page
        session = watched.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto("/?expand=1", wait_until="commit")
        page.wait_for_function(
            f"(t => t && t.fitted && t.items.length >= {count} && !t.layout.busy)"
            "(document.querySelector('canvas')?.topology)",
            timeout=120_000,
        )
        first = page.evaluate("performance.now()") / 1000
        page.wait_for_timeout(1500)
        spent = script_time(page, session, OURS)
        places = page.evaluate("document.querySelector('canvas').topology.items.map(({ id, x, y }) => ({ id, x, y }))")
        return first, spent, places


def peer(chromium: Chromium, name: str, graph: dict[str, Any]) -> tuple[float, float]:
    """First picture in seconds and script a frame in milliseconds of cytoscape or sigma."""
    scripts = {
        "cytoscape": (["cytoscape/dist/cytoscape.min.js"], _CYTOSCAPE_START, CYTOSCAPE),
        "sigma": (["graphology/dist/graphology.umd.min.js", "sigma/dist/sigma.min.js"], _SIGMA_START, SIGMA),
    }
    files, start, move = scripts[name]
    with chromium.page("about:blank") as watched:
        page = watched.page
        session = watched.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.set_content('<div id="room" style="width:1440px;height:900px"></div>')
        for file in files:
            page.add_script_tag(path=MODULES / file)
        first = page.evaluate(start, graph) / 1000
        page.wait_for_timeout(1500)
        return first, script_time(page, session, move)


_FIRST_FRAME: Final = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
_CYTOSCAPE_START: Final = f"""async (graph) => {{
    const begin = performance.now();
    window.cy = cytoscape({{
        container: document.getElementById('room'), layout: {{ name: 'preset' }},
        style: [{{
            selector: 'node',
            style: {{ label: 'data(label)', shape: 'round-rectangle', width: 148, height: 40 }},
        }}],
        elements: [
            ...graph.nodes.map((n) => ({{ data: {{ id: n.id, label: n.label }}, position: {{ x: n.x, y: n.y }} }})),
            ...graph.edges.map((e, i) => ({{ data: {{ id: 'e' + i, source: e[0], target: e[1] }} }})),
        ],
    }});
    {_FIRST_FRAME}
    return performance.now() - begin;
}}"""
_SIGMA_START: Final = f"""async (graph) => {{
    const begin = performance.now();
    const made = new graphology.Graph({{ multi: true }});
    for (const n of graph.nodes) made.addNode(n.id, {{ x: n.x, y: -n.y, size: 4, label: n.label, color: '#6ea8ff' }});
    for (const e of graph.edges) made.addEdge(e[0], e[1]);
    window.renderer = new Sigma(made, document.getElementById('room'));
    {_FIRST_FRAME}
    return performance.now() - begin;
}}"""


def sizes(chromium: Chromium, folder: Path) -> None:
    """The table of sizes."""
    print(f"{'nodes':>7} {'':>10} {'first picture, s':>17} {'script a frame, ms':>19}")
    for count in SIZES:
        nodes, edges = elements(count)
        port = free_port()
        with analyzer(folder / str(count), port):
            trio.run(_publish, port, nodes, edges)
            first, spent, places = ours(chromium, port, count)
        print(f"{count:>7} {'skycore':>10} {first:>17.2f} {spent:>19.2f}", flush=True)
        names = {one["ID"]: one["Metadata"]["Name"] for one in nodes}
        graph = {
            "nodes": [{**one, "label": names[one["id"]]} for one in places if one["id"] in names],
            "edges": [(one["Parent"], one["Child"]) for one in edges],
        }
        for name in ("cytoscape", "sigma"):
            first, spent = peer(chromium, name, graph)
            print(f"{'':>7} {name:>10} {first:>17.2f} {spent:>19.2f}", flush=True)


_WATCH_BLOCKING: Final = """() => {
    window.blocked = 0;
    let last = performance.now();
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
        const now = performance.now();
        window.blocked = Math.max(window.blocked, now - last);
        last = now;
        setTimeout(() => { last = performance.now(); channel.port2.postMessage(0); }, 4);
    };
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.blocked = Math.max(window.blocked, entry.duration);
    }).observe({ entryTypes: ['longtask'] });
}"""


def changes(chromium: Chromium, folder: Path) -> None:
    """Blocking at so many changes a second, and the heap after ten and a hundred thousand."""
    nodes, edges = elements(5_000)
    port = free_port()
    with analyzer(folder / "changes", port), chromium.page(f"http://127.0.0.1:{port}", bypass_csp=True) as watched:
        trio.run(_publish, port, nodes, edges)
        page = watched.page
        session = watched.context.new_cdp_session(page)
        page.goto("/?expand=1")
        page.wait_for_function("document.querySelector('canvas')?.topology?.items.length >= 5000", timeout=120_000)
        page.wait_for_timeout(3000)
        page.evaluate(_WATCH_BLOCKING)
        _while(page, port, nodes, RATE, 10_000)
        print(f"{RATE} changes/s of 5,000 nodes: longest blocked {page.evaluate('window.blocked'):.0f} ms", flush=True)
        heaps = [heap(session)]
        _while(page, port, nodes, 4_000, 90_000)
        heaps.append(heap(session))
        print(f"heap after 10,000 changes {heaps[0] / 1e6:.1f} MB, after 100,000 {heaps[1] / 1e6:.1f} MB "
              f"({(heaps[1] / heaps[0] - 1) * 100:+.1f} %)")  # fmt: skip


def _while(page: Page, port: int, nodes: list[dict[str, Any]], rate: int, total: int) -> None:
    """Publish changes in a thread until the page has heard of the last."""
    thread = threading.Thread(target=trio.run, args=(_change, port, nodes, rate, total))
    thread.start()
    while thread.is_alive():
        page.wait_for_timeout(200)
    thread.join()
    last = f"(n => n && n.Metadata.LastUpdateMetric?.RxBytes === {total - 1})"
    id = json.dumps(nodes[(total - 1) % len(nodes)]["ID"])
    page.wait_for_function(f"{last}(document.querySelector('canvas').topology.mirror.nodes.get({id}))", timeout=60_000)


def heap(session: CDPSession) -> float:
    """Bytes of the page's heap that are in use after a collection."""
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"])


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Chromium(folder) as chromium:
            if "--changes" not in sys.argv:
                sizes(chromium, folder)
            changes(chromium, folder)


if __name__ == "__main__":
    main()
