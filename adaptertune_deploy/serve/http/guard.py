"""Who may change a server: whoever reaches the admin listener and knows its token; a web page only if it is its own."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from adaptertune_deploy.serve.http.responses import error_answer
from adaptertune_deploy.serve.listening.admin_access import NEEDED, TOKEN, lets_in

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="adaptertune-deploy"'}


class Guard:
    """Lets a request through that has the token, where there is one, and that no stranger's page made.

    A page of a stranger may make a browser send a POST to 127.0.0.1; browsers name that page in an Origin header. One
    that names this very listener proves little, since a stranger's name may have been made to mean 127.0.0.1: it passes
    with a token alone, which no stranger knows and no browser sends by itself.

    Args:
        app: what is guarded.
        token: None lets everybody pass who reaches it and is no browser's page.
        free: tells of a GET's path that it needs no token.
    """

    def __init__(self, app: ASGIApp, token: str | None, free: Callable[[str], bool] = lambda path: False) -> None:
        self._app, self._token, self._free = app, token, free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        origins = [value for name, value in headers if name == b"origin"]
        hosts = [value for name, value in headers if name == b"host"]
        if origins and not _same(origins, hosts):
            return error_answer("requests of other web pages are refused here", 403)
        if scope["method"] in ("GET", "HEAD") and self._free(scope["path"]):
            return None
        if origins and self._token is None:
            return error_answer(f"requests of web pages need a token; start the server with {TOKEN} set", 403)
        given = [value for name, value in headers if name == b"authorization"]
        return None if lets_in(self._token, given) else error_answer(NEEDED, 401, CHALLENGE)


def _same(origins: list[bytes], hosts: list[bytes]) -> bool:
    """Return whether one Origin names the one Host that was asked; a proxy may have taken the TLS away."""
    if len(origins) != 1 or len(hosts) != 1:
        return False
    try:
        named = urlsplit(origins[0].decode("latin-1"))
    except ValueError:
        return False
    return named.scheme in ("http", "https") and named.netloc.lower() == hosts[0].decode("latin-1").lower()
