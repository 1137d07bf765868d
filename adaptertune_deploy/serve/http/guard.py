"""Who may change a server: whoever reaches the admin listener and knows the token, and no web page."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from adaptertune_deploy.serve.admin_access import NEEDED, lets_in
from adaptertune_deploy.serve.http.responses import error_answer

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="adaptertune-deploy"'}


class Guard:
    """Lets a request through to an application that has the token, where there is one, and that no browser made.

    A page of a stranger may make a browser send a POST to 127.0.0.1; browsers say so with an Origin header.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        """Guard an application; without a token everybody may ask who reaches it."""
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if any(name == b"origin" for name, _ in headers):
            return error_answer("requests of web pages are refused here", 403)
        given = [value for name, value in headers if name == b"authorization"]
        return None if lets_in(self._token, given) else error_answer(NEEDED, 401, CHALLENGE)
