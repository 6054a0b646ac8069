"""Static nodes and links, such as switches that nobody can ask: written in the configuration, kept in the graph."""

from skydive_probe_fabric.probe import FabricProbe

__all__ = ["FabricProbe"]
