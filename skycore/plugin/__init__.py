"""What plugin authors import: one flat, documented, versioned namespace.  See docs/plugins.md."""

from skycore import gremlin
from skycore.errors import AuthUnavailable, CaptureError, ClaimError, HandleClosed, PluginError
from skycore.filter import (
    EVERYTHING,
    All,
    Any,
    Compare,
    Equals,
    Filter,
    InNetwork,
    Matches,
    Not,
    Present,
)
from skycore.flow.ends import EndSeen
from skycore.flow.enhance import FlowEnhancer
from skycore.flow.source import Counts, FlowHost, FlowSource, Frame, Interface, Packets
from skycore.flow.spec import CaptureSpec
from skycore.graph.identity import Key
from skycore.plugin.api import API_VERSION, Claims, Hold, Namespace, NodeView, Probe, ProbeHost
from skycore.plugin.auth import AuthBackend, User
from skycore.plugin.hooks import hookimpl
from skycore.plugin.web import WebPanels

__all__ = [
    "API_VERSION",
    "EVERYTHING",
    "All",
    "Any",
    "AuthBackend",
    "AuthUnavailable",
    "CaptureError",
    "CaptureSpec",
    "ClaimError",
    "Claims",
    "Compare",
    "Counts",
    "EndSeen",
    "Equals",
    "Filter",
    "FlowEnhancer",
    "FlowHost",
    "FlowSource",
    "Frame",
    "HandleClosed",
    "Hold",
    "InNetwork",
    "Interface",
    "Key",
    "Matches",
    "Namespace",
    "NodeView",
    "Not",
    "Packets",
    "PluginError",
    "Present",
    "Probe",
    "ProbeHost",
    "User",
    "WebPanels",
    "gremlin",
    "hookimpl",
]
