"""The endpoints under /v2: Open Inference Protocol v2, two models a task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.serve.http.intake import take_in
from adaptertune_deploy.serve.http.responses import error_answer, json_answer
from adaptertune_deploy.serve.http.v2 import infer_answer, infer_request, server_settings, shared_memory
from adaptertune_deploy.serve.protocol import describe, lookup
from adaptertune_deploy.serve.protocol.inference import InferRequest
from adaptertune_deploy.serve.protocol.models import Model, all_models
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.timing.deadline import Deadline

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


async def live(request: Request) -> Response:
    """Answer GET /v2/health/live: the event loop runs."""
    return json_answer({"live": True})


async def ready(request: Request) -> Response:
    """Answer GET /v2/health/ready: 503 while warming up and while shutting down."""
    reason = _service(request).not_ready
    return json_answer({"ready": True}) if reason is None else error_answer(f"not ready: {reason}", 503)


async def server_metadata(request: Request) -> Response:
    """Answer GET /v2."""
    return json_answer(describe.server_metadata())


async def list_models(request: Request) -> Response:
    """Answer GET /v2/models, which KServe's own server has too."""
    service = _service(request)
    models = all_models(service.tasks.current, service.session.preprocess)
    return json_answer({"models": [model.name for model in models]})


async def model_metadata(request: Request) -> Response:
    """Answer GET /v2/models/{model}[/versions/{version}]."""
    return json_answer(describe.model_metadata(_model(request), _service(request).session))


async def model_ready(request: Request) -> Response:
    """Answer GET /v2/models/{model}[/versions/{version}]/ready."""
    model = _model(request)
    reason = _service(request).not_ready
    if reason is not None:
        return error_answer(f"model '{model.name}' is not ready: {reason}", 503)
    return json_answer({"name": model.name, "ready": True})


async def model_config(request: Request) -> Response:
    """Answer GET /v2/models/{model}[/versions/{version}]/config."""
    service = _service(request)
    batcher = service.batcher
    config = describe.model_config(_model(request), service.session, service.settings, batcher.rows, batcher.instances)
    return json_answer(config)


async def model_statistics(request: Request) -> Response:
    """Answer GET /v2/models/{model}[/versions/{version}]/stats."""
    model = _model(request)
    entry = _service(request).statistics.tasks[model.task.identity]
    return json_answer({"model_stats": [describe.model_statistics((model.name, model.task.version), entry)]})


async def all_statistics(request: Request) -> Response:
    """Answer GET /v2/models/stats."""
    entries = _service(request).statistics.tasks.items()
    return json_answer({"model_stats": [describe.model_statistics(identity, entry) for identity, entry in entries]})


async def infer(request: Request) -> Response:
    """Answer POST /v2/models/{model}[/versions/{version}]/infer."""
    service = _service(request)
    model = _model(request)
    lines = request.headers.getlist(infer_request.HEADER_LENGTH)
    length = ", ".join(dict.fromkeys(lines)) if lines else None  # lines that differ are no number

    def parse(body: bytes) -> InferRequest:
        return infer_request.parse(body, length, model, model.largest_batch(service.settings))

    async def work(parsed: InferRequest, arrived: float, deadline: Deadline) -> tuple[bytes, dict[str, str]]:
        deadline = deadline.sooner(arrived, parsed.timeout_s)
        served = await service.answer(parsed.images, [model.task], arrived, deadline, parsed.priority)
        with service.making([model.task], served):
            return infer_answer.answer(parsed, model, served.logits)

    effort = functools.partial(infer_request.effort, length)
    content, headers = await take_in(request, [model.task], parse, work, effort=effort)
    return Response(content, headers=headers)


def routes() -> list[Route]:
    """Return every route under /v2."""
    per_model: list[tuple[str, Endpoint, str]] = [
        ("", model_metadata, "GET"),
        ("/ready", model_ready, "GET"),
        ("/config", model_config, "GET"),
        ("/stats", model_statistics, "GET"),
        ("/infer", infer, "POST"),
    ]
    found = [
        Route("/v2", server_metadata),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2/models", list_models),
        Route("/v2/models/stats", all_statistics),
    ]
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [Route(base + path, endpoint, methods=[method]) for path, endpoint, method in per_model]
    return found + server_settings.routes() + shared_memory.routes()


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _model(request: Request) -> Model:
    """Return the model that the path names, or raise RequestError (404)."""
    return lookup.find(_service(request), request.path_params["model"], request.path_params.get("version", ""))
