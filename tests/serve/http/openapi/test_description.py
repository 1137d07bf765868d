from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.serve.http.openapi import description
from adaptertune_deploy.serve.settings import Settings
from tests.serve.conftest import Launcher, Running
from tests.serve.http.test_routes import REFUSED, ROUTES
from tests.serve.http.v2.test_endpoints import json_request

jsonschema: Any = pytest.importorskip("jsonschema", reason="openapi-spec-validator is not installed")
DESCRIBED = [
    path for path in ROUTES if path.startswith(("/v", "/metrics")) and not any(part in path for part in REFUSED)
]
DOCUMENT = description.document({path: ROUTES[path] for path in DESCRIBED})


def test_the_description_is_valid_openapi() -> None:
    validator: Any = pytest.importorskip("openapi_spec_validator")
    validator.validate(DOCUMENT)


def test_a_route_without_a_description_is_noticed() -> None:
    with pytest.raises(KeyError, match="GET /v2/new"):
        description.document({"/v2/new": {"GET"}})


def check(path: str, method: str, status: int, answer: Any) -> None:
    """Assert that an answer is what the description says of it."""
    (content,) = list(DOCUMENT["paths"][path][method]["responses"][str(status)]["content"].values())[:1]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer)


@pytest.mark.parametrize("path", sorted(path for path in DOCUMENT["paths"] if path.startswith("/v2")))
def test_answers_are_what_the_description_says(server: Running, png: bytes, path: str) -> None:
    place = path.format(model="pets", version="1")
    for method in DOCUMENT["paths"][path]:
        body = json_request(png, id="7") if path.endswith("/infer") else {}
        response = server.client.request(method, place, **({"json": body} if method == "post" else {}))
        assert response.status_code == 200
        check(path, method, 200, response.json())


def test_predictions_and_errors_are_what_the_description_says(server: Running, launch: Launcher, png: bytes) -> None:
    check("/v1/predict", "post", 200, server.client.post("/v1/predict", content=png).json())
    form = server.client.post("/v1/predict", files=[("image", ("a.png", png))], data={"tasks": "pets"})
    check("/v1/predict", "post", 200, form.json())
    cached = launch(settings=Settings(cache=1)).client.post("/v1/predict", content=png).json()
    assert cached["cached"] == 0
    check("/v1/predict", "post", 200, cached)
    check("/v1/predict", "post", 404, server.client.post("/v1/predict?tasks=x", content=png).json())


def test_requests_are_what_the_description_says(png: bytes) -> None:
    schema = {"$ref": "#/components/schemas/InferRequest", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(json_request(png, id="7", outputs=[{"name": "logits"}]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"inputs": [{"name": "image"}]})
