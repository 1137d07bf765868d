"""From the name and the version that a client gives to the model that it means."""

from __future__ import annotations

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.models import Model, model_of, task_of
from adaptertune_deploy.serve.service import Service

LONGEST = 80  # characters of a name that messages repeat


def find(service: Service, name: str, version: str = "") -> Model:
    """Return the model of this name, which asks a task of the current generation.

    Args:
        service: which serves it.
        name: the model's.
        version: digits, or "" for whichever there is.

    Raises:
        RequestError: 404, there is no such model, or no such version of it.
    """
    task = service.tasks.current.get(task_of(name))
    if task is None:
        near = service.nearest(task_of(name)[:LONGEST])
        hint = f".{near}" if near else ""
        raise RequestError(f"Request for unknown model: '{name[:LONGEST]}' is not found{hint}", 404)
    if version not in ("", str(task.version)):
        raise RequestError(f"Request for unknown model: '{name}' version {version[:20]} is not found", 404)
    return model_of(name, task, service.session.preprocess)
