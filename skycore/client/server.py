"""Whom a client asks, and what is said when that fails."""

from __future__ import annotations

import os
from http.client import HTTPException
from typing import final

import attrs

from skycore.client.access import Access
from skycore.config.address import Address
from skycore.errors import ClientError


@final
@attrs.frozen
class Server:
    """An analyzer or agent: where it listens, whether it speaks TLS, who asks there.

    ``timeout`` is in seconds; what it bounds is the client's to say.
    """

    address: Address
    secure: bool
    access: Access
    timeout: float

    @classmethod
    def of(cls, address: str | Address, timeout: float, access: Access | None) -> Server:
        """``address`` is what `Address.parse` reads, ``http://`` or ``https://`` before it allowed; without ``access``
        it is the user of the environment.  Raises ClientError for an address that is none."""
        access = Access.from_environment() if access is None else access
        if isinstance(address, Address):
            return cls(address, access.secure, access, timeout)
        scheme, separator, rest = address.partition("://")
        known = bool(separator) and scheme.lower() in ("http", "https")
        try:
            parsed = Address.parse((rest if known else address).removesuffix("/"))
        except ValueError as error:
            raise ClientError(f"cannot ask there: {error}") from None
        return cls(parsed, access.secure or (known and scheme.lower() == "https"), access, timeout)

    def failure(self, error: BaseException) -> ClientError:
        """What is said of an exchange that ended so: the error of a socket, of TLS, of HTTP, or TimeoutError."""
        if isinstance(error, TimeoutError):
            return self.too_slow()
        name = type(error).__name__
        if self.secure and name == "SSLCertVerificationError":
            return ClientError(f"{self.address} shows a certificate that is not trusted: {error}; see --cacert")
        # A closed connection is an error of HTTP and of the socket, in Python's library.
        if isinstance(error, OSError | UnicodeError) and not isinstance(error, HTTPException):
            reason = _reason(error) or name
            return ClientError(f"cannot reach {self.address}: {reason}; is an analyzer or agent listening there?")
        return ClientError(f"{self.address} gave no complete HTTP answer: {name} {error}".rstrip())

    def too_slow(self) -> ClientError:
        """What is said when the time is over."""
        return ClientError(f"{self.address} gave no complete answer within {self.timeout:g} s")


def _reason(error: BaseException) -> str:
    # trio tells of all its tries in a cause: one error, or a group of them.
    causes = getattr(error.__cause__, "exceptions", (error.__cause__,))
    for each in (error, causes[0]):
        number = getattr(each, "errno", None)
        if isinstance(number, int) and number > 0:
            return os.strerror(number)
    return getattr(error, "strerror", None) or str(error)
