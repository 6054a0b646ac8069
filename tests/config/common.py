"""What the tests of the configuration share."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from skycore.config import Loaded, load
from skycore.errors import ConfigurationError, Problem


def load_text(text: str | bytes, environ: Mapping[str, str] | None = None, plugins: Any = None) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return load(["-"], environ or {}, plugins if plugins is not None else {}, stdin=io.BytesIO(data))


def problems(text: str | bytes, environ: Mapping[str, str] | None = None, plugins: Any = None) -> list[Problem]:
    with pytest.raises(ConfigurationError) as caught:
        load_text(text, environ, plugins)
    return list(caught.value.problems)


def key_table() -> list[tuple[str, str, str]]:
    """(key, default, another value) of every documented key."""
    lines = (Path(__file__).parent / "keys.txt").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return [(key, default.strip(), other.strip()) for key, default, other in rows]


def nested(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree


def written(value: Any) -> str:
    return str(yaml.safe_dump(value))
