"""What a plugin adds to the Web UI."""

from __future__ import annotations

from pathlib import Path
from typing import final

import attrs


@final
@attrs.frozen
class WebPanels:
    """Static files for the Web UI.

    ``folder`` holds them: modules (`.js`), styles (`.css`) and pictures (`.svg`, `.png`); others are not served.
    ``module`` is the one that browsers import; its default export is a function that is called with the UI's
    contract (docs/webui-panels.md).
    """

    folder: Path
    module: str = "panels.js"
