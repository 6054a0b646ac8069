"""Skycore agent probe: containers, by the state folders that runc, crun and those above them keep."""

from skydive_probe_runc.probe import RuncProbe

__all__ = ["RuncProbe"]
