from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from skycore.config import Loaded, load
from skycore.errors import ConfigurationError, Problem

LoadText: TypeAlias = Callable[..., Loaded]
Problems: TypeAlias = Callable[..., list[Problem]]


def _load_text(text: str | bytes, environ: Mapping[str, str] | None = None, plugins: Any = None) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return load(["-"], environ or {}, plugins if plugins is not None else {}, stdin=io.BytesIO(data))


@pytest.fixture(scope="session")
def load_text() -> LoadText:
    """Load one YAML text (as standard input) with these variables and settings classes of plugins."""
    return _load_text


@pytest.fixture(scope="session")
def problems() -> Problems:
    """Load a text that is wrong, and give its problems."""

    def wrong(text: str | bytes, environ: Mapping[str, str] | None = None, plugins: Any = None) -> list[Problem]:
        with pytest.raises(ConfigurationError) as caught:
            _load_text(text, environ, plugins)
        return list(caught.value.problems)

    return wrong


@pytest.fixture(scope="session")
def key_table() -> list[tuple[str, str, str]]:
    """(key, default, another value) of every documented key, as YAML; ``-`` for none."""
    lines = (Path(__file__).parent / "keys.txt").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return [(key, default.strip(), other.strip()) for key, default, other in rows]
