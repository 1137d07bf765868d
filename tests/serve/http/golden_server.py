"""A server with the two models of the recorded traffic: `ident` gives its input back, `img` measures its bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.spec import HEAD_ONLY, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.engine_facts import facts_of
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.protocol import lookup
from adaptertune_deploy.serve.protocol.models import Model
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.builders import make_preprocess_spec
from tests.serve.conftest import Running, make_client, wait_ready
from tests.serve.fakes import FakeEngine

FOLDER = Path(__file__).with_name("golden")
LINES: list[dict[str, Any]] = [
    json.loads(line) for line in (FOLDER / "triton-2.51-wire.jsonl").read_text().splitlines()
]


@dataclass(frozen=True)
class Content:
    """A request or an answer: its headers in small letters, and its body."""

    headers: Mapping[str, str]
    body: bytes


def content(part: Mapping[str, Any]) -> Content:
    """Return what was recorded of one side."""
    body = base64.b64decode(part["body_b64"]) if "body_b64" in part else part.get("body", "").encode()
    return Content({name.lower(): value for name, value in part.get("headers", {}).items()}, body)


class GoldenSession:
    """Both models in one session; see sessions.session.Session."""

    form = "shared"

    def __init__(self) -> None:
        labels = {name: (FOLDER / "models" / name / "labels.txt").read_text().split() for name in ("ident", "img")}
        self.tasks = {key: TaskSpec(name, tuple(labels[name]), HEAD_ONLY) for key, name in enumerate(labels)}
        self.digests = dict.fromkeys(self.tasks, "")
        self.preprocess = make_preprocess_spec()
        self.engine = facts_of(FakeEngine())

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        rows = images.reshape(len(images), -1)
        return [rows[place, : len(self.tasks[key].labels)] for place, key in zip(image, task, strict=True)]

    def close(self) -> None:
        pass


async def measured(encoded: Sequence[bytes], deadline: object) -> Array:
    """Return what `img` says of encoded images, in the place of decoding them."""
    return np.array([[len(data), data[0] if data else 0, 0] for data in encoded], dtype=np.float32)


@contextmanager
def golden_server() -> Iterator[Running]:
    """Serve both models under their recorded names, inputs and outputs."""
    found = lookup.find

    def find(service: Service, name: str, version: str = "") -> Model:
        model = found(service, name, version)
        if name == "ident":
            return replace(model, input="INPUT0", output="OUTPUT0", datatype="FP32", dims=(4,))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "find", find)
        app = make_app(GoldenSession(), Settings(max_request_rows=8))  # type: ignore[arg-type]
        patch.setattr(app.state.service.images, "load", measured)
        with serving(app) as url, make_client(url) as client:
            running = Running(url, client, FakeEngine(), app.state.service)
            wait_ready(running)
            yield running
