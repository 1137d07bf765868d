"""A server with the two models of the recorded traffic: `ident` gives its input back, `img` measures its bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.spec import HEAD_ONLY, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.http.admin import bind_admin
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.protocol import lookup
from adaptertune_deploy.serve.protocol.models import Model
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.loader import Loaded
from tests.builders import make_adapter, make_backbone_spec
from tests.serve.conftest import Running, make_client, wait_ready
from tests.serve.fakes import WIDTH, FakeEngine, make_shared

SAME = "same"  # content under a name, so that it keeps its version
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


def make_session(patch: pytest.MonkeyPatch) -> SharedSession:
    """Return a session with both models."""
    labels = {name: (FOLDER / "models" / name / "labels.txt").read_text().split() for name in ("ident", "img")}
    specs = [TaskSpec(name, tuple(found), HEAD_ONLY) for name, found in labels.items()]
    session = make_shared(adapters=[make_adapter(spec, make_backbone_spec(width=WIDTH)) for spec in specs])

    def run(images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        rows = images.reshape(len(images), -1)
        return [rows[place, : len(session.tasks[key].labels)] for place, key in zip(image, task, strict=True)]

    patch.setattr(SharedSession, "digests", property(lambda held: dict.fromkeys(held.tasks, SAME)))
    patch.setattr(session, "run", run)
    patch.setattr(session, "unload", lambda key: None)  # the same comes again
    return session


async def measured(encoded: Sequence[bytes], *_: object) -> Array:
    """Return what `img` says of encoded images, in the place of decoding them."""
    return np.array([[len(data), data[0] if data else 0, 0] for data in encoded], dtype=np.float32)


def load_again(service: Service) -> Callable[[str], Awaitable[None]]:
    """Return what loads either model, in the place of loading it from a bundle."""
    session, load = service.session, service.loader.load

    keys = {spec.name: key for key, spec in session.tasks.items()}

    async def loaded(name: str) -> None:
        if name not in keys:
            return await load(name)
        key = keys[name]
        again = Loaded(key, session.tasks[key], SAME, lambda: key)
        return await service.loader.change(name, lambda served: None if served else again)

    return loaded


@contextmanager
def golden_server() -> Iterator[tuple[Running, httpx.Client]]:
    """Serve both models under their recorded names, inputs and outputs; yields a client of the admin listener too."""
    found = lookup.find

    def find(service: Service, name: str, version: str = "") -> Model:
        model = found(service, name, version)
        if name == "ident":
            return replace(model, input="INPUT0", output="OUTPUT0", datatype="FP32", dims=(4,))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "find", find)
        app = make_app(make_session(patch), Settings(max_request_rows=8))
        service = app.state.service
        patch.setattr(service.images, "load", measured)
        patch.setattr(service.loader, "load", load_again(service))
        nothing = SimpleNamespace(manifest=SimpleNamespace(tasks=()))
        patch.setattr(service.loader, "source", SimpleNamespace(read=lambda: nothing))  # a bundle without tasks
        admin = bind_admin("127.0.0.1:0", None)
        where = admin.where
        with (
            serving(app, admin=admin) as url,
            make_client(url) as client,
            make_client(where) as changes,
        ):
            running = Running(url, client, FakeEngine(), service)
            wait_ready(running)
            yield running, changes
