"""The admin listener: a second address of the same server, on which its tasks are changed."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.http.app import Application
from adaptertune_deploy.serve.http.guard import Guard
from adaptertune_deploy.serve.http.responses import HANDLERS, json_answer
from adaptertune_deploy.serve.http.v2 import endpoints, repository
from adaptertune_deploy.serve.http.wire.address import bind, bind_unix, is_loopback
from adaptertune_deploy.serve.protocol import describe
from adaptertune_deploy.serve.service import Service

TOKEN = "ATD_ADMIN_TOKEN"
REPOSITORY = "model_repository"


@dataclass(frozen=True)
class Admin:
    """A bound socket, and who may use it. token: None lets everybody who reaches it."""

    listener: socket.socket
    token: str | None

    @property
    def where(self) -> str:
        """The address, as a client is given it: http://HOST:PORT, or the path of the socket."""
        name = self.listener.getsockname()
        if isinstance(name, str):
            return name
        host, port = name[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def make_app(self, service: Service) -> Starlette:
        """Return the application that changes a service, which another one starts and ends."""
        app = Application(
            routes=[
                Route("/v2", metadata),
                Route("/v2/health/live", endpoints.live),
                Route("/v2/health/ready", endpoints.ready),
                *repository.routes(),
            ],
            middleware=[Middleware(Guard, token=self.token)],
            exception_handlers=HANDLERS,
        )
        app.router.redirect_slashes = False
        app.state.service = service
        return app


async def metadata(request: Request) -> Response:
    """Answer GET /v2."""
    return json_answer({**describe.server_metadata(), "extensions": [REPOSITORY]})


def bind_admin(where: str, token: str | None) -> Admin:
    """Return the admin listener of an address.

    Args:
        where: HOST:PORT, or the path of a Unix socket, which has a "/" in it.
        token: which requests must have; None for none.

    Raises:
        UsageError: an address that can't be used, that others than this machine reach though there is no token, or a
            token that no header can hold.
    """
    if token is not None and (not token.isascii() or not token.isprintable() or not token.strip()):
        raise UsageError(f"{TOKEN}: expected printable ASCII characters")
    if "/" in where:
        return Admin(bind_unix(where), token)
    host, _, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal():
        raise UsageError(f"--admin {where}: expected HOST:PORT, such as 127.0.0.1:8001, or the path of a Unix socket")
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--admin {where}: others than this machine reach this address; set {TOKEN}, or listen on 127.0.0.1"
        )
    return Admin(bind(host, int(port[:6]), "--admin"), token)
