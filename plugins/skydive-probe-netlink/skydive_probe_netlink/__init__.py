"""Skycore agent probe: the interfaces of a network namespace, as rtnetlink tells them."""

from skydive_probe_netlink.probe import NetlinkProbe
from skydive_probe_netlink.remote import TunnelsProbe

__all__ = ["NetlinkProbe", "TunnelsProbe"]
