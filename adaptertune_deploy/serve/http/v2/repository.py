"""The repository extension: which tasks there are, loading and unloading them, in Triton's shapes.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.core.adapter import SHIPS
from adaptertune_deploy.core.errors import AtdError, RequestError
from adaptertune_deploy.serve.http import typed_json
from adaptertune_deploy.serve.http.body import read_body
from adaptertune_deploy.serve.http.responses import error_answer, json_answer
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.tasks.index import READY, IndexEntry

ROOT = "/v2/repository"
ELSEWHERE = "tasks are loaded and unloaded on the admin listener only; start the server with: atd serve --admin"


class _Asked(msgspec.Struct):
    """The body of a request; all of it may be absent."""

    ready: bool = False
    parameters: dict[str, msgspec.Raw] = {}


FILE, SHIP = "file:", "ship"
_TEXT = msgspec.json.Decoder(str)
_ASKED = msgspec.json.Decoder(_Asked)


async def index(request: Request) -> Response:
    """Answer POST /v2/repository/index: every version with its state, those that are ready where that is asked."""
    asked = await _asked(request)
    entries = _service(request).loader.index()
    return json_answer([_entry(entry) for entry in entries if entry.state == READY or not asked.ready])


async def load(request: Request) -> Response:
    """Answer POST /v2/repository/models/{model}/load: out of the bundle, or out of the files that were sent.

    As in Triton a parameter "file:NAME" holds a file in base64; NAME is one below the adapter folder.
    """
    asked, name = await _asked(request), request.path_params["model"]
    sent, ship = _sent(asked, name)
    loader = _service(request).loader
    try:
        await (loader.put(name, sent, ship) if sent else loader.load(name))
    except RequestError:
        raise
    except AtdError as error:
        return error_answer(f"failed to load '{name:.80}': {error}", 500)
    return Response()


async def unload(request: Request) -> Response:
    """Answer POST /v2/repository/models/{model}/unload; what is not served counts as unloaded."""
    asked, name = await _asked(request), request.path_params["model"]
    unknown = asked.parameters.keys() - {"unload_dependents"}  # nothing depends on a task
    if unknown:
        raise RequestError(f"failed to unload '{name:.80}', unknown parameter '{min(unknown):.60}'")
    await _service(request).loader.unload(name)
    return Response()


async def elsewhere(request: Request) -> Response:
    """Refuse what only the admin listener does."""
    return error_answer(ELSEWHERE, 403)


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


def _entry(entry: IndexEntry) -> dict[str, Any]:
    reason = {"reason": entry.reason} if entry.reason else {}
    return {"name": entry.name, "version": str(entry.version), "state": entry.state, **reason}


def _sent(asked: _Asked, name: str) -> tuple[dict[str, str], str | None]:
    """Return the files that a load was sent, and the candidate that is to ship of them."""
    sent: dict[str, str] = {}
    for key, value in asked.parameters.items():
        if key != SHIP and not key.startswith(FILE):
            raise RequestError(f"failed to load '{name:.80}', unknown parameter '{key:.60}'")
        sent[key.removeprefix(FILE)] = typed_json.decode(value, _TEXT, f"parameter '{key:.60}' must be a string")
    ship = sent.pop(SHIP, None)
    if ship is not None and (ship not in SHIPS or not sent):
        raise RequestError(
            f"failed to load '{name:.80}', '{SHIP}' is one of {', '.join(SHIPS)}, of files that are sent"
        )
    return sent, ship


async def _asked(request: Request) -> _Asked:
    service = _service(request)
    with service.bytes.share() as share:
        body = await read_body(request, service.settings.body_limit, share)
        if not body:
            return _Asked()
        typed_json.check(body)
        return typed_json.decode(body, _ASKED, "the request must be a JSON object with 'ready' or 'parameters'")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
