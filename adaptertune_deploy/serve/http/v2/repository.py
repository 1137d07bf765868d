"""The repository extension over HTTP; see protocol.repository."""

from __future__ import annotations

import base64
import binascii

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http import typed_json
from adaptertune_deploy.serve.http.body import read_body
from adaptertune_deploy.serve.http.responses import error_answer, json_answer
from adaptertune_deploy.serve.protocol import repository
from adaptertune_deploy.serve.service import Service

ROOT = "/v2/repository"


class _Asked(msgspec.Struct):
    """The body of a request; all of it may be absent."""

    ready: bool = False
    parameters: dict[str, msgspec.Raw] = {}


_TEXT = msgspec.json.Decoder(str)
_ASKED = msgspec.json.Decoder(_Asked)


async def index(request: Request) -> Response:
    """Answer POST /v2/repository/index."""
    service = _service(request)
    with service.bytes.share() as share:
        asked = _parse(await read_body(request, service.settings.body_limit, share))
    return json_answer(repository.index(service, asked.ready))


async def load(request: Request) -> Response:
    """Answer POST /v2/repository/models/{model}/load; a file is sent in base64."""
    service, name = _service(request), request.path_params["model"]

    def parse(body: bytes) -> repository.Sent:
        return repository.read_load(name, _parse(body).parameters, _text, _content)

    with service.bytes.share() as share:
        body = await read_body(request, service.settings.body_limit, share)
        await repository.load(service, name, await service.parsing.call(len(body), parse, body))
    return Response()


async def unload(request: Request) -> Response:
    """Answer POST /v2/repository/models/{model}/unload."""
    service = _service(request)
    with service.bytes.share() as share:
        asked = _parse(await read_body(request, service.settings.body_limit, share))
    await repository.unload(service, request.path_params["model"], asked.parameters)
    return Response()


async def elsewhere(request: Request) -> Response:
    """Refuse what only the admin listener does."""
    return error_answer(repository.ELSEWHERE, 403)


def routes() -> list[Route]:
    """Return the extension's routes."""
    return [
        Route(f"{ROOT}/index", index, methods=["POST"]),
        Route(f"{ROOT}/models/{{model}}/load", load, methods=["POST"]),
        Route(f"{ROOT}/models/{{model}}/unload", unload, methods=["POST"]),
    ]


def refusals() -> list[Route]:
    """Return the same routes for a listener that everybody may reach."""
    return [Route(route.path, elsewhere, methods=["POST"]) for route in routes()]


def _text(key: str, value: msgspec.Raw) -> str:
    return typed_json.decode(value, _TEXT, f"parameter '{key:.60}' must be a string")


def _content(key: str, value: msgspec.Raw) -> bytes:
    try:
        return base64.b64decode(_text(key, value), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(f"parameter '{key:.80}' is not valid base64") from None


def _parse(body: bytes) -> _Asked:
    if not body:
        return _Asked()
    typed_json.check(body)
    return typed_json.decode(body, _ASKED, "the request must be a JSON object with 'ready' or 'parameters'")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
