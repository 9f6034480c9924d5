"""Who logs in. Whatever the way, only people whom the site's people source knows get in."""

from __future__ import annotations

import asyncio
import hmac
from importlib.metadata import entry_points
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

#: Longest username or password that can be right.
_LONGEST = 1024


class LoginForm(LoginHandler):
    """The log-in form, which refuses bytes that are no text as it refuses a wrong name."""

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return value.decode(errors="replace")


class KnownPeople(Authenticator):
    """Mixed into every authenticator: the account must be one that People knows."""

    runtime: Runtime

    async def get_authenticated_user(self, handler: Any, data: Any) -> dict[str, Any] | None:
        if isinstance(data, dict):
            data.setdefault("username", "")  # JupyterHub's refusal names it
        model = await super().get_authenticated_user(handler, data)
        if not model:
            return None
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
        return cast(dict[str, Any], model)

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
