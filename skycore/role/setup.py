"""What a process starts from: its configuration, its folder, its log, and the settings of its plugins."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import structlog

from skycore.config import Config, Loaded, load
from skycore.errors import ConfigurationError, ListenRefused, Problem
from skycore.plugin import discovery
from skycore.plugin.host import Enabled, wanted
from skycore.role.sections import plugin_sections

log = structlog.get_logger(__name__)

_LOOPBACK = ("localhost", "::1")


@attrs.frozen
class Setup:
    """Everything that the roles are made from."""

    config: Config
    faults: Mapping[str, ConfigurationError]
    """Plugin sections whose settings are wrong: those plugins fail, the others run."""
    insecure_listen: bool

    def folder(self, role: str) -> Path:
        """The role's own folder for state."""
        return Path(self.config.storage["embedded"].settings.path) / role

    def probes(self, role: str) -> Enabled:
        """The topology probes that this role is to run."""
        listed = self.config.agent.topology.probes if role == "agent" else self.config.analyzer.topology.probes
        return Enabled(wanted(listed, role), self._settings)

    def token(self) -> str | None:
        """The cluster token, None when none is configured.  Raises ConfigurationError."""
        path = self.config.cluster.token_file
        if not path:
            return None
        try:
            token = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([Problem(path, 0, 0, "cluster.token_file", f"cannot be read: {error}")]) from error
        if len(token) < 16 or not token.isascii() or not token.isprintable():
            raise ConfigurationError(
                [
                    Problem(
                        path, 0, 0, "cluster.token_file", "must hold one line of at least 16 printable ASCII characters"
                    )
                ]
            )
        return token

    def check_listen(self, key: str) -> None:
        """Refuse to listen for others while nothing protects what is served there."""
        section, _, _ = key.partition(".")
        address = getattr(self.config, section).listen
        if self.insecure_listen or address.host in _LOOPBACK or address.host.startswith("127."):
            return
        raise ListenRefused(
            f"{key} is {address}, which others can reach, and its API has no authentication yet: "
            "listen on 127.0.0.1, or say --insecure-listen when the network itself is protected"
        )

    def _settings(self, _name: str, section: str, cls: type) -> Any:
        fault = self.faults.get(section)
        if fault is not None:
            raise fault
        given = self.config.plugins.get(section)
        return given if isinstance(given, cls) else cls()


def read(files: Sequence[str], *, insecure_listen: bool) -> tuple[Setup, Loaded]:
    """Load the configuration of a process that is to run a role.

    Raises ConfigurationError for what is wrong outside the sections of plugins.
    """
    try:
        loaded = load(files, plugin_sections=lambda enabled: plugin_sections(enabled)[0])
        return Setup(loaded.config, {}, insecure_listen), loaded
    except ConfigurationError as error:
        faults = _faults_of_plugins(error)
        if not faults:
            raise
    loaded = load(files, plugin_sections=lambda enabled: _without(plugin_sections(enabled)[0], faults))
    return Setup(loaded.config, faults, insecure_listen), loaded


def _without(sections: Mapping[str, type], faults: Mapping[str, ConfigurationError]) -> dict[str, type]:
    # A section without its class is taken as it stands; its plugin will not be started.
    return {section: cls for section, cls in sections.items() if section not in faults}


def _faults_of_plugins(error: ConfigurationError) -> dict[str, ConfigurationError]:
    """The problems by plugin section; empty when one of them lies outside."""
    known = set(discovery.installed(discovery.PROBES))
    by_section: dict[str, list[Problem]] = {}
    for problem in error.problems:
        key = problem.key.lower()
        parts = key.split(".")
        if (
            parts[:2] not in (["agent", "topology"], ["analyzer", "topology"])
            or len(parts) < 3
            or parts[2] not in known
        ):
            return {}
        by_section.setdefault(".".join(parts[:3]), []).append(problem)
    return {section: ConfigurationError(problems) for section, problems in by_section.items()}


def configure_logging(config: Config, *, verbose: bool) -> None:
    """Send log lines to stderr, in the configured form and from the configured level on."""
    level = (
        "DEBUG"
        if verbose
        else {"NOTICE": "INFO", "CRITICAL": "CRITICAL"}.get(config.logging.level, config.logging.level)
    )
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if config.logging.encoder == "json"
        else structlog.dev.ConsoleRenderer(colors=config.logging.color and sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def report_ignored(loaded: Loaded) -> None:
    """Say once which keys have no effect."""
    if loaded.ignored:
        log.warning(
            "some configuration has no effect",
            keys=[f"{ignored.where} {ignored.key}: {ignored.reason}" for ignored in loaded.ignored],
        )
