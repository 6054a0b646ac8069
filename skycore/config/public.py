"""The configuration as it may be shown: secrets hidden, values of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from skycore.config.address import Address
from skycore.config.schema import Auth, Config, Storage
from skycore.config.values import HIDDEN, hide_credentials, is_secret_name


def to_public(config: Config) -> dict[str, Any]:
    """The configuration as nested dictionaries of JSON values, keys in lower case as in the files.

    Passwords, tokens, keys, users, cookies, and what stands before ``@`` in a URL, are replaced by asterisks.
    """
    shown = _shown(config)
    assert isinstance(shown, dict)
    for path, settings in sorted(shown.pop("plugins").items(), key=lambda item: str(item[0]).count(".")):
        at = shown
        *above, last = path.split(".")
        for name in above:
            at = at.setdefault(name, {})
        at[last] = settings
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, Storage):
        return {"driver": value.driver, **_settings(value.settings)}
    if isinstance(value, Auth):
        return {"type": value.type, "role": value.role, **_settings(value.settings)}
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, str | Address):
        return hide_credentials(str(value))
    if isinstance(value, Mapping):
        return {str(name): _hidden(item) if is_secret_name(str(name)) else _shown(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(item) for item in value]
    if attrs.has(type(value)):
        return _settings(value)
    return hide_credentials(str(value))


def _settings(value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        secret = field.metadata.get("secret", False) or (is_secret_name(field.name) and not attrs.has(type(item)))
        shown[field.name] = _hidden(item) if secret else _shown(item)
    return shown


def _hidden(value: Any) -> Any:
    """Asterisks, unless there is nothing to hide."""
    if value is None or value == "" or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {} if not value else HIDDEN
    return HIDDEN
