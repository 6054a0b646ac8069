"""Users of a file and of the configuration, with a file that changes under the backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
import trio
import trio.testing

from skycore.config.sections import BasicAuth
from skycore.errors import AuthUnavailable
from skycore.server.auth import basic as module
from skycore.server.auth import htpasswd
from skycore.server.auth.basic import BasicBackend


def line(name: str, password: str) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


async def test_users_of_the_configuration() -> None:
    hashed = line("", "eve's").strip(":\n")
    backend = BasicBackend(BasicAuth(users={"bob": "bob's", "eve": hashed, "odd": "$2b$broken"}))
    for name, right in (("bob", "bob's"), ("eve", "eve's"), ("odd", "$2b$broken")):
        user = await backend.by_password(name, right)
        assert user is not None
        assert user.name == name
        assert await backend.still(user)
        assert right not in repr(user)
        assert right not in user.stamp
        assert await backend.by_password(name, right + "x") is None
        assert await backend.by_password(name, "") is None
    assert await backend.by_password("eve", hashed) is None, "a hash is no password"
    assert await backend.by_password("nobody", "") is None
    assert await backend.by_token("x") is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (BasicAuth(), "expects a file"),
        (BasicAuth(file="/nowhere/users"), "/nowhere/users.*No such file"),
    ],
)
def test_settings_that_admit_nobody(settings: BasicAuth, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BasicBackend(settings)


def test_a_file_without_a_usable_line(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("bob:plain-secret\n")
    with pytest.raises(ValueError, match=r"no usable line: line 1: its hash has none of the forms") as wrong:
        BasicBackend(BasicAuth(file=str(file)))
    assert "plain-secret" not in str(wrong.value)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="users"):
        BasicBackend(BasicAuth(file=str(file)))


async def test_the_file_is_followed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    file = tmp_path / "users"
    file.write_text(line("bob", "one"))
    backend = BasicBackend(BasicAuth(file=str(file), users={"ghost": "x"}))
    bob = await backend.by_password("bob", "one")
    assert bob is not None
    assert await backend.by_password("ghost", "x") is None, "users counts without file only"

    async def change(text: str | None) -> None:
        new = tmp_path / "new"
        if text is None:
            file.unlink()
        else:
            new.write_text(text)
            new.replace(file)
        await trio.sleep(1)

    await change(line("bob", "one") + line("ann", "x"))
    assert not await backend.still(bob), "the same password, hashed anew, is a new one"
    assert await backend.by_password("ann", "x") is not None
    again = await backend.by_password("bob", "one")
    assert again is not None
    await change(None)
    assert await backend.still(again), "a file that is away while it is replaced"
    await change(line("ann", "x"))
    assert not await backend.still(again)
    assert await backend.by_password("bob", "one") is None


async def test_who_is_not_there_takes_as_long_as_who_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: exactly one hash is computed for each answer."""
    computed: list[str] = []
    verify = htpasswd.verify

    def count(entry: str, password: str) -> bool:
        computed.append(entry[:4])
        return verify(entry, password)

    monkeypatch.setattr(htpasswd, "verify", count)
    users = {"eve": line("", "eve's").strip(":\n"), "plain": "p"}
    backend = BasicBackend(BasicAuth(users=users))
    for name, password in (("eve", "eve's"), ("eve", "x"), ("nobody", "x"), ("plain", "p"), ("plain", "x")):
        computed.clear()
        await backend.by_password(name, password)
        assert computed == ["$2b$"], name


async def test_many_checks_wait_in_a_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    gate, both, refused = trio.Event(), trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(entry: str | None, decoy: str | None, password: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            trio.from_thread.run_sync(both.set, trio_token=token)
        trio.from_thread.run(gate.wait, trio_token=token)
        running -= 1
        return True

    monkeypatch.setattr(module, "_verify", slow)
    monkeypatch.setattr(module, "_WAITING", 5)
    backend = BasicBackend(BasicAuth(users={"bob": "x"}))
    ends: list[str] = []

    async def ask() -> None:
        try:
            await backend.by_password("bob", "x")
            ends.append("answered")
        except AuthUnavailable:
            ends.append("busy")
            if ends.count("busy") == 4:
                refused.set()

    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(ask)
        with trio.fail_after(30):
            await both.wait()
            await refused.wait()
        gate.set()
    assert sorted(ends) == ["answered"] * 5 + ["busy"] * 4
    assert most == 2


def test_no_library_of_hashes_is_imported_without_need() -> None:
    code = (
        "import sys, skycore.server.auth.basic, skycore.server.auth.guard, skycore.role.access;"
        "print([name for name in ('argon2', 'bcrypt', 'casbin') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
