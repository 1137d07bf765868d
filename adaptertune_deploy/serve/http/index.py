"""GET /: the page for people, the same facts as JSON for programs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.core.answers.accuracy import AccuracyRecord
from adaptertune_deploy.core.answers.significance import wilson
from adaptertune_deploy.serve.batching.batcher import Batcher
from adaptertune_deploy.serve.facts.about import About, AboutTask
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http import page
from adaptertune_deploy.serve.http.responses import json_answer
from adaptertune_deploy.serve.protocol import describe
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.tasks.served_task import ServedTask

DIGITS = 4
VARIES = {"Vary": "Accept", "Cache-Control": "no-store"}


async def index(request: Request) -> Response:
    """Answer GET /: what this server is, which tasks it serves, where to ask."""
    if page.wanted(request.headers.get("accept", "")):
        return page.show_page(request)
    state = request.app.state
    endpoints = sorted({route.path for route in request.app.routes if isinstance(route, Route)})
    found = {**await facts(state.service, state.told), "changes": state.changes, "endpoints": endpoints}
    return json_answer(found, headers=VARIES)


async def facts(service: Service, told: Told) -> dict[str, Any]:
    """Return what a server is and serves; `not_ready` is null while requests should come."""
    session, settings, tasks = service.session, service.settings, service.tasks.current
    known = await told.of(tasks)
    return {
        **describe.server_metadata(),
        "not_ready": service.not_ready,
        "form": session.form,
        **describe.engine(session),
        "backbone": _backbone(told.about),
        "batch": _batch(service.batcher),
        "limits": {"rows": settings.largest_request, "bytes": settings.body_limit, "pixels": settings.max_pixels},
        "tasks": {task.name: _task(task, service.loader.tier(task), known.get(task.name)) for task in tasks},
    }


def _batch(batcher: Batcher) -> dict[str, Any]:
    """Return rows of a batch and batches at a time at most, and images a second by the images of a run alone."""
    rates = {} if batcher.times is None else batcher.times.rates
    at_most = {"rows": batcher.rows, "at_once": batcher.instances}
    return {**at_most, "images_per_s": {str(images): round(rate, 1) for images, rate in rates.items()}}


def _backbone(about: About) -> dict[str, Any] | None:
    spec = about.backbone
    if spec is None:
        return None
    return {"name": spec.name, "blocks": spec.depth, "width": spec.width, "bytes": about.graph_bytes}


def _task(task: ServedTask, tier: str, about: AboutTask | None) -> dict[str, Any]:
    spec = task.spec
    known = {
        "version": str(task.version),
        "tier": tier,
        "classes": len(spec.labels),
        "rank": spec.adapter.rank,
        "blocks": list(spec.adapter.blocks),
    }
    if about is None:
        return known
    samples = [
        {"path": f"samples/{task.name}/{place}", "label": sample.label} for place, sample in enumerate(about.samples)
    ]
    return {**known, "bytes": about.bytes, "accuracy": _accuracy(about.accuracy), "samples": samples}


def _accuracy(found: AccuracyRecord | None) -> dict[str, Any] | None:
    """Return top-1 on the test images and its 95 % interval, all 0..1."""
    if found is None:
        return None
    low, high = (round(bound, DIGITS) for bound in wilson(found.right, found.images))
    top1 = round(found.right / found.images, DIGITS)
    return {"dataset": found.dataset, "images": found.images, "top1": top1, "low": low, "high": high}
