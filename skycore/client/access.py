"""How a client shows who it is, and whom it trusts."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import attrs

from skycore.errors import ClientError

if TYPE_CHECKING:
    import ssl


@final
@attrs.frozen(kw_only=True)
class Access:
    """A user's name and password, and files of certificates in PEM.

    ``cacert``: authorities trusted instead of those of the system; ``cert`` and ``key``: what we show ourselves, for
    servers that ask; ``insecure``: any certificate will do.  Any of these means TLS.
    """

    username: str = ""
    password: str = attrs.field(default="", repr=False)
    cacert: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Access:
        """The user of ``SKYDIVE_USERNAME`` and ``SKYDIVE_PASSWORD``; nobody when they are not set."""
        return cls(username=environ.get("SKYDIVE_USERNAME", ""), password=environ.get("SKYDIVE_PASSWORD", ""))

    @property
    def secure(self) -> bool:
        """Whether what is set asks for TLS."""
        return bool(self.cacert or self.cert or self.key or self.insecure)

    @property
    def authorization(self) -> str | None:
        """The header of that name, by which each request shows the user (RFC 7617); None without a user.

        Each request carries it: there is no session to lose, and the server remembers for minutes that it is right.
        """
        if not self.username:
            return None
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()

    def context(self) -> ssl.SSLContext:
        """What TLS connections are made with.  Raises ClientError when a file cannot be used."""
        # Imported here because most commands need no TLS, and it takes 15 ms.
        import ssl  # noqa: PLC0415

        if bool(self.cert) != bool(self.key):
            raise ClientError("--cert and --key belong together: a certificate and its key")
        try:
            context = ssl.create_default_context(cafile=self.cacert or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except OSError as error:
            files = ", ".join(file for file in (self.cacert, self.cert, self.key) if file)
            reason = getattr(error, "reason", None) or error.strerror or error
            raise ClientError(f"the certificates in {files} cannot be used: {reason}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
