"""Who logs in. Whatever the way, only people whom the site's people source knows get in, and every
try is counted: whatever address of the hub checks a password asks ``get_authenticated_user``.
"""

from __future__ import annotations

import asyncio
import hmac
from importlib.metadata import entry_points
from secrets import token_hex
from typing import Any, cast

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import LoginHandler
from tornado import web  # type: ignore[attr-defined]
from traitlets.utils.importstring import import_item

from courseyard.agent.checks import check_username
from courseyard.errors import (
    AgentRefusedError,
    CourseyardError,
    SettingsError,
    SourceDownError,
    UnknownPersonError,
)
from courseyard.hub.failure import log_line
from courseyard.hub.home import words
from courseyard.hub.passwords import Passwords
from courseyard.hub.runtime import Runtime
from courseyard.hub.tries import TooManyTriesError, Try
from courseyard.hub.visitors import address_of

#: Longest username or password that can be right.
_LONGEST = 1024
#: Shown by a browser that has logged in with a name before: ``name:random``, signed by the hub.
_BROWSER = "courseyard-browser"
_REFUSED = (400, 401, 403)


class LoginForm(LoginHandler):
    """The log-in form, which refuses bytes that are no text as it refuses a wrong name."""

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return value.decode(errors="replace")


class KnownPeople(Authenticator):
    """Mixed into every authenticator: tries are counted, and People must know the account."""

    runtime: Runtime

    async def get_authenticated_user(self, handler: Any, data: Any) -> dict[str, Any] | None:
        """As JupyterHub's, which every way to log in comes through.

        Raises:
            HTTPError: 429 when there were too many tries; 403 when nobody knows the account; 503.
        """
        if isinstance(data, dict):
            data.setdefault("username", "")  # JupyterHub's refusal names it
        given = data["username"] if isinstance(data, dict) else None
        name = self.normalize_username(given[:_LONGEST]) if isinstance(given, str) else None
        attempt = self._begin(handler, name)
        try:
            model = await super().get_authenticated_user(handler, data)
        except web.HTTPError as error:
            if error.status_code not in _REFUSED:
                attempt.give_back()
            raise
        except Exception:
            attempt.give_back()
            raise
        if not model:
            return None
        attempt.give_back()
        await self._known(model)
        self._remember(handler, model["name"])
        return cast(dict[str, Any], model)

    def _begin(self, handler: Any, name: str | None) -> Try:
        address = address_of(handler.request, self.runtime.trusted)
        shown = (handler.get_secure_cookie(_BROWSER) or b"").decode("utf-8", "replace")
        known = name is not None and shown.rpartition(":")[0] == name
        try:
            return self.runtime.tries.begin(address, name, shown if known else None)
        except TooManyTriesError as error:
            self.log.warning(
                "Log-in refused: too many tries from %s for %r", address, (name or "")[:80]
            )
            refused = web.HTTPError(429, words.too_many_tries(error.wait))
            refused.headers = {"Retry-After": str(error.wait)}
            raise refused from error

    def _remember(self, handler: Any, name: str) -> None:
        """Give the browser tries of its own, for when others try this name."""
        handler._set_cookie(_BROWSER, f"{name}:{token_hex(16)}", path=handler.hub.base_url)

    async def _known(self, model: dict[str, Any]) -> None:
        """Refuse who has the right password and no account here."""
        try:
            person = await self.runtime.person(model["name"])
        except UnknownPersonError as error:
            self.log.warning("Log-in refused: %s", log_line(error))
            raise web.HTTPError(403, words.UNKNOWN_ACCOUNT) from error
        except CourseyardError as error:
            self.log.error("Log-in not possible: %s", log_line(error))  # noqa: TRY400
            raise web.HTTPError(503, words.PEOPLE_DOWN) from error
        if person.username != model["name"]:
            self.log.warning("Log-in refused: %r is %r", model["name"], person.username)
            raise web.HTTPError(403, words.UNKNOWN_ACCOUNT)

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The pages of the authenticator, with our form instead of JupyterHub's."""
        found = super().get_handlers(app)
        return [(path, LoginForm if page is LoginHandler else page) for path, page in found]

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """An account that the institution closed is logged out; a dead source logs out nobody."""
        try:
            await self.runtime.person(user.name)
        except UnknownPersonError:
            return False
        except SourceDownError:
            return True
        return await super().refresh_user(user, handler, **kwargs)


class DemoAuthenticator(Authenticator):
    """Accounts of the people file, each with a password of its own in ``passwords.yaml``."""

    runtime: Runtime

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._passwords = Passwords(self.runtime.site)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """The username when the password is right, else None."""
        username, password = data.get("username", ""), data.get("password", "")
        if max(len(username), len(password)) > _LONGEST:
            return None
        given = password.encode()
        try:
            passwords = await asyncio.to_thread(self._passwords.current)
        except SettingsError as error:
            self.log.error("Nobody can log in: %s", log_line(error))  # noqa: TRY400
            raise web.HTTPError(503, words.PASSWORDS_DOWN) from error
        wanted = passwords.get(self.normalize_username(username), "").encode()
        # The comparison takes as long for a name that nobody has.
        right = hmac.compare_digest(given, wanted or b"\0" * 16)
        return username if right and wanted else None


class PamAuthenticator(Authenticator):
    """The machine's own accounts; the agent asks PAM, because the hub has no rights."""

    runtime: Runtime

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """The username when PAM says yes, else None."""
        username, password = data.get("username", ""), data.get("password", "")
        name = self.normalize_username(username)
        try:
            # The agent's own rule, asked here: such a name is wrong like any other, and no fault.
            check_username(self.runtime.site, name)
        except AgentRefusedError:
            return None
        if len(password) > _LONGEST:
            return None
        try:
            right = await self.runtime.agent.pam_login(name, password)
        except CourseyardError as error:
            self.log.error("Log-in not possible: %s", log_line(error))  # noqa: TRY400
            raise web.HTTPError(503, words.LOGIN_DOWN) from error
        return username if right else None


def authenticator_class(name: str, runtime: Runtime) -> type[Authenticator]:
    """The authenticator that the site file names, made to accept known people alone.

    Raises:
        SettingsError: nothing has this name.
    """
    own = {"demo": DemoAuthenticator, "pam": PamAuthenticator}
    base = own.get(name) or installed(name)
    return type(
        base.__name__,
        (KnownPeople, base),
        {"__doc__": base.__doc__, "__module__": __name__, "runtime": runtime},
    )


def installed(name: str) -> type[Authenticator]:
    """The authenticator of this name that some package brings.

    Raises:
        SettingsError: nothing has this name, or it is none.
    """
    points = [p for p in entry_points(group="jupyterhub.authenticators") if p.name == name]
    try:
        found = points[0].load() if points else import_item(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"hub.authenticator: nothing has the name {name!r}.",
            "Write demo, pam, a name such as google, or module.ClassName.",
            detail=str(error),
        ) from error
    if not (isinstance(found, type) and issubclass(found, Authenticator)):
        raise SettingsError(f"hub.authenticator: {name!r} is not an authenticator.")
    return found
