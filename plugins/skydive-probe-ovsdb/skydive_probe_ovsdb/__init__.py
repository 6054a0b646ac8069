"""Open vSwitch's bridges, ports, interfaces and OpenFlow rules as a Skycore agent probe."""

from skydive_probe_ovsdb.probe import OpenFlowSettings, OvsdbProbe

__all__ = ["OpenFlowSettings", "OvsdbProbe"]
