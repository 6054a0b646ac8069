"""What a process starts from: its configuration, its folder, its log, and the settings of its plugins."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import structlog

from skycore import config as configuration
from skycore.config import Config, Loaded, load
from skycore.config.document import MAX_BYTES
from skycore.errors import ConfigurationError, PluginError, Problem
from skycore.plugin import discovery
from skycore.plugin.flow_sources import FlowSources
from skycore.plugin.host import Enabled, wanted
from skycore.role import access
from skycore.role.public import public_interfaces
from skycore.role.sections import plugin_sections, section_fault

log = structlog.get_logger(__name__)

_ROLES = ("agent", "analyzer")


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
        names = wanted(listed, role)
        if role == "analyzer" and self._fabric() and not {"fabric", "-fabric"} & set(listed):
            names.append("fabric")
        return Enabled(names, self._settings)

    def flow_sources(self) -> FlowSources:
        """The flow sources that the agent may use."""
        return FlowSources(self.config.agent.flow.probes, self._settings)

    def _fabric(self) -> tuple[str, ...]:
        """The lines of the probe ``fabric``, which stand in a key of ours as Skydive's users write them."""
        return (*self.config.analyzer.topology.fabric, *public_interfaces(os.environ))

    def check_listen(self, part: access.Part) -> None:
        """Refuse to listen for others while nothing protects what is served there."""
        if not self.insecure_listen:
            access.check_listen(self.config, part)

    def _settings(self, name: str, section: str, cls: type) -> Any:
        if name == "fabric":
            return cls(links=self._fabric())
        broken = section_fault(section, cls)
        if broken is not None:
            raise PluginError(broken)
        fault = self.faults.get(section.lower())
        if fault is not None:
            raise fault
        given = self.config.plugins.get(section.lower())
        if given is not None and not isinstance(given, cls):
            raise PluginError(f"its section {section!r} is also that of another plugin")
        return cls() if given is None else given


def read(files: Sequence[str], *, insecure_listen: bool) -> tuple[Setup, Loaded]:
    """Load the configuration of a process that is to run a role.

    Raises ConfigurationError for what is wrong outside the sections of plugins.
    """
    stdin = sys.stdin.buffer.read(MAX_BYTES + 1) if "-" in files else b""
    sections: dict[str, type] = {}

    def enabled_sections(enabled: configuration.Enabled) -> Mapping[str, type]:
        sections.update(plugin_sections(enabled)[0])
        return sections

    try:
        loaded = load(files, plugin_sections=enabled_sections, stdin=io.BytesIO(stdin))
        return Setup(loaded.config, {}, insecure_listen), loaded
    except ConfigurationError as error:
        faults = _faults_of_plugins(error, sections)
        if not faults:
            raise
    # A plugin whose settings are wrong will not be started, so that what is written there no longer matters.
    others = {section: cls for section, cls in sections.items() if section not in faults}
    loaded = load(files, plugin_sections=others, stdin=io.BytesIO(stdin), left_out=faults)
    return Setup(loaded.config, faults, insecure_listen), loaded


def _faults_of_plugins(error: ConfigurationError, sections: Collection[str]) -> dict[str, ConfigurationError]:
    """The problems by section of a probe; empty when one of them lies outside."""
    known = {section for section in sections if not section.startswith("storage.")}
    known.update(f"{role}.topology.{name}" for role in _ROLES for name in discovery.installed(discovery.PROBES))
    known.update(f"agent.flow.{name}" for name in discovery.installed(discovery.FLOWS))
    by_section: dict[str, list[Problem]] = {}
    for problem in error.problems:
        key = problem.key.lower()
        section = max((each for each in known if f"{key}.".startswith(f"{each}.")), key=len, default=None)
        if section is None:
            return {}
        by_section.setdefault(section, []).append(problem)
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
