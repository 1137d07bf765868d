"""The documents that requests and answers hold, as JSON Schema; see openapi."""

from __future__ import annotations

from typing import Any

ERRORS = {
    400: "The request is wrong.",
    403: "It is not allowed.",
    404: "There is no such task, model or version.",
    408: "The body came too slowly.",
    413: "The body, an image or the batch is too large.",
    415: "It is no image, or compressed in an unknown way.",
    500: "The engine failed.",
    503: "The server is full, warming up or shutting down; Retry-After says when to come again.",
    504: "The deadline passed.",
}
TEXT, NUMBER, INTEGER, BOOLEAN = ({"type": name} for name in ("string", "number", "integer", "boolean"))
DURATION = {"type": "object", "properties": {"count": INTEGER, "ns": INTEGER}, "required": ["count", "ns"]}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, more: bool = False) -> dict[str, Any]:
    """Return the schema of an object; `more` allows properties that are not named."""
    schema: dict[str, Any] = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return schema if more else {**schema, "additionalProperties": False}


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _map(values: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


DATA = {"type": "array", "description": "Values row by row, flat or nested; BYTES as base64 in requests."}
PARAMETERS = {"type": "object"}
TENSOR = {"name": TEXT, "datatype": TEXT, "shape": _array(INTEGER)}
LABEL = _object({"label": TEXT, "index": INTEGER, "probability": NUMBER})
PHASES = ("read", "preprocess", "queue", "infer", "total")
STEPS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
SCHEMAS: dict[str, dict[str, Any]] = {
    "Error": _object({"error": TEXT}),
    "PredictForm": _object(
        {},
        {"tasks": TEXT, "top_k": INTEGER, "image": _array({"type": "string", "format": "binary"})},
        more=True,
    ),
    "Prediction": _object(
        {
            "images": _array(_object({"image": INTEGER, "tasks": _map(_array(LABEL))}, {"name": TEXT})),
            "versions": _map(TEXT),
            "latency_ms": _object(dict.fromkeys(PHASES, NUMBER), {"cache": NUMBER}),
            "batch": _object({"rows": INTEGER, "images": INTEGER, "tasks": INTEGER}),
        },
        {"cached": {**INTEGER, "description": "Rows that the response cache answered; with --cache alone."}},
    ),
    "Live": _object({"live": BOOLEAN}),
    "Ready": _object({"ready": BOOLEAN}),
    "ModelReady": _object({"name": TEXT, "ready": BOOLEAN}),
    "ServerMetadata": _object({"name": TEXT, "version": TEXT, "extensions": _array(TEXT)}),
    "Models": _object({"models": _array(TEXT)}),
    "ModelMetadata": _object(
        {
            "name": TEXT,
            "versions": _array(TEXT),
            "platform": TEXT,
            "inputs": _array(_object(TENSOR)),
            "outputs": _array(_object(TENSOR)),
            "parameters": PARAMETERS,
        }
    ),
    "ModelConfig": _object(
        {"name": TEXT, "max_batch_size": INTEGER, "input": _array(PARAMETERS), "output": _array(PARAMETERS)}, more=True
    ),
    "Statistics": _object(
        {
            "model_stats": _array(
                _object(
                    {
                        "name": TEXT,
                        "version": TEXT,
                        "last_inference": INTEGER,
                        "inference_count": INTEGER,
                        "execution_count": INTEGER,
                        "inference_stats": _object(dict.fromkeys(STEPS, DURATION)),
                        "batch_stats": _array(PARAMETERS),
                    },
                    more=True,
                )
            )
        }
    ),
    "InferRequest": _object(
        {"inputs": _array(_object(TENSOR, {"parameters": PARAMETERS, "data": DATA}))},
        {"id": TEXT, "outputs": _array(_object({"name": TEXT}, {"parameters": PARAMETERS})), "parameters": PARAMETERS},
        more=True,
    ),
    "InferResponse": _object(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "outputs": _array(_object(TENSOR, {"parameters": PARAMETERS, "data": DATA})),
        },
        {"id": TEXT},
    ),
    "Settings": {"type": "object"},
}
