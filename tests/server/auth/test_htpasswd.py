"""Password files: every hash form against the program that makes it, and files that are wrong."""

from __future__ import annotations

import hashlib
import subprocess
from base64 import b64encode

import argon2
import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.server.auth import htpasswd

PASSWORDS = ["x", "correct horse", "naïve ü", "a" * 16, "b" * 17, "c" * 200, ""]


def openssl(kind: str, password: str, salt: str) -> str:
    command = ["openssl", "passwd", kind, "-salt", salt, "-stdin"]
    done = subprocess.run(command, input=f"{password}\n".encode(), capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("kind", ["-apr1", "-1"])
@pytest.mark.parametrize("salt", ["abcdefgh", "x"])
def test_md5_crypt_is_that_of_openssl(kind: str, salt: str, password: str) -> None:
    entry = openssl(kind, password, salt)
    assert htpasswd.hash_fault(entry) is None
    assert htpasswd.verify(entry, password)
    assert not htpasswd.verify(entry, password + "!")


@pytest.mark.parametrize("password", ["x", "naïve ü", "c" * 100])
@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
def test_bcrypt(prefix: bytes, password: str) -> None:
    entry = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4, prefix)).decode()
    for written in (entry, entry.replace("$2b$", "$2y$")):
        assert htpasswd.hash_fault(written) is None
        assert htpasswd.verify(written, password)
        assert not htpasswd.verify(written, "y" + password)
    assert not htpasswd.verify(entry, "x\0")


def test_argon2() -> None:
    made = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("naïve")
    assert htpasswd.hash_fault(made) is None
    assert htpasswd.verify(made, "naïve")
    assert not htpasswd.verify(made, "naive")


def test_what_we_make_we_read() -> None:
    entry = htpasswd.make("secret")
    assert entry.startswith("$argon2id$")
    assert htpasswd.verify(entry, "secret")
    assert not htpasswd.is_weak(entry)


def test_sha1() -> None:
    entry = "{SHA}" + b64encode(hashlib.sha1(b"secret").digest()).decode()
    assert htpasswd.verify(entry, "secret")
    assert not htpasswd.verify(entry, "Secret")
    assert htpasswd.is_weak(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "secret",
        "rqXexS6ZhobKA",  # DES crypt
        "$6$salt$abc",
        "$2b$31$" + "a" * 53,  # would take days
        "$2b$03$" + "a" * 53,
        "$argon2id$v=19$m=9999999,t=3,p=4$c2FsdA$aGFzaA",
        "$argon2id$v=19$m=65536,t=999,p=4$c2FsdA$aGFzaA",
        "{SHA}short",
    ],
)
def test_hashes_that_cannot_be_used(entry: str) -> None:
    assert htpasswd.hash_fault(entry)


def test_a_file_with_good_and_bad_lines() -> None:
    good = openssl("-apr1", "x", "abcdefgh")
    found = htpasswd.parse(f"# users\n\nbob:{good}\nalice\neve:plain\n:{good}\n bob:{good} \r\nann:{good}\n")
    assert set(found.hashes) == {"bob", "ann"}
    assert [fault.split(":")[0] for fault in found.faults] == ["line 4", "line 5", "line 6", "line 7"]
    assert "plain" not in "".join(found.faults)
    assert good not in repr(found)


@given(st.text())
def test_no_file_raises(text: str) -> None:
    found = htpasswd.parse(text)
    assert all(htpasswd.hash_fault(entry) is None for entry in found.hashes.values())


entries = st.one_of(
    st.from_regex(htpasswd._MD5, fullmatch=True),
    st.from_regex(htpasswd._SHA1, fullmatch=True),
    st.from_regex(r"\$argon2id\$v=19\$m=8,t=1,p=1\$[A-Za-z0-9+/]{1,30}\$[A-Za-z0-9+/]{1,50}", fullmatch=True),
)


@given(entries, st.text(max_size=30))
def test_no_hash_that_is_taken_raises(entry: str, password: str) -> None:
    if htpasswd.hash_fault(entry) is None:
        assert htpasswd.verify(entry, password) in (True, False)
