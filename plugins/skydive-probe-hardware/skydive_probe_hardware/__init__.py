"""Skycore agent probe: what the host is made of, as annotations of the host's node."""

from skydive_probe_hardware.probe import HardwareProbe

__all__ = ["HardwareProbe"]
