"""The OpenAPI 3.1 description of a server, which GET /openapi.json gives and GET /docs shows.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import adaptertune_deploy
from adaptertune_deploy.serve.http.intake import TIMEOUT
from adaptertune_deploy.serve.http.openapi import schemas
from adaptertune_deploy.serve.http.v2.infer_request import HEADER_LENGTH

JSON, BYTES = "application/json", "application/octet-stream"
MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
TEXT = {"type": "string"}
BINARY = {"type": "string", "format": "binary"}


def document(paths: Mapping[str, set[str]]) -> dict[str, Any]:
    """Return the description.

    Args:
        paths: the routes of the server and their methods; each is described.

    Raises:
        KeyError: a route that has no description.
    """
    found: dict[str, dict[str, Any]] = {}
    for path, methods in paths.items():
        for method in sorted(methods):
            found.setdefault(path, {})[method.lower()] = _operation(path, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "adaptertune-deploy",
            "version": adaptertune_deploy.__version__,
            "description": "Many vision tasks from one backbone. /v1/predict is the short way to ask; /v2 is the Open "
            "Inference Protocol.",
        },
        "paths": found,
        "components": {"schemas": schemas.SCHEMAS},
    }


def _operation(path: str, method: str) -> dict[str, Any]:
    """Return the description of one method of one route; one about a version differs by its path only."""
    base = path.replace("/versions/{version}", "")
    operation = {**OPERATIONS[f"{method} {base}"]}
    parameters = [*([MODEL] if "{model}" in path else []), *([VERSION] if base != path else [])]
    parameters += operation.pop("parameters", [])
    if parameters:
        operation["parameters"] = parameters
    return operation


def _answer(text: str, schema: str | None, kind: str = JSON) -> dict[str, Any]:
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else TEXT}}
    return {"description": text, "content": content}


def _operation_of(summary: str, answer: dict[str, Any], errors: tuple[int, ...] = (), **more: Any) -> dict[str, Any]:
    texts = {number: _answer(schemas.ERRORS[number], "Error") for number in errors}
    responses = {"200": answer, **{str(number): text for number, text in texts.items()}}
    return {"summary": summary, **more, "responses": responses}


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _header(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema, "description": text}


DEADLINE = _header(TIMEOUT, {"type": "number"}, "Seconds from the first byte after which the request is given up.")
ENCODING = _header("Content-Encoding", {"enum": ["gzip", "deflate"]}, "How the body is compressed.")
TASKS = "Names of tasks, with commas between them; all without it."
TOP_K = "Labels an answer, the most probable first; 5 without it."
ASKED = (400, 404, 408, 413, 415, 500, 503, 504)
SETTINGS = {"type": "object", "description": "Settings and values; to set another value than holds is refused."}
PREDICT = _operation_of(
    "Images in, labels out",
    _answer("An answer for every image and task.", "Prediction"),
    ASKED,
    parameters=[
        _query("tasks", TEXT, TASKS),
        _query("top_k", {"type": "integer", "minimum": 1}, TOP_K),
        DEADLINE,
        ENCODING,
    ],
    requestBody={
        "required": True,
        "description": "One image file, or a form of several. An address of an image is not fetched.",
        "content": {
            "image/*": {"schema": BINARY},
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/PredictForm"}},
        },
    },
)
INFER = _operation_of(
    "An inference request of the Open Inference Protocol",
    {
        "description": "In JSON; or JSON and the tensor behind it, where the request asks for binary outputs.",
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/InferResponse"}}, BYTES: {"schema": BINARY}},
    },
    ASKED,
    parameters=[
        _header(HEADER_LENGTH, {"type": "integer"}, "Bytes of JSON, where tensors follow it; 0 for one bare element."),
        DEADLINE,
        ENCODING,
    ],
    requestBody={
        "required": True,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/InferRequest"}}, BYTES: {"schema": BINARY}},
    },
)


def _settings(what: str) -> dict[str, dict[str, Any]]:
    """Return how settings are read and set."""
    body = {"content": {JSON: {"schema": SETTINGS}}}
    return {
        "GET": _operation_of(f"Settings of {what}", _answer("What holds.", "Settings")),
        "POST": _operation_of(
            f"Set what holds of {what}", _answer("What holds.", "Settings"), (400, 403, 413), requestBody=body
        ),
    }


# method and route -> its description
OPERATIONS: dict[str, dict[str, Any]] = {
    "POST /v1/predict": PREDICT,
    "GET /v2/health/live": _operation_of("Whether the server runs", _answer("It does.", "Live")),
    "GET /v2/health/ready": _operation_of("Whether requests should come", _answer("They should.", "Ready"), (503,)),
    "GET /v2": _operation_of("What this server is", _answer("Name, version, extensions.", "ServerMetadata")),
    "GET /v2/models": _operation_of("Names of the models", _answer("Two a task.", "Models")),
    "GET /v2/models/stats": _operation_of("Statistics of every task", _answer("One a task.", "Statistics")),
    "GET /v2/models/{model}": _operation_of(
        "Inputs and outputs of a model", _answer("Its description.", "ModelMetadata"), (404,)
    ),
    "GET /v2/models/{model}/ready": _operation_of(
        "Whether a model answers", _answer("It does.", "ModelReady"), (404, 503)
    ),
    "GET /v2/models/{model}/config": _operation_of(
        "Configuration of a model, as Triton writes it", _answer("Its configuration.", "ModelConfig"), (404,)
    ),
    "GET /v2/models/{model}/stats": _operation_of(
        "Statistics of a model", _answer("Times in nanoseconds.", "Statistics"), (404,)
    ),
    "POST /v2/models/{model}/infer": INFER,
    **{f"{method} /v2/logging": found for method, found in _settings("the log").items()},
    **{f"{method} /v2/trace/setting": found for method, found in _settings("tracing").items()},
    **{f"{method} /v2/models/{{model}}/trace/setting": found for method, found in _settings("tracing").items()},
    "GET /metrics": _operation_of("Metrics for Prometheus", _answer("Its text format.", None, "text/plain")),
}
