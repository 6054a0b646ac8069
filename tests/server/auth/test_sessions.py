"""Sessions and the slowing down of guesses, by a clock that the test turns."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from skycore.plugin.auth import User
from skycore.server.auth.credentials import password
from skycore.server.auth.session import PREFIX, Sessions
from skycore.server.auth.throttle import BY_CLIENT, BY_USER, Throttle

HERE = ("192.0.2.1", 5)
OTHER = ("192.0.2.2", 5)


async def test_a_session_lasts_until_its_time_is_over(autojump_clock: trio.testing.MockClock) -> None:
    sessions = Sessions(100)
    token = sessions.begin(User("bob"))
    await trio.sleep(99)
    found = sessions.find(token)
    assert found is not None
    assert found.user.name == "bob"
    await trio.sleep(1)
    assert sessions.find(token) is None
    sessions.begin(User("eve"))
    assert len(sessions) == 1, "those that are over make room when another begins"


async def test_a_session_can_be_ended() -> None:
    sessions = Sessions(100)
    one, two = sessions.begin(User("bob")), sessions.begin(User("bob"))
    session = sessions.end(one)
    assert session is not None
    assert session.ended.is_set()
    assert sessions.end(one) is None
    assert sessions.find(one) is None
    assert sessions.find(two) is not None


async def test_the_table_is_bounded_and_one_user_cannot_fill_it() -> None:
    sessions = Sessions(100, most=5, most_of_one_user=3)
    bob = [sessions.begin(User("bob")) for _ in range(4)]
    assert [sessions.find(token) is not None for token in bob] == [False, True, True, True]
    others = [sessions.begin(User(f"user{index}")) for index in range(4)]
    assert len(sessions) == 5
    assert [sessions.find(token) is not None for token in bob] == [False, False, False, True]
    assert all(sessions.find(token) for token in others)


async def test_tokens_are_long_and_kept_as_digests_only() -> None:
    sessions = Sessions(100)
    tokens = {sessions.begin(User("bob")) for _ in range(50)}
    assert len(tokens) == 50
    for token in tokens:
        assert len(token.removeprefix(PREFIX)) >= 43
        assert password(token) is None
        assert token not in repr(vars(sessions))
    for wrong in ("", "x", "\ud800", PREFIX, next(iter(tokens))[:-1]):
        assert sessions.find(wrong) is None


async def test_wrong_guesses_of_a_client_take_ever_longer(autojump_clock: trio.testing.MockClock) -> None:
    throttle = Throttle()
    waits = []
    for index in range(14):
        wait = throttle.wait(HERE, f"user{index}")
        waits.append(wait)
        await trio.sleep(wait)
        throttle.attempt(HERE, f"user{index}")
    assert waits[: BY_CLIENT.free] == [0] * BY_CLIENT.free
    assert [round(wait) for wait in waits[BY_CLIENT.free :]] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert throttle.wait(OTHER, "user0") == 0


async def test_guesses_from_many_clients_at_one_user_wait_too(autojump_clock: trio.testing.MockClock) -> None:
    throttle = Throttle()
    for index in range(200):
        throttle.attempt((f"198.51.100.{index}", 1), "root")
    assert 0 < throttle.wait(OTHER, "root") <= BY_USER.longest
    assert throttle.wait(OTHER, "bob") == 0


async def test_guesses_at_once_count_before_they_are_answered() -> None:
    throttle = Throttle()
    let = 0
    for _ in range(100):
        if throttle.wait(HERE, "bob") == 0:
            throttle.attempt(HERE, "bob")
            let += 1
    assert let == BY_CLIENT.free


async def test_a_right_password_buys_no_guesses_at_others(autojump_clock: trio.testing.MockClock) -> None:
    throttle = Throttle()
    let = 0
    for _ in range(50):
        for name in ("own", "root"):
            if throttle.wait(HERE, name) == 0:
                throttle.attempt(HERE, name)
                if name == "own":
                    throttle.succeeded(HERE, name)
                else:
                    let += 1
    assert let == BY_CLIENT.free, "as many as without it"


async def test_who_types_a_password_right_at_last_may_go_on(autojump_clock: trio.testing.MockClock) -> None:
    throttle = Throttle()
    for _ in range(3):
        throttle.attempt(HERE, "bob")
    throttle.attempt(HERE, "bob")
    throttle.succeeded(HERE, "bob")
    for _ in range(100):
        assert throttle.wait(HERE, "bob") == 0
        throttle.attempt(HERE, "bob")
        throttle.succeeded(HERE, "bob")


async def test_failures_are_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    throttle = Throttle()
    for _ in range(8):
        throttle.attempt(HERE, "bob")
    await trio.sleep(1000)
    throttle.attempt(HERE, "bob")
    assert throttle.wait(HERE, "bob") == 0


async def test_an_ipv6_network_is_one_client() -> None:
    throttle = Throttle()
    for index in range(10):
        throttle.attempt((f"2001:db8::{index:x}", 1), None)
    assert throttle.wait(("2001:db8::ffff", 9), None) > 0
    assert throttle.wait(("2001:db8:0:1::1", 9), None) == 0
    for _ in range(10):
        throttle.attempt(("::ffff:192.0.2.1", 1), None)
    assert throttle.wait(HERE, None) > 0


attempts = st.tuples(st.integers(0, 30), st.integers(0, 5), st.sampled_from(["right", "wrong", "unknown"]))


@given(st.lists(attempts, max_size=100))
def test_the_counts_are_bounded(steps: list[tuple[int, int, str]]) -> None:
    async def check() -> None:
        throttle = Throttle(remembered=8)
        for client, user, end in steps:
            where, name = (f"192.0.2.{client}", 1), f"user{user}"
            assert throttle.wait(where, name) <= BY_CLIENT.longest
            throttle.attempt(where, name)
            if end == "right":
                throttle.succeeded(where, name)
            elif end == "unknown":
                throttle.take_back(where, name)
            assert len(throttle) <= 8

    trio.run(check)
