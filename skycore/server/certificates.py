"""TLS contexts made of the configured files, made anew when these change."""

from __future__ import annotations

import os
import ssl
from typing import final

import structlog
import trio

from skycore.config.schema import TLS
from skycore.errors import ConfigurationError, Problem

log = structlog.get_logger(__name__)

_LOOK_EVERY = 5.0

Signature = tuple[tuple[str, int, int, int], ...]


@final
class Certificates:
    """The contexts of one role; ``server`` is None when the port is to be plain, ``client`` when links are.

    A port speaks TLS when ``tls.server_cert`` is set, links to analyzers do as soon as any key of ``tls`` is.
    New connections use what the files held last; those that are open keep what they began with.
    Raises ConfigurationError when the files cannot be used.
    """

    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        self._asked = trio.Event()
        self._signature = _signature(tls)
        self._trouble = ""
        self.server, self.client = _contexts(tls)

    def client_now(self) -> ssl.SSLContext:
        """The context of links at this moment.  Raises RuntimeError when links are plain."""
        if self.client is None:
            raise RuntimeError("no key of tls is set, so links are plain")
        return self.client

    def reload(self) -> None:
        """Have ``follow`` read the files now, changed or not."""
        self._asked.set()

    async def follow(self) -> None:
        """Read the files again when they change, until cancelled; what cannot be used leaves things as they are."""
        if not self._signature:
            await trio.sleep_forever()
        while True:
            with trio.move_on_after(_LOOK_EVERY):
                await self._asked.wait()
            asked, self._asked = self._asked.is_set(), trio.Event()
            signature = await trio.to_thread.run_sync(_signature, self._tls)
            if not asked and signature == self._signature and not self._trouble:
                continue
            try:
                self.server, self.client = await trio.to_thread.run_sync(_contexts, self._tls)
            except ConfigurationError as error:
                # Usually half of a pair was replaced, and the other half follows.
                if asked or self._trouble != str(error):
                    log.error("the certificates cannot be used; the last ones stay in use", error=str(error))
                self._trouble = str(error)
            else:
                log.info("certificates were read again", files=[name for name, *_ in signature])
                self._trouble = ""
            self._signature = signature


def server_context(tls: TLS) -> ssl.SSLContext | None:
    """The context of the listening side: TLS 1.2 or later.  Raises ConfigurationError."""
    if not tls.server_cert and not tls.server_key:
        if tls.require_client_cert:
            raise _wrong("tls.require_client_cert", "needs tls.server_cert and tls.server_key")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, "server", tls.server_cert, tls.server_key)
    if tls.require_client_cert:
        if not tls.ca_cert:
            raise _wrong("tls.require_client_cert", "needs tls.ca_cert, the authorities whose certificates are taken")
        _load_authorities(context, tls.ca_cert)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: TLS) -> ssl.SSLContext:
    """The context of connections to others, whose certificates and names are checked.  Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca_cert:
        _load_authorities(context, tls.ca_cert)
    else:
        context.load_default_certs()
    if tls.client_cert or tls.client_key:
        _load_pair(context, "client", tls.client_cert, tls.client_key)
    return context


def _contexts(tls: TLS) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    return server_context(tls), client_context(tls) if _files(tls) else None


def _load_pair(context: ssl.SSLContext, side: str, certificate: str, key: str) -> None:
    for name, path in ((f"tls.{side}_cert", certificate), (f"tls.{side}_key", key)):
        if not path:
            raise _wrong(name, f"is missing: tls.{side}_cert and tls.{side}_key belong together")
        _readable(name, path)

    def no_password() -> str:
        raise ValueError("the key is encrypted; give one that is not, readable by this process only")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError.
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise _wrong(f"tls.{side}_cert", f"{certificate} and {key} are no certificate and its key: {reason}") from error


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _readable("tls.ca_cert", path)
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise _wrong("tls.ca_cert", f"{path} holds no certificates: {reason}") from error


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise _wrong(key, f"{path} cannot be read: {error.strerror or error}") from error


def _wrong(key: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem("configuration", 0, 0, key, message)])


def _files(tls: TLS) -> list[str]:
    named = (tls.server_cert, tls.server_key, tls.client_cert, tls.client_key, tls.ca_cert)
    return [path for path in named if path]


def _signature(tls: TLS) -> Signature:
    found: list[tuple[str, int, int, int]] = []
    for path in _files(tls):
        try:
            state = os.stat(path)
        except OSError:
            found.append((path, 0, 0, 0))
        else:
            found.append((path, state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(found)
