"""POST /v1/predict: images in, labels out.

    curl --data-binary @cat.jpg 'http://127.0.0.1:8000/v1/predict?tasks=pets,flowers&top_k=5'
    curl -F a=@cat.jpg -F b=@rose.jpg -F tasks=pets,flowers http://127.0.0.1:8000/v1/predict

The body is one encoded image, or a multipart form of several; parameters stand in the URL or in the form. The whole
request is refused when one image is bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from adaptertune_deploy.core.errors import ImageError, RequestError, did_you_mean
from adaptertune_deploy.serve.answering import Served
from adaptertune_deploy.serve.answers import Answer, answer
from adaptertune_deploy.serve.http import multipart
from adaptertune_deploy.serve.http.intake import take_in
from adaptertune_deploy.serve.http.multipart import Upload
from adaptertune_deploy.serve.http.responses import json_answer
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.tasks.generation import Generation
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline

JSON, URLENCODED = "application/json", "application/x-www-form-urlencoded"
ELSEWHERE = "JSON is answered at /v2/models/TASK/infer; here send the image's bytes (curl --data-binary @cat.jpg)"
STRIPPED = b"\r\n\0"  # what curl -d leaves out of a file, and every image has
CHANGED = "curl -d changes the bytes; use --data-binary"
PARAMETERS = ("tasks", "top_k")
DEFAULT_TOP_K = 5
DIGITS = 6
UNKNOWN_FORMAT = 415


@dataclass(frozen=True)
class Question:
    """What is asked: tasks of the current generation, in the order asked, and labels per answer."""

    tasks: tuple[ServedTask, ...]
    top_k: int


async def predict(request: Request) -> Response:
    """Answer POST /v1/predict."""
    service: Service = request.app.state.service
    current, asked = service.tasks.current, request.query_params.multi_items()
    question = parse_question(asked, current)
    content_type = request.headers.get("content-type", "")
    is_form = multipart.is_multipart(content_type)

    def parse(body: bytes) -> tuple[Question, Sequence[Upload]]:
        if not is_form:
            return question, [Upload("", body)]
        form = multipart.parse(body, content_type, service.settings.largest_request)
        return parse_question([*asked, *form.fields], current), form.uploads

    async def work(parsed: tuple[Question, Sequence[Upload]], arrived: float, deadline: Deadline) -> dict[str, object]:
        found, uploads = parsed
        try:
            served = await service.answer([upload.data for upload in uploads], found.tasks, arrived, deadline)
        except ImageError as error:
            raise _advised(error, multipart.media_type(content_type), uploads[0].data) from None
        with service.making(found.tasks, served):
            return _document(found, uploads, served)

    # Which tasks a form asks may stand in the form; an image alone is not looked into.
    certain = not is_form or "tasks" in dict(asked)
    effort = len if is_form else _nothing
    return json_answer(await take_in(request, question.tasks, parse, work, certain, effort))


def _advised(error: ImageError, kind: str, body: bytes) -> ImageError:
    """Return an error about a body, with what its client should do where its media type tells what that did."""
    found = str(error).partition("; ")[0]
    if kind == JSON and error.status == UNKNOWN_FORMAT:
        return ImageError(f"{found}; {ELSEWHERE}", error.status)
    if kind == URLENCODED and not any(byte in body for byte in STRIPPED):
        return ImageError(f"{found}; {CHANGED}", error.status)
    return error


def _nothing(body: bytes) -> int:
    return 0


def parse_question(values: Sequence[tuple[str, str]], current: Generation) -> Question:
    """Read the parameters of a request, from its URL and its form; without `tasks` every task answers.

    Args:
        values: names and texts.
        current: the tasks that may be asked.

    Raises:
        RequestError: 404 for an unknown task, 400 for anything else that is wrong.
    """
    given: dict[str, str] = {}
    for name, text in values:
        if name not in PARAMETERS:
            raise RequestError(
                f"unknown parameter '{name[:60]}', only {', '.join(PARAMETERS)}.{did_you_mean(name[:60], PARAMETERS)}"
            )
        if name in given:
            raise RequestError(f"parameter '{name}' is given twice; give it once")
        given[name] = text
    return Question(_parse_tasks(given.get("tasks"), current), _parse_top_k(given.get("top_k")))


def _parse_tasks(text: str | None, current: Generation) -> tuple[ServedTask, ...]:
    if text is None and len(current):
        return tuple(current)
    if text is None:
        raise RequestError("this server has no task now", 404)
    names = text.split(",")
    if len(set(names)) != len(names):
        raise RequestError("parameter 'tasks' names a task twice; name each once")
    found = []
    for name in names:
        task = current.get(name)
        if task is None:
            known = ", ".join(current.names) or "none"
            raise RequestError(f"no task '{name[:60]}', only {known}.{did_you_mean(name[:60], current.names)}", 404)
        found.append(task)
    return tuple(found)


def _parse_top_k(text: str | None) -> int:
    if text is None:
        return DEFAULT_TOP_K
    if not (text.isascii() and text.isdecimal() and int(text[:9]) >= 1 and len(text) <= 9):
        raise RequestError(f"parameter 'top_k' is '{text[:60]}', expected a whole number from 1")
    return int(text)


def _document(question: Question, uploads: Sequence[Upload], served: Served) -> dict[str, object]:
    width = len(question.tasks)
    images = []
    for place, upload in enumerate(uploads):
        rows = served.logits[place * width : (place + 1) * width]
        answers = [
            answer(place, task.spec, row, question.top_k) for task, row in zip(question.tasks, rows, strict=True)
        ]
        name = {"name": upload.name} if upload.name else {}
        images.append({"image": place, **name, "tasks": {item.task: _labels(item) for item in answers}})
    timing = served.timing
    return {
        "images": images,
        "versions": {task.name: str(task.version) for task in question.tasks},
        "latency_ms": {
            "read": _ms(timing.read_s),
            "preprocess": _ms(timing.preprocess_s),
            "queue": _ms(timing.queue_s),
            "infer": _ms(timing.infer_s),
            **({} if timing.cache_s is None else {"cache": _ms(timing.cache_s)}),
            "total": _ms(timing.total_s),
        },
        "batch": _batch(served),
        **({} if served.cached is None else {"cached": served.cached}),
    }


def _batch(served: Served) -> dict[str, int]:
    """Return what is said of the batch that a request rode in; zeros where the cache answered all of it."""
    batch = served.batch
    if batch is None:
        return {"rows": 0, "images": 0, "tasks": 0}
    return {"rows": batch.size, "images": batch.images, "tasks": len(batch.rows)}


def _labels(item: Answer) -> list[dict[str, object]]:
    return [
        {"label": label.label, "index": label.index, "probability": round(label.probability, DIGITS)}
        for label in item.top
    ]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
