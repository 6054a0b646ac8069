"""The backend ``noauth``: everybody is ``admin``."""

from __future__ import annotations

from typing import ClassVar, final

from skycore.config.sections import NoAuth
from skycore.plugin.auth import User

ADMIN = User("admin")


@final
class NoAuthBackend:
    """Takes any name, password and token."""

    section: ClassVar[str] = "auth.noauth"
    Settings: ClassVar[type] = NoAuth

    def __init__(self, settings: NoAuth) -> None:
        pass

    async def by_password(self, name: str, password: str) -> User | None:
        """Always admin."""
        return ADMIN

    async def by_token(self, token: str) -> User | None:
        """Always admin."""
        return ADMIN

    async def still(self, user: User) -> bool:
        """Always."""
        return True
