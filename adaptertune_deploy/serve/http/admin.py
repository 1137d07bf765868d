"""The admin listener: a second address of the same server, on which its tasks are changed."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.serve.http import page
from adaptertune_deploy.serve.http.app import Application
from adaptertune_deploy.serve.http.guard import Guard
from adaptertune_deploy.serve.http.index import index
from adaptertune_deploy.serve.http.responses import HANDLERS, json_answer
from adaptertune_deploy.serve.http.v1 import predict
from adaptertune_deploy.serve.http.v2 import endpoints, repository
from adaptertune_deploy.serve.listening.address import bind, bind_unix
from adaptertune_deploy.serve.listening.admin_access import check_address
from adaptertune_deploy.serve.protocol import describe
from adaptertune_deploy.serve.protocol import repository as repository_protocol


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

    def make_app(self, served: Starlette) -> Starlette:
        """Return the application that changes what another one serves, and shows its page with what that takes.

        Args:
            served: see app.make_app; it starts and ends the service.
        """
        app = Application(
            routes=[
                Route("/", index),
                *page.routes(),
                Route("/v1/predict", predict, methods=["POST"]),
                Route("/v2", metadata),
                Route("/v2/health/live", endpoints.live),
                Route("/v2/health/ready", endpoints.ready),
                *repository.routes(),
            ],
            middleware=[Middleware(Guard, token=self.token, free=page.is_of_page)],
            exception_handlers=HANDLERS,
        )
        app.router.redirect_slashes = False
        for name in ("service", "told", "page"):
            setattr(app.state, name, getattr(served.state, name))
        app.state.changes = self.token is not None
        return app


async def metadata(request: Request) -> Response:
    """Answer GET /v2."""
    return json_answer({**describe.server_metadata(), "extensions": [repository_protocol.EXTENSION]})


def bind_admin(where: str, token: str | None) -> Admin:
    """Return the admin listener of an address.

    Raises:
        UsageError: see admin_access.check_address; or the address can't be used.
    """
    address = check_address(where, token)
    if address.port is None:
        return Admin(bind_unix(address.host), token)
    return Admin(bind(address.host, address.port, "--admin"), token)
