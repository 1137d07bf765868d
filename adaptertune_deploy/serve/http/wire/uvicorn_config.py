"""How uvicorn is told to run an application: with our limits, and without what they replace."""

from __future__ import annotations

import math
from typing import Literal

import uvicorn
from starlette.applications import Starlette

from adaptertune_deploy.serve.http.wire.watch import LINGER_S
from adaptertune_deploy.serve.settings import Settings


def uvicorn_config(app: Starlette, settings: Settings, lifespan: Literal["on", "off"] = "on") -> uvicorn.Config:
    """Return the configuration of a listener; an application that another one starts and ends has no lifespan."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # X-Forwarded-For is what anybody on this machine writes
        # The watch closes idle connections; uvicorn takes whole seconds only.
        timeout_keep_alive=math.ceil(settings.keep_alive) + 1,
        timeout_graceful_shutdown=math.ceil(LINGER_S) + 2,  # by then nothing is left
    )
