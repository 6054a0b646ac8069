"""What plugin authors import: one flat, documented, versioned namespace.  See docs/plugins.md."""

from skycore import gremlin
from skycore.errors import ClaimError, HandleClosed, PluginError
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
from skycore.graph.identity import Key
from skycore.plugin.api import API_VERSION, Claims, Hold, Namespace, NodeView, Probe, ProbeHost
from skycore.plugin.hooks import hookimpl

__all__ = [
    "API_VERSION",
    "EVERYTHING",
    "All",
    "Any",
    "ClaimError",
    "Claims",
    "Compare",
    "Equals",
    "Filter",
    "HandleClosed",
    "Hold",
    "InNetwork",
    "Key",
    "Matches",
    "Namespace",
    "NodeView",
    "Not",
    "PluginError",
    "Present",
    "Probe",
    "ProbeHost",
    "gremlin",
    "hookimpl",
]
