"""Access to a role: its gatekeeper, its certificates, the cluster token, made from the configuration."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs
import structlog

from skycore.config import Address, Config, Loaded
from skycore.config.schema import RBAC, Auth
from skycore.errors import ConfigurationError, ListenRefused, PluginError, Problem
from skycore.plugin import discovery
from skycore.plugin.auth import AuthBackend
from skycore.server.auth.guard import Guard, OpenGate
from skycore.server.auth.origin import Origins, hosts_of
from skycore.server.auth.policy import Policy
from skycore.server.certificates import Certificates

log = structlog.get_logger(__name__)

Part: TypeAlias = Literal["agent", "analyzer"]
_PARTS: tuple[Part, ...] = ("agent", "analyzer")
_SHORTEST_TOKEN = 16
_NEEDS_EXTRA = "a library is missing ({}); install it: pip install 'skycore[analyzer]'"


@attrs.frozen
class Gates:
    """Who checks what of one port: ``api`` everything but the links of agents, ``cluster`` those.

    ``cluster`` is None when agents are checked by the cluster token only.
    """

    api: Guard | OpenGate
    cluster: Guard | None


def gates(config: Config, part: Part) -> Gates:
    """The gatekeepers of a role.  Raises ConfigurationError."""
    listen = getattr(config, part).listen
    allowed = config.http.allowed_origins
    _check_origins(config)
    key, auth = _api(config, part)
    cluster: Guard | None = None
    if auth.type == "noauth":
        # Who reaches the port is admitted.  On loopback the port has few names, and a page has one of its own.
        names = {config.host_id, socket.gethostname(), listen.host, *hosts_of(allowed)} if is_local(listen) else None
        # As with Skydive, an agent asks nobody what its users may do, unless they are less than admin.
        ruled = auth.role != "admin" or (part == "analyzer" and config.rbac != RBAC())
        policy = _policy(config) if ruled else None
        api: Guard | OpenGate = OpenGate(role=auth.role, policy=policy, origins=Origins(allowed, names=names))
    else:
        api = _guard(config, key, auth)
    if part == "analyzer" and (behind := _cluster(config))[1].type != "noauth":
        cluster = _guard(config, *behind)
    return Gates(api, cluster)


def certificates(config: Config) -> Certificates:
    """The TLS contexts of a role.  Raises ConfigurationError."""
    return Certificates(config.tls)


def cluster_token(config: Config) -> str | None:
    """The cluster token, None when none is configured.  Raises ConfigurationError."""
    path = config.cluster.token_file
    if not path:
        return None
    try:
        token = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong("cluster.token_file", f"cannot be read: {error}", path) from error
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise _wrong(
            "cluster.token_file",
            f"must hold one line of at least {_SHORTEST_TOKEN} printable ASCII characters",
            path,
        )
    return token


def authorization(config: Config) -> str | None:
    """The header that this agent shows to analyzers: the cluster token, else a name and password."""
    token = cluster_token(config)
    if token is not None:
        return f"Bearer {token}"
    given = config.agent.auth.cluster
    if not given.username:
        return None
    return "Basic " + b64encode(f"{given.username}:{given.password}".encode()).decode()


def is_local(address: Address) -> bool:
    """Whether only this machine can reach what listens there."""
    return address.host in ("localhost", "::1") or address.host.startswith("127.")


def check_listen(config: Config, part: Part) -> None:
    """Refuse to listen for others while nothing protects what is served there.  Raises ListenRefused."""
    address = getattr(config, part).listen
    if is_local(address):
        return
    missing: list[str] = []
    if _api(config, part)[1].type == "noauth":
        missing.append(f"its API has no authentication: set {part}.auth.api.backend, such as to basic")
    if part == "analyzer" and not config.cluster.token_file and _cluster(config)[1].type == "noauth":
        missing.append("anybody may report as an agent: set cluster.token_file, here and on the agents")
    if missing:
        raise ListenRefused(
            f"{part}.listen is {address}, which others can reach, and {'; '.join(missing)}. "
            "Or listen on 127.0.0.1, or say --insecure-listen when the network itself is protected"
        )
    if not config.tls.server_cert:
        log.warning(
            "passwords and tokens cross the network readable; set tls.server_cert and tls.server_key", part=part
        )


def check(loaded: Loaded) -> None:
    """Read all that access needs besides the configuration itself: token, passwords, policy, certificates.

    Raises ConfigurationError with every problem, each where its key was written.
    """
    config = loaded.config
    problems: list[Problem] = []
    tries: list[Callable[[], Any]] = [lambda: cluster_token(config), lambda: certificates(config)]
    tries += [lambda part=part: gates(config, part) for part in _PARTS]  # type: ignore[misc]
    for attempt in tries:
        try:
            attempt()
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError([_placed(problem, loaded) for problem in dict.fromkeys(problems)])


def _api(config: Config, part: Part) -> tuple[str, Auth]:
    name = config.agent.auth.api.backend if part == "agent" else config.analyzer.auth.api.backend
    return f"auth.{name}", config.auth[name]


def _cluster(config: Config) -> tuple[str, Auth]:
    name = config.analyzer.auth.cluster.backend
    return f"auth.{name}", config.auth[name]


def _guard(config: Config, key: str, auth: Auth) -> Guard:
    return Guard(
        _backend(key, auth),
        role=auth.role,
        policy=_policy(config),
        origins=Origins(config.http.allowed_origins),
        session_time=config.http.session_time,
    )


def _backend(key: str, auth: Auth) -> AuthBackend:
    try:
        backend_class: Any = discovery.load(discovery.AUTH, auth.type)
    except PluginError as error:
        raise _wrong(key, str(error)) from error
    if not isinstance(auth.settings, backend_class.Settings):
        raise _wrong(key, f"has no settings for the type {auth.type!r}")
    try:
        backend: AuthBackend = backend_class(auth.settings)
    except ValueError as error:
        raise _wrong(key, str(error)) from error
    except ImportError as error:
        raise _wrong(key, _NEEDS_EXTRA.format(error.name)) from error
    return backend


def _policy(config: Config) -> Policy:
    try:
        return Policy(config.rbac)
    except ValueError as error:
        key, _, message = str(error).partition(" ")
        raise _wrong(key.rstrip(":"), message) from error
    except ImportError as error:
        raise _wrong("rbac", _NEEDS_EXTRA.format(error.name)) from error


def _check_origins(config: Config) -> None:
    for origin in config.http.allowed_origins:
        try:
            parts = urlsplit(origin)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
        except ValueError:
            good = False
        if not good:
            raise _wrong("http.allowed_origins", f"expects https://host or https://host:port, not {origin!r}")


def _wrong(key: str, message: str, file: str = "configuration") -> ConfigurationError:
    return ConfigurationError([Problem(file, 0, 0, key, message)])


def _placed(problem: Problem, loaded: Loaded) -> Problem:
    where = loaded.where(problem.key) or loaded.where(problem.key.partition("[")[0])
    return problem if where is None else where.problem(problem.key, problem.message)
