"""The gatekeepers: one that asks for credentials, and one for ports where everybody is admin."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import final

import attrs
import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from skycore.errors import AuthUnavailable, Refusal
from skycore.plugin.auth import AuthBackend, User
from skycore.server.access import Caller, Identity
from skycore.server.auth import audit, form
from skycore.server.auth.credentials import COOKIE, MISSING, WRONG, Password, Presented, password, presented
from skycore.server.auth.origin import Origins
from skycore.server.auth.policy import Policy
from skycore.server.auth.session import PREFIX, Session, Sessions
from skycore.server.auth.throttle import Throttle
from skycore.server.auth.verified import Verified
from skycore.server.endpoint import caller_of

log = structlog.get_logger(__name__)

_PERMISSIONS = "permissions"
# Browsers drop larger cookies (RFC 6265, section 6.1, with room for the attributes).
_LARGEST_COOKIE = 3800
_JSON = "application/json; charset=UTF-8"
_NO_STORE = {"Cache-Control": "no-store"}


@final
@attrs.frozen
class Admitted:
    """Who asks, and the session by which they were known, if it was one."""

    user: User
    session: Session | None = None


@final
class OpenGate:
    """Everybody is admin, or what ``role`` says; a page of another site still cannot act through a browser.

    Without a ``policy`` everything is allowed.
    """

    def __init__(self, *, role: str, policy: Policy | None, origins: Origins) -> None:
        self._identity = Identity("admin", (role,))
        self._role = role
        self._policy = policy
        self._origins = origins

    async def identify(self, caller: Caller) -> Identity:
        """Admin.  Raises Refusal (403) for what another site's page asks for."""
        self._origins.check(caller)
        return self._identity

    async def admit(self, caller: Caller) -> tuple[Identity, Session | None]:
        """The same for a WebSocket's handshake."""
        self._origins.check(caller, handshake=True)
        return self._identity, None

    def allows(self, identity: Identity, object: str, action: str) -> bool:
        """What the policy says of the role."""
        return self._policy is None or self._policy.allows(self._role, object, action)

    async def login(self, request: Request) -> Response:
        """Anybody gets the empty token, as Skydive answers without authentication."""
        self._origins.check(caller_of(request))
        permissions = [] if self._policy is None else list(self._policy.permissions(self._role))
        return _logged_in("", permissions)

    async def logout(self, request: Request) -> Response:
        """There is nothing to end."""
        return _logged_out(secure=caller_of(request).secure)

    def audit(self, identity: Identity | None, caller: Caller, object: str, action: str, status: int) -> None:
        """One line."""
        audit.request(None if identity is None else identity.name, caller, object, action, status)


@final
class Guard:
    """Admits the users of a backend, by session or by name and password, and decides by role.

    ``role`` is that of users of whom the policy says nothing.
    """

    def __init__(
        self, backend: AuthBackend, *, role: str, policy: Policy, origins: Origins, session_time: float
    ) -> None:
        self._backend = backend
        self._role = role
        self._policy = policy
        self._origins = origins
        self._sessions = Sessions(session_time)
        self._verified = Verified(backend)
        self._throttle = Throttle()

    # ------------------------------------------------------------------ who asks

    async def identify(self, caller: Caller) -> Identity:
        """Raises Refusal: 401 for missing or wrong credentials, 403 for another site's page, 429, 503."""
        admitted = await self._admit(caller, handshake=False)
        return self._identity(admitted.user)

    async def admit(self, caller: Caller) -> tuple[Identity, Session | None]:
        """The same for a WebSocket's handshake, and the session that it belongs to."""
        admitted = await self._admit(caller, handshake=True)
        return self._identity(admitted.user), admitted.session

    async def _admit(self, caller: Caller, *, handshake: bool) -> Admitted:
        given = presented(caller)
        if given is None:
            raise Refusal(401, MISSING)
        if given.ambient:
            self._origins.check(caller, handshake=handshake)
        try:
            if given.token.startswith(PREFIX):
                return await self._by_session(given, caller)
            words = password(given.token)
            if words is not None:
                return Admitted(await self._by_password(words, caller))
            return Admitted(await self._by_token(given, caller))
        except AuthUnavailable as error:
            raise _unavailable(error) from error

    async def _by_session(self, given: Presented, caller: Caller) -> Admitted:
        session = self._sessions.find(given.token)
        if session is not None:
            if await self._backend.still(session.user):
                return Admitted(session.user, session)
            self._sessions.end(given.token)
        # A token of ours has 256 random bits: no guess, but one that has ended, so nobody has to wait for it.
        forget = _cookie(COOKIE, "", 0, secure=caller.secure)
        raise Refusal(401, WRONG, (("Set-Cookie", forget),) if given.ambient else ())

    async def _by_password(self, given: Password, caller: Caller) -> User:
        digest = self._verified.digest(given)
        user = await self._verified.find(digest)
        if user is not None:
            return user
        self._slow_down(caller, given.name)
        try:
            user = await self._verified.check(digest, given)
        except AuthUnavailable:
            self._throttle.take_back(caller.client, given.name)
            raise
        if user is None:
            raise self._wrong(caller, given.name)
        self._throttle.succeeded(caller.client, given.name)
        return user

    async def _by_token(self, given: Presented, caller: Caller) -> User:
        self._slow_down(caller, None)
        try:
            user = await self._backend.by_token(given.token)
        except AuthUnavailable:
            self._throttle.take_back(caller.client, None)
            raise
        if user is None:
            raise self._wrong(caller, None)
        self._throttle.succeeded(caller.client, None)
        return user

    def _slow_down(self, caller: Caller, name: str | None) -> None:
        wait = self._throttle.wait(caller.client, name)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise Refusal(429, f"too many wrong credentials; try again in {seconds} s", (("Retry-After", seconds),))
        self._throttle.attempt(caller.client, name)

    def _wrong(self, caller: Caller, name: str | None) -> Refusal:
        if self._throttle.wait(caller.client, name) > 0:
            audit.login("too many wrong credentials", name, caller)
        return Refusal(401, WRONG)

    # ------------------------------------------------------------------ what they may do

    def _identity(self, user: User) -> Identity:
        subject = self._subject(user.name)
        return Identity(user.name, self._policy.roles(subject) or (subject,))

    def _subject(self, name: str) -> str:
        return name if self._policy.knows(name) else self._role

    def allows(self, identity: Identity, object: str, action: str) -> bool:
        """What the policy says of the user, or of the default role."""
        return self._policy.allows(self._subject(identity.name), object, action)

    def audit(self, identity: Identity | None, caller: Caller, object: str, action: str, status: int) -> None:
        """One line; who is made to wait was noted when that began."""
        if status != 429:
            audit.request(None if identity is None else identity.name, caller, object, action, status)

    # ------------------------------------------------------------------ sessions

    async def login(self, request: Request) -> Response:
        """A session for a name and password.  Raises Refusal: 400, 401, 403, 413, 429, 503."""
        caller = caller_of(request)
        # A page that logs its visitor in as somebody else learns what the visitor does then.
        self._origins.check(caller)
        name, secret = await form.read(request)
        if not name:
            audit.login("login failed", None, caller)
            raise Refusal(401, MISSING)
        try:
            user = await self._by_password(Password(name, secret), caller)
        except AuthUnavailable as error:
            raise _unavailable(error) from error
        except Refusal as refusal:
            if refusal.status != 429:
                audit.login("login failed", name, caller)
            raise
        token = self._sessions.begin(user)
        audit.login("login", user.name, caller)
        permissions = list(self._policy.permissions(self._subject(user.name)))
        answer = _logged_in(token, permissions)
        lifetime = int(self._sessions.lifetime)
        answer.headers.append("Set-Cookie", _cookie(COOKIE, token, lifetime, secure=caller.secure))
        shown = b64encode(msgspec.json.encode(permissions)).decode()
        if len(shown) <= _LARGEST_COOKIE:
            cookie = _cookie(_PERMISSIONS, shown, lifetime, secure=caller.secure, hidden=False)
            answer.headers.append("Set-Cookie", cookie)
        return answer

    async def logout(self, request: Request) -> Response:
        """End the session that the request belongs to, if any."""
        caller = caller_of(request)
        given = presented(caller)
        if given is not None:
            if given.ambient:
                self._origins.check(caller)
            session = self._sessions.end(given.token)
            if session is not None:
                audit.login("logout", session.user.name, caller)
        return _logged_out(secure=caller.secure)


def _unavailable(error: AuthUnavailable) -> Refusal:
    return Refusal(503, f"credentials cannot be checked at present: {error}", (("Retry-After", "2"),))


def _logged_in(token: str, permissions: Sequence[object]) -> Response:
    body = msgspec.json.encode({"Token": token, "Permissions": permissions})
    return Response(body, media_type=_JSON, headers=_NO_STORE)


def _logged_out(*, secure: bool) -> Response:
    answer = Response(headers=_NO_STORE, media_type="text/plain")
    answer.headers.append("Set-Cookie", _cookie(COOKIE, "", 0, secure=secure))
    answer.headers.append("Set-Cookie", _cookie(_PERMISSIONS, "", 0, secure=secure, hidden=False))
    return answer


def _cookie(name: str, value: str, lifetime: int, *, secure: bool, hidden: bool = True) -> str:
    """``hidden``: scripts of the page cannot read it."""
    attributes = ["Path=/", f"Max-Age={lifetime}", "SameSite=Strict"]
    if hidden:
        attributes.append("HttpOnly")
    if secure:
        attributes.append("Secure")
    return f"{name}={value}; " + "; ".join(attributes)
