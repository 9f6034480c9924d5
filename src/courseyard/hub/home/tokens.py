"""API tokens: made on one page, after the password, and nowhere else without a token.

JupyterHub makes one for a cookie alone, and for a password without any log-in. A page of somebody's
server has a visitor's cookies as good as in hand; her password it does not know.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.users import UserTokenListAPIHandler
from tornado import web  # type: ignore[attr-defined]

from courseyard.hub.home import words
from courseyard.hub.home.base import Page

#: Longest note, in characters.
_NOTE = 100
#: Days for which a token may be valid.
DAYS = (7, 30, 180)


class TokenListApi(UserTokenListAPIHandler):
    """Makes a token for who has one already: never for a password, never for a cookie."""

    async def post(self, user_name: str) -> None:
        if not getattr(self, "_token_authenticated", False):
            raise web.HTTPError(403, words.MADE_ELSEWHERE)
        await super().post(user_name)


class TokenPage(Page):
    """The person's tokens for programs: a new one for the password, an end for each."""

    @web.authenticated
    async def get(self) -> None:
        await self._show()

    @web.authenticated
    async def post(self) -> None:
        if not self._asks_passwords():
            raise web.HTTPError(403, words.LOGGED_IN_ELSEWHERE)
        user = self.current_user
        given = {"username": user.name, "password": self.get_body_argument("password", "")}
        found = await self.authenticate(given)
        if not found or found["name"] != user.name:
            self.log.warning("No token for %s: the password was wrong", user.name)
            self.set_status(403)
            await self._show(wrong=True)
            return
        note = self.get_body_argument("note", "").strip()[:_NOTE] or words.TOKEN_NOTE
        days = self.get_body_argument("days", "")
        valid = int(days) if days in map(str, DAYS) else DAYS[0]
        token = user.new_api_token(note=note, expires_in=valid * 86400)
        self.log.info("%s made a token for %d days", user.name, valid)
        await self._show(token=token)

    def _asks_passwords(self) -> bool:
        return not (self.authenticator.login_service or self.authenticator.auto_login)

    async def _show(self, **more: Any) -> None:
        html = await self.render_template(
            "courseyard/tokens.html",
            tokens=self._rows(),
            days=DAYS,
            asks_passwords=self._asks_passwords(),
            **more,
        )
        self.set_header("Cache-Control", "no-store")
        self.finish(html)

    def _rows(self) -> list[dict[str, str]]:
        """What programs have; tokens of servers end with them."""
        return [
            {
                "id": token.api_id,
                "note": token.note or "",
                "until": f"{token.expires_at:%d %b %Y}" if token.expires_at else words.NO_END,
            }
            for token in self.current_user.api_tokens
            if token.client_id == "jupyterhub" and not (token.note or "").startswith("Server at ")
        ]


class TokenEnd(Page):
    """Ends one of the person's own tokens."""

    @web.authenticated
    async def post(self, token_id: str) -> None:
        for token in self.current_user.api_tokens:
            if token.api_id == token_id:
                self.db.delete(token)
        self.db.commit()
        self.redirect(f"{self.hub.base_url}token")
