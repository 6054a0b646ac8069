"""Skycore agent probe: the network namespaces that have a name."""

from skydive_probe_netns.probe import NetnsProbe

__all__ = ["NetnsProbe"]
