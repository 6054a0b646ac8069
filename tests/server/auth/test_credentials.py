"""Where credentials stand and how they are written: Skydive's order of places, and bytes that are hostile."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, QueryParams

from skycore.errors import Refusal
from skycore.server.access import Caller
from skycore.server.auth.credentials import Password, password, presented

BOB = b64encode(b"bob:secret").decode()


def caller(*headers: tuple[str, str], query: str = "") -> Caller:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return Caller("GET", "/api", Headers(raw=raw), QueryParams(query), ("192.0.2.1", 1), False)


PLACES = [
    ("cookie", ("Cookie", "authtoken=one"), "one"),
    ("authorization", ("Authorization", "Bearer two"), "two"),
    ("x-auth-token", ("X-Auth-Token", "three"), "three"),
]


def test_the_first_place_that_has_any_counts() -> None:
    headers = [header for _, header, _ in PLACES]
    for index, (place, _, token) in enumerate(PLACES):
        found = presented(caller(*headers[index:], query="x-auth-token=four"))
        assert found is not None
        assert (found.place, found.token) == (place, token)
    found = presented(caller(query="x-auth-token=four"))
    assert found is not None
    assert (found.place, found.token) == ("query", "four")
    assert presented(caller(("Cookie", "other=x; authtokens=y"))) is None


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Basic {BOB}"),
        ("Authorization", BOB),
        ("authorization", f"bAsIc   {BOB}  "),
        ("X-Auth-Token", f"Basic {BOB}"),
        ("X-Auth-Token", BOB),
        ("Cookie", f"a=b; authtoken={BOB}; c=d"),
        ("Cookie", f'authtoken="{BOB}"'),
        ("Cookie", f"authtoken=Basic {BOB}"),
    ],
)
def test_a_name_and_password_in_every_form(header: tuple[str, str]) -> None:
    found = presented(caller(header))
    assert found is not None
    assert password(found.token) == Password("bob", "secret")


@pytest.mark.parametrize("value", ["Basic", "basic ", "Bearer", "", "   ", "Basic " + "A" * 20_000])
@pytest.mark.parametrize("name", ["Authorization", "X-Auth-Token"])
def test_a_word_without_a_token_is_wrong(name: str, value: str) -> None:
    with pytest.raises(Refusal) as refused:
        presented(caller((name, value)))
    assert (refused.value.status, refused.value.text) == (401, "Wrong credentials")


def test_an_emptied_cookie_is_none() -> None:
    assert presented(caller(("Cookie", "authtoken="))) is None
    assert presented(caller(("Cookie", "authtoken="), ("Cookie", "authtoken=x"))) is not None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"bob:a:b:c", Password("bob", "a:b:c")),
        (b"bob:", Password("bob", "")),
        ("bøb:pæss".encode(), Password("bøb", "pæss")),
        ("bøb:pæss".encode("latin-1"), Password("bøb", "pæss")),
        (b":secret", None),
        (b"bob", None),
        (b"", None),
        (b"bob:a\0b", None),
    ],
)
def test_what_base64_holds(raw: bytes, expected: Password | None) -> None:
    assert password(b64encode(raw).decode()) == expected


def test_secrets_are_not_shown() -> None:
    found = presented(caller(("Authorization", "Bearer planted-secret")))
    assert "planted" not in repr(found)
    assert "planted" not in repr(Password("bob", "planted"))


text = st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=60)


@given(
    cookie=st.none() | text | text.map(lambda value: f"authtoken={value}"),
    authorization=st.none() | text | text.map(lambda value: f"Basic {value}"),
    token=st.none() | text,
    query=st.text(max_size=40),
)
def test_nothing_but_a_refusal_comes_of_any_bytes(
    cookie: str | None, authorization: str | None, token: str | None, query: str
) -> None:
    pairs = (("Cookie", cookie), ("Authorization", authorization), ("X-Auth-Token", token))
    made = caller(*((name, value) for name, value in pairs if value is not None), query=query)
    status = 401
    found = None
    try:
        found = presented(made)
    except Refusal as refusal:
        status = refusal.status
    assert status == 401
    if found is not None:
        assert found.token.strip()
        password(found.token)


@given(st.text(st.characters(blacklist_characters=":\0", blacklist_categories=["Cs"]), min_size=1), st.text())
def test_what_a_client_encodes_is_read_again(name: str, secret: str) -> None:
    if "\0" in secret or any("\ud800" <= char <= "\udfff" for char in secret):
        return
    token = b64encode(f"{name}:{secret}".encode()).decode()
    assert password(token) == Password(name, secret)
