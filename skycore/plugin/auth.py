"""The contract between Skycore and its authentication backends: who is who, and nothing about what they may do.

A backend is a class, found by its entry point in the group ``skycore.auth``; the entry point's name is the word in
``auth.<name>.type``::

    class ExampleBackend:
        section = "auth.example"                 # where its settings stand when the section has the type's name

        @attrs.frozen
        class Settings:
            url: str = "https://directory"

        def __init__(self, settings: Settings) -> None: ...

        async def by_password(self, name: str, password: str) -> User | None: ...
        async def by_token(self, token: str) -> User | None: ...
        async def still(self, user: User) -> bool: ...

A plugin imports these names from ``skycore.plugin``.  Whatever a backend does that can block (hashing, files,
libraries without trio) runs in ``trio.to_thread``.  It raises AuthUnavailable when it cannot tell, and the client is
answered 503: neither let in nor told that it was wrong.  Sessions, roles, slowing down of guesses and audit lines are
Skycore's, the same for every backend.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import attrs


@attrs.frozen
class User:
    """Somebody whom a backend knows.

    ``stamp`` is the backend's own: what it needs in order to say later whether the user is ``still`` admitted
    (Keystone's token, a digest of the password's hash).  It is never shown.
    """

    name: str
    stamp: str = attrs.field(default="", repr=False)


class AuthBackend(Protocol):
    """What a backend offers.  Its constructor raises ValueError for settings that cannot work together."""

    section: ClassVar[str]
    Settings: ClassVar[type]

    def __init__(self, settings: Any) -> None: ...

    async def by_password(self, name: str, password: str) -> User | None:
        """The user with this name and password; None when there is none."""
        ...

    async def by_token(self, token: str) -> User | None:
        """The user of a token that is none of Skycore's own, such as Keystone's; None when there is none."""
        ...

    async def still(self, user: User) -> bool:
        """Whether a user of an earlier answer is still admitted.  Asked at every request of a session: be quick."""
        ...
