"""Packets of an interface, as libpcap reads them."""

from skydive_flow_pcap.source import PcapSource

__all__ = ["PcapSource"]
