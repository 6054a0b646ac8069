"""Packets of a capture file that somebody streams to the agent over TCP, as if they passed an interface now."""

from skydive_flow_pcapsocket.source import PcapSocketSource

__all__ = ["PcapSocketSource"]
