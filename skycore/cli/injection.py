"""`skycore injection` (also `inject-packet`): packets sent from the nodes of a query, see docs/injection.md."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import click

from skycore.cli import objects, options, output
from skycore.client import Client

_TYPES: Final = ("icmp4", "icmp6", "tcp4", "tcp6", "udp4", "udp6")
_AFTER: Final = 5000
"""Milliseconds that an injection is kept after its last packet."""

injection = objects.group(
    "injection",
    "injectpacket",
    "injections of packets",
    {"UUID": "UUID", "TYPE": "Type", "FROM": "Src", "TO": "Dst", "ADDRESS": "DstIP", "COUNT": "Count"},
)
objects.delete_command(injection, "injectpacket", "injections of packets")


@injection.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@click.option("--src", "Src", required=True, metavar="GREMLIN", help="The nodes to send from.")
@click.option("--dst", "Dst", default="", metavar="GREMLIN", help="The node to send to.")
@click.option("--src-ip", "SrcIP", default="", help="Source address; left out: the source node's.")
@click.option("--dst-ip", "DstIP", default="", help="Destination address; left out: that of --dst.")
@click.option("--src-mac", "SrcMAC", default="", help="Source MAC; left out: the source node's.")
@click.option("--dst-mac", "DstMAC", default="", help="Destination MAC; left out: the next hop's.")
@click.option("--src-port", "SrcPort", type=click.IntRange(0, 65535), default=0, help="0: some port.")
@click.option("--dst-port", "DstPort", type=click.IntRange(0, 65535), default=0, help="0: some port.")
@click.option("--type", "Type", type=click.Choice(_TYPES), default="icmp4", show_default=True, help="Kind of packets.")
@click.option("--payload", "Payload", default="", help="Text in each packet; left out: 56 letters.")
@click.option("--pcap", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Send this recording.")
@click.option("--id", "ICMPID", type=click.IntRange(0, 65535), default=0, help="ICMP identifier.")
@click.option("--mode", "Mode", type=click.Choice(["unique", "random"]), default="unique", show_default=True)
@click.option("--inc-payload", "IncrementPayload", type=click.IntRange(0), default=0, help="Letters more each time.")
@click.option("--count", "Count", type=click.IntRange(0), default=1, show_default=True, help="How many packets.")
@click.option("--interval", "Interval", type=click.IntRange(0), default=0, metavar="MS", help="Between two packets.")
@click.option("--ttl", "TTL", type=click.IntRange(1, 255), default=64, show_default=True, help="TTL or hop limit.")
def _create(client: Client, form: str, pcap: Path | None, **fields: Any) -> None:
    """Send packets from nodes, once."""
    if pcap is not None:
        fields["Pcap"] = base64.b64encode(pcap.read_bytes()).decode()
    lives = fields["Interval"] * fields["Count"] + _AFTER
    output.print_value(objects.collection(client, "injectpacket").create(fields, ttl=f"{lives}ms"), form)
