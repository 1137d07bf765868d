"""GET and POST /v2/logging and /v2/trace/setting: settings that can be read, and not changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.serve.http import typed_json
from adaptertune_deploy.serve.http.body import read_body
from adaptertune_deploy.serve.http.responses import json_answer
from adaptertune_deploy.serve.protocol import lookup
from adaptertune_deploy.serve.protocol.fixed_settings import TRACING, check_unchanged, log_settings
from adaptertune_deploy.serve.service import Service

LIMIT = 4096  # bytes
_SETTINGS: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


async def logging(request: Request) -> Response:
    """Answer GET and POST /v2/logging."""
    return await _answer(request, log_settings())


async def tracing(request: Request) -> Response:
    """Answer GET and POST /v2/trace/setting and /v2/models/{model}/trace/setting."""
    if "model" in request.path_params:
        lookup.find(request.app.state.service, request.path_params["model"])
    return await _answer(request, TRACING)


def routes() -> list[Route]:
    """Return the routes of settings."""
    methods = ["GET", "POST"]
    return [
        Route("/v2/logging", logging, methods=methods),
        Route("/v2/trace/setting", tracing, methods=methods),
        Route("/v2/models/{model}/trace/setting", tracing, methods=methods),
    ]


async def _answer(request: Request, fixed: Mapping[str, Any]) -> Response:
    service: Service = request.app.state.service
    if request.method == "POST":
        with service.bytes.share() as share:
            body = await read_body(request, LIMIT, share)
        if body:
            typed_json.check(body)
            given = typed_json.decode(body, _SETTINGS, "the settings must be a JSON object")
            check_unchanged(given, fixed)
    return json_answer(fixed)
