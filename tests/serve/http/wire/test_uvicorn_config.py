from __future__ import annotations

from starlette.applications import Starlette

from adaptertune_deploy.serve.http.wire.uvicorn_config import uvicorn_config
from adaptertune_deploy.serve.settings import Settings


def test_idle_connections_are_left_to_the_watch() -> None:
    config = uvicorn_config(Starlette(), Settings(keep_alive=7.5))
    assert config.timeout_keep_alive > 7.5
    assert (config.lifespan, config.server_header, config.access_log) == ("on", False, False)
    assert not config.proxy_headers
    assert uvicorn_config(Starlette(), Settings(), "off").lifespan == "off"
