"""``SKYDIVE_PUBLIC_INTERFACES``, a variable that users of Skydive's devstack plugin know.

It lists the interfaces by which hosts reach the outside, ``host1/eth0 host2/eth1``, and stands for lines of
``analyzer.topology.fabric``: one switch with a port for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from skycore.errors import ConfigurationError, Problem

VARIABLE: Final = "SKYDIVE_PUBLIC_INTERFACES"
_SPECIAL: Final = frozenset("[]*=,")


def public_interfaces(environ: Mapping[str, str]) -> list[str]:
    """The lines that the variable stands for.  Raises ConfigurationError."""
    lines: list[str] = []
    for number, word in enumerate(environ.get(VARIABLE, "").split(), 1):
        host, slash, interface = word.partition("/")
        if not slash or not host or not interface or "/" in interface or not _SPECIAL.isdisjoint(word):
            raise ConfigurationError(
                [Problem("environment", 0, 0, VARIABLE, f"{word!r} is not of the form host/interface")]
            )
        lines.append(f"TOR -> TOR_PORT{number}[Name=port{number}]")
        lines.append(f"TOR_PORT{number} --> *[Type=host, Name={host}]/{interface}")
    return lines
