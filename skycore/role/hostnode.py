"""The node of the host: its keys, and those taken from files of the host (``agent.metadata_config``).

KEYS is what the agent says and what docs/host.md shows (``python -m skycore.role.hostnode`` prints the table); plugins
add theirs to the node and document them.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import socket
import sys
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import structlog
import trio
import yaml

from skycore.config.schema import Config, MetadataFile
from skycore.graph.graph import Graph
from skycore.plugin.host import host_node_id

log = structlog.get_logger(__name__)

_EACH: Final = 2.0
"""Seconds between two looks at whether a file has changed."""
_LARGEST: Final = 4 << 20
"""Bytes of a file that are read at most."""


@attrs.frozen
class Key:
    """One key: its meaning or unit, its source, and its value of (configuration, values from files by name)."""

    name: str
    meaning: str
    source: str
    value: Callable[[Config, Mapping[str, str]], Any]


KEYS: Final = (
    Key("Name", "name of the host", "`host_id`", lambda config, _: config.host_id),
    Key("Type", "`host`", "-", lambda *_: "host"),
    Key("Hostname", "name by which the system knows itself", "gethostname(2)", lambda *_: socket.gethostname()),
    Key(
        "Config",
        "a text for each file: `Config.region`; absent without any",
        "`agent.metadata_config.files`, followed",
        lambda _, values: dict(values),
    ),
)
"""Beside them stand the keys of ``agent.metadata``, as they are in the configuration."""


def metadata(config: Config, values: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of the host's node."""
    said = {key.name: key.value(config, values) for key in KEYS}
    return {**config.agent.metadata, **{key: value for key, value in said.items() if value}}


class HostNode:
    """Keeps the host's node in the graph, and in step with the files that the configuration names."""

    def __init__(self, graph: Graph, config: Config) -> None:
        self._graph = graph
        self._config = config
        self._claimant = graph.claimant("skycore")
        self._values: dict[str, str] = {}
        self._seen: dict[int, tuple[int, int, int] | str] = {}
        self.say()

    def say(self) -> None:
        self._claimant.put(host_node_id(self._graph), metadata(self._config, self._values))

    async def run(self) -> None:
        """Follow the files until cancelled; returns at once when there are none."""
        files = self._config.agent.metadata_config.files
        while files:
            before = dict(self._values)
            for number, file in enumerate(files):
                await self._look(number, file)
            if self._values != before:
                self.say()
            await trio.sleep(_EACH)

    async def _look(self, number: int, file: MetadataFile) -> None:
        try:
            state = await trio.to_thread.run_sync(_state, file.path)
            if self._seen.get(number) == state:
                return
            value = await trio.to_thread.run_sync(read, file)
        except (OSError, ValueError) as error:
            self._values.pop(file.name, None)
            # Said once, and again when the reason is another.
            if self._seen.get(number) != str(error):
                self._seen[number] = str(error)
                log.error("a file of agent.metadata_config gives no value", path=str(file.path), error=str(error))
            return
        self._seen[number] = state
        self._values[file.name] = value


def _state(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns, status.st_size


def read(file: MetadataFile) -> str:
    """The value at the selector.  Raises OSError, and ValueError when there is none, or it is no single value."""
    with open(file.path, "rb") as opened:
        text = opened.read(_LARGEST).decode("utf-8", "replace")
    try:
        value: Any = _PARSERS[file.type](text)
    except (configparser.Error, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no {file.type}: {error}") from error
    for part in _path(value, file.selector):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"it has nothing at {file.selector}")
        value = value[part]
    if value is None or isinstance(value, dict | list):
        raise ValueError(f"what it has at {file.selector} is no text, number or boolean")
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _path(value: object, selector: str) -> list[str]:
    """The keys of a dotted selector; a key that holds the dots itself, as those of properties do, goes before."""
    return [selector] if isinstance(value, dict) and selector in value else selector.split(".")


_CONTINUED: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\\n[ \t\f]*")
_PROPERTY: Final = re.compile(r"((?:\\.|[^\s:=\\])+)[ \t\f]*[:=]?[ \t\f]*(.*)")


def _properties(text: str) -> dict[str, str]:
    """Key and value in a line, as java.util.Properties reads them; escapes other than of a separator are left out."""
    found = {}
    for line in _CONTINUED.sub(r"\1", text.replace("\r\n", "\n")).split("\n"):
        match = None if line.lstrip().startswith(("#", "!")) else _PROPERTY.match(line.strip())
        if match:
            found[re.sub(r"\\(.)", r"\1", match[1])] = re.sub(r"\\(.)", r"\1", match[2])
    return found


def _ini(text: str) -> dict[str, Any]:
    """Sections as maps; what stands before the first is at the top."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string("[\0]\n" + text)
    sections: dict[str, Any] = {name: dict(parser[name]) for name in parser.sections() if name != "\0"}
    values = {name: {key: value.strip("\"'") for key, value in found.items()} for name, found in sections.items()}
    return {**{key: value.strip("\"'") for key, value in parser["\0"].items()}, **values}


def _yaml(text: str) -> Any:
    # Every scalar stays the text that it is: `no` and `1.50` too.
    return yaml.load(text, Loader=yaml.CBaseLoader)


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "ini": _ini,
    **dict.fromkeys(("yaml", "yml"), _yaml),
    **dict.fromkeys(("properties", "props", "prop"), _properties),
}


def markdown() -> str:
    """The table for docs/host.md."""
    rows = [f"| `{key.name}` | {key.meaning} | {key.source} |" for key in KEYS]
    return "\n".join(["| Key | Meaning or unit | Source |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
