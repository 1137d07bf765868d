"""From the name and the version that a client gives to the model that it means."""

from __future__ import annotations

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.models import VERSION, Model, model_of, task_of
from adaptertune_deploy.serve.service import Service

LONGEST = 80  # characters of a name that messages repeat


def find(service: Service, name: str, version: str = "") -> tuple[int, Model]:
    """Return the index of the task that a model asks, and the model.

    Args:
        service: which serves it.
        name: the model's.
        version: digits, or "" for whichever there is.

    Raises:
        RequestError: 404, there is no such model, or no such version of it.
    """
    task = task_of(name)
    place = service.place(task)
    if place is None:
        near = service.nearest(task[:LONGEST])
        hint = f".{near}" if near else ""
        raise RequestError(f"Request for unknown model: '{name[:LONGEST]}' is not found{hint}", 404)
    if version not in ("", VERSION):
        raise RequestError(f"Request for unknown model: '{name}' version {version[:20]} is not found", 404)
    session = service.session
    return place, model_of(name, session.tasks[place], session.preprocess)
