"""Password files of Apache's htpasswd, and the hashes that may stand in them.

Forms (https://httpd.apache.org/docs/2.4/misc/password_encryptions.html, and argon2 in its PHC string format):

    $2a$ $2b$ $2y$       bcrypt        htpasswd -B
    $argon2id$ $argon2i$ argon2        skycore, argon2 -e
    $apr1$ $1$           MD5-crypt     htpasswd -m (its default for long), openssl passwd -apr1
    {SHA}                SHA-1         htpasswd -s; not salted, weak: reported

crypt(3) (DES), SHA-crypt and plain text are refused.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Mapping

import attrs

MAX_BYTES = 4 << 20
_LONGEST_PASSWORD = 1024
_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(r"\$argon2id?\$v=19\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_MD5 = re.compile(r"(\$apr1\$|\$1\$)([./A-Za-z0-9]{1,8})\$([./A-Za-z0-9]{22})")
_SHA1 = re.compile(r"\{SHA\}[A-Za-z0-9+/]{27}=")
_HIGHEST_BCRYPT_COST = 17
_MOST_ARGON2_KIB, _MOST_ARGON2_PASSES = 1 << 20, 100


@attrs.frozen
class Passwords:
    """What a password file says: hashes by user; ``faults`` are lines that were passed over, with the reason."""

    hashes: Mapping[str, str] = attrs.field(repr=False)
    faults: tuple[str, ...] = ()


def parse(text: str) -> Passwords:
    """Read a file: ``user:hash`` on each line; empty lines and those that begin with ``#`` mean nothing."""
    hashes: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        name, colon, entry = line.partition(":")
        fault = "expects user:hash" if not colon or not name else hash_fault(entry)
        if fault is None and name in hashes:
            fault = f"user {name!r} is there twice; the first counts"
        if fault is None:
            hashes[name] = entry
        else:
            faults.append(f"line {number}: {fault}")
    return Passwords(hashes, tuple(faults))


def hash_fault(entry: str) -> str | None:
    """Why a hash cannot be used; None when it can."""
    if match := _ARGON2.fullmatch(entry):
        memory, passes, _ = map(int, match.groups())
        if memory > _MOST_ARGON2_KIB or passes > _MOST_ARGON2_PASSES:
            return f"its argon2 costs are beyond {_MOST_ARGON2_KIB} KiB and {_MOST_ARGON2_PASSES} passes"
        return None
    if _BCRYPT.fullmatch(entry):
        if not 4 <= int(entry[4:6]) <= _HIGHEST_BCRYPT_COST:
            return f"its bcrypt cost is not between 4 and {_HIGHEST_BCRYPT_COST}"
        return None
    if _MD5.fullmatch(entry) or _SHA1.fullmatch(entry):
        return None
    return "its hash has none of the forms bcrypt, argon2, apr1, {SHA}; make one with: skycore config password USER"


def is_weak(entry: str) -> bool:
    """Whether the hash falls to guessing at millions of tries a second."""
    return entry.startswith(("{SHA}", "$1$", "$apr1$"))


def verify(entry: str, password: str) -> bool:
    """Whether the password has this hash (one without ``hash_fault``).  Slow on purpose: call it in a thread."""
    secret = password.encode("utf-8", "surrogatepass")
    if len(secret) > _LONGEST_PASSWORD:
        return False
    if entry.startswith("$argon2"):
        # Imported here and below because a process without such users needs no such library.
        import argon2  # noqa: PLC0415

        try:
            return argon2.PasswordHasher().verify(entry, secret)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    if entry.startswith("$2"):
        import bcrypt  # noqa: PLC0415

        # bcrypt reads 72 bytes and no NUL; htpasswd cuts in the same place.
        if b"\0" in secret:
            return False
        return bcrypt.checkpw(secret[:72], entry.encode())
    if match := _MD5.fullmatch(entry):
        magic, salt, digest = match.groups()
        return hmac.compare_digest(md5_crypt(secret, salt.encode(), magic.encode()), digest)
    try:
        wanted = b64decode(entry.removeprefix("{SHA}"), validate=True)
    except binascii.Error:
        return False
    return hmac.compare_digest(hashlib.sha1(secret, usedforsecurity=False).digest(), wanted)


def make(password: str) -> str:
    """An argon2id hash with the library's parameters (RFC 9106, second choice).  Slow on purpose."""
    import argon2  # noqa: PLC0415

    return argon2.PasswordHasher().hash(password.encode("utf-8", "surrogatepass"))


_ROUNDS = 1000
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Which bytes of the digest each group of four letters encodes (the last group has one byte, two letters).
_GROUPS = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))


def md5_crypt(secret: bytes, salt: bytes, magic: bytes) -> str:
    """The 22 letters of MD5-crypt (Poul-Henning Kamp, 1994; Apache differs in ``magic`` only)."""

    def md5(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    inner = md5(secret + salt + secret)
    start = secret + magic + salt + (inner * (len(secret) // 16 + 1))[: len(secret)]
    length = len(secret)
    while length:
        start += b"\0" if length & 1 else secret[:1]
        length >>= 1
    digest = md5(start)
    for round_ in range(_ROUNDS):
        data = secret if round_ & 1 else digest
        data += salt if round_ % 3 else b""
        data += secret if round_ % 7 else b""
        data += digest if round_ & 1 else secret
        digest = md5(data)
    letters: list[str] = []
    for first, second, third in _GROUPS:
        letters += _letters(digest[first] << 16 | digest[second] << 8 | digest[third], 4)
    return "".join([*letters, *_letters(digest[11], 2)])


def _letters(number: int, count: int) -> list[str]:
    return [_ALPHABET[number >> 6 * index & 63] for index in range(count)]
