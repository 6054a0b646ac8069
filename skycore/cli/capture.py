"""`skycore capture`: packets captured on the nodes of a query, see docs/captures.md."""

from __future__ import annotations

from typing import Any, Final

import click

from skycore.cli import objects, options, output
from skycore.client import Client

_LAYERS: Final = {"VRRP": 1, "DNS": 2, "DHCPv4": 4}

capture = objects.group(
    "capture",
    "capture",
    "captures",
    {"UUID": "UUID", "NAME": "Name", "QUERY": "GremlinQuery", "FILTER": "BPFFilter", "TYPE": "Type", "ACTIVE": "Count"},
)
objects.delete_command(capture, "capture", "captures")


@capture.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@click.option("--gremlin", default="", metavar="GREMLIN", help="The nodes to capture on.")
@click.option("--node", default="", metavar="TID", help="The node to capture on, in place of --gremlin.")
@click.option("--bpf", "BPFFilter", default="", metavar="FILTER", help="Which packets, as libpcap writes filters.")
@click.option("--name", "Name", default="", help="A name for the capture.")
@click.option("--description", "Description", default="", help="What it is for.")
@click.option("--type", "Type", default="", help="How packets are captured; left out: what suits the node.")
@click.option("--port", "Port", type=click.IntRange(0, 65535), default=0, help="Where sFlow is received.")
@click.option("--samplingrate", "SamplingRate", type=int, default=1, show_default=True, help="sFlow: one packet in N.")
@click.option("--pollinginterval", "PollingInterval", type=int, default=10, show_default=True, help="sFlow: seconds.")
@click.option("--header-size", "HeaderSize", type=int, default=0, help="Bytes of each packet to read; 0: 256.")
@click.option("--rawpacket-limit", "RawPacketLimit", type=int, default=0, help="Packets to keep of each flow, 0 to 10.")
@click.option("--extra-tcp-metric", "ExtraTCPMetric", is_flag=True, help="Also times of SYN, FIN and RST.")
@click.option("--ip-defrag", "IPDefrag", is_flag=True, help="Put IPv4 fragments together.")
@click.option("--reassemble-tcp", "--reassamble-tcp", "ReassembleTCP", is_flag=True, help="Put TCP streams together.")
@click.option("--layer-key-mode", "LayerKeyMode", type=click.Choice(["L2", "L3"]), help="What tells flows apart.")
@click.option("--extra-layer", "layers", type=click.Choice([*_LAYERS]), multiple=True, help="Also read this layer.")
@click.option("--target", "Target", default="", metavar="HOST:PORT", help="Who gets the flows.")
@click.option("--target-type", "TargetType", default="", help="In which form; left out: ours.")
@click.option("--ttl", type=click.IntRange(1), metavar="MS", help="How long it lives in ms; left out: for ever.")
def _create(
    client: Client, form: str, gremlin: str, node: str, layers: tuple[str, ...], ttl: int | None, **fields: Any
) -> None:
    """Capture packets on nodes, as long as the capture exists."""
    if bool(gremlin) == bool(node):
        raise click.UsageError("give either --gremlin or --node: the nodes to capture on")
    # A TID is a UUID: without quotes and backslashes, which would end the text in the query.
    if node and not node.replace("-", "").isalnum():
        raise click.UsageError(f"--node is no TID: {node!r}")
    value = {
        "GremlinQuery": gremlin or f"G.V().Has('TID', '{node}')",
        "ExtraLayers": sum(_LAYERS[layer] for layer in set(layers)),
        **{field: given for field, given in fields.items() if given not in (None, "", 0, False)},
    }
    lives = None if ttl is None else f"{ttl}ms"
    output.print_value(objects.collection(client, "capture").create(value, ttl=lives), form)
