"""A real server on a free loopback port, asked as a client would ask it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.offline.classify import classify
from adaptertune_deploy.serve.sessions.session import Session, open_session

REQUESTS = 20
IMAGES_PER_TASK = 8
READY_TRIES = 200
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Sample:
    """An encoded image with the task it belongs to and its true label."""

    task: str
    label: str
    data: bytes


@dataclass(frozen=True)
class Served:
    """What the server answered.

    images: images of all tasks sent in one request.
    right: how many of them got their true label from their own task.
    largest_difference: of a served probability from the one that the same session gives without a server.
    latency_ms: task -> median milliseconds of one image over HTTP, from request to parsed answer.
    """

    images: int
    right: int
    largest_difference: float
    latency_ms: dict[str, float]


def ask_server(bundle: Path, folders: Sequence[Path], progress: Progress) -> Served:
    """Serve a bundle, send the held-back images of all its tasks in one request, and time single requests.

    Args:
        bundle: the bundle's folder.
        folders: adapter folders, whose held-back images are sent.
        progress: told after every request.

    Raises:
        AtdError: the server does not answer, or answers otherwise than the session does.
    """
    groups = {folder.name: _samples(folder) for folder in folders}
    sent = [sample for group in groups.values() for sample in group]
    session = open_session(bundle, list(groups))
    try:
        with serving(make_app(session)) as url:
            _wait_until_ready(url)
            document = _post_all(f"{url}/v1/predict?tasks={','.join(groups)}&top_k=3", sent)
            latency = {
                task: _time_requests(f"{url}/v1/predict?tasks={task}", task, group[0].data, progress)
                for task, group in groups.items()
            }
        difference = _largest_difference(session, sent, document)
    finally:
        session.close()
    right = sum(
        image["tasks"][sample.task][0]["label"] == sample.label
        for sample, image in zip(sent, document["images"], strict=True)
    )
    return Served(len(sent), right, difference, latency)


def _samples(folder: Path) -> list[Sample]:
    """Return held-back images of a task, at even distances so that many classes are among them."""
    found = samples.find(folder, read_config(folder).samples)
    if not found:
        raise AtdError(f"{folder}: the images that training held back are gone; train the task again")
    step = max(1, len(found) // IMAGES_PER_TASK)
    return [Sample(folder.name, record.label, path.read_bytes()) for record, path in found[::step][:IMAGES_PER_TASK]]


def _wait_until_ready(url: str) -> None:
    for _ in range(READY_TRIES):
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError:
            time.sleep(0.05)
    raise AtdError(f"the server did not become ready within {READY_TRIES * 0.05:.0f} seconds; try again")


def _post_all(url: str, sent: Sequence[Sample]) -> dict[str, Any]:
    """Send all images as one multipart form (RFC 7578)."""
    boundary = uuid.uuid4().hex
    parts = []
    for index, sample in enumerate(sent):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image{index}"; filename="image{index}"\r\n\r\n'
        parts.append(head.encode() + sample.data + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return _post(url, body, f"multipart/form-data; boundary={boundary}")


def _post(url: str, body: bytes, content_type: str) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def _time_requests(url: str, task: str, data: bytes, progress: Progress) -> float:
    milliseconds = []
    for done in range(1, REQUESTS + 1):
        started = time.perf_counter()
        _post(url, data, "application/octet-stream")
        milliseconds.append((time.perf_counter() - started) * 1000)
        progress(f"serve {task}", done, REQUESTS)
    return float(median(milliseconds))


def _largest_difference(session: Session, sent: Sequence[Sample], document: dict[str, Any]) -> float:
    answers = classify(session, [sample.data for sample in sent], None, 3)
    return max(
        abs(float(served["probability"]) - direct.probability)
        for answer in answers
        for served, direct in zip(document["images"][answer.image]["tasks"][answer.task], answer.top, strict=True)
    )
