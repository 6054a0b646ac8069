"""Skycore agent probe: TCP and UDP sockets, and the processes that hold them."""

from skydive_probe_socketinfo.probe import SocketInfoProbe

__all__ = ["SocketInfoProbe"]
