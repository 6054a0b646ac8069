"""Skycore agent probe: what ethtool tells of interfaces, as annotations of netlink's nodes."""

from skydive_probe_ethtool.probe import EthtoolProbe

__all__ = ["EthtoolProbe"]
