"""The ASGI application: routes, error answers, start and end of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from adaptertune_deploy.serve import metrics
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http import page
from adaptertune_deploy.serve.http.exchange import Exchange, paths_of
from adaptertune_deploy.serve.http.index import index
from adaptertune_deploy.serve.http.openapi import page as described
from adaptertune_deploy.serve.http.responses import HANDLERS
from adaptertune_deploy.serve.http.v1 import predict
from adaptertune_deploy.serve.http.v2 import endpoints, repository
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from adaptertune_deploy.serve.tasks.versions import Numbering, counted


def make_app(
    session: Session,
    settings: Settings | None = None,
    told: Told | None = None,
    source: BundleSource | None = None,
    number: Numbering = counted,
) -> Starlette:
    """Return an application that answers from `session`, which stays the caller's to close.

    The application's lifespan starts the service, which warms up while health already answers, and ends it after
    every accepted request is answered. `app.state.service` is the service.

    Args:
        session: see session.open_session.
        settings: limits; None for the defaults.
        told: what the page tells people of the tasks; None where nothing is known.
        source: where further tasks come from; None where there are none.
        number: gives each content of a task its version.
    """
    service = Service(session, settings or Settings(), source, number)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = Application(
        routes=[
            Route("/", index),
            *page.routes(),
            *described.routes(),
            Route("/v1/predict", predict, methods=["POST"]),
            *endpoints.routes(),
            *repository.refusals(),
            Route("/metrics", show_metrics),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service, app.state.told, app.state.page = service, told or Told(), page.read_page()
    app.state.changes = False
    return app


async def show_metrics(request: Request) -> Response:
    """Answer GET /metrics in Prometheus' text format."""
    return Response(request.app.state.service.metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


class Application(Starlette):
    """Starlette with a layer around all of it, around what answers to faults of our own too."""

    def build_middleware_stack(self) -> ASGIApp:
        """See Starlette."""
        return Exchange(super().build_middleware_stack(), self.state.service, paths_of(self.routes))
