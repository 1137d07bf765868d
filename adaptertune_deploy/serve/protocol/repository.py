"""The repository extension, whichever wire it comes over: what a load may bring, what is done, what the index says.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from adaptertune_deploy.core.adapter.folder import SHIPS
from adaptertune_deploy.core.adapter.nested import rank_of
from adaptertune_deploy.core.errors import AtdError, RequestError
from adaptertune_deploy.serve.protocol.models import task_of
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.tasks.index import READY

EXTENSION = "model_repository"
ELSEWHERE = "tasks are loaded and unloaded on the admin listener only; start the server with: atd serve --admin"
FILE, SHIP = "file:", "ship"
UNLOADING = ("unload_dependents",)  # nothing depends on a task
Value = TypeVar("Value")


@dataclass(frozen=True)
class Sent:
    """What a load brings with it.

    files: path below the adapter folder -> content; none where the task comes out of the bundle.
    ship: the candidate that is to ship of them; None for the one that training chose.
    """

    files: Mapping[str, bytes]
    ship: str | None = None


def read_load(
    name: str,
    parameters: Mapping[str, Value],
    text: Callable[[str, Value], str],
    content: Callable[[str, Value], bytes],
) -> Sent:
    """Return what a load of a task brings: as in Triton a parameter "file:NAME" holds a file.

    Args:
        name: the task's.
        parameters: as the wire has them.
        text: returns a parameter's value that must be a text.
        content: returns a parameter's value that must be a file's content.

    Raises:
        RequestError: 400, an unknown parameter, or a candidate that there is not.
    """
    for key in parameters:
        if key != SHIP and not key.startswith(FILE):
            raise RequestError(f"failed to load '{name:.80}', unknown parameter '{key:.60}'")
    files = {key.removeprefix(FILE): content(key, value) for key, value in parameters.items() if key != SHIP}
    ship = text(SHIP, parameters[SHIP]) if SHIP in parameters else None
    if ship is not None and ((ship not in SHIPS and rank_of(ship) is None) or not files):
        raise RequestError(
            f"failed to load '{name:.80}', '{SHIP}' is {', '.join(SHIPS)} or adapter-N, of files that are sent"
        )
    return Sent(files, ship)


async def load(service: Service, name: str, sent: Sent) -> None:
    """Serve a task out of the bundle, or out of the files that were sent.

    Raises:
        RequestError: 500 with the reason where it can't be loaded; else see tasks.loader.Loader.
    """
    loader = service.loader
    try:
        await (loader.put(name, sent.files, sent.ship) if sent.files else loader.load(name))
    except RequestError:
        raise
    except AtdError as error:
        raise RequestError(f"failed to load '{name:.80}': {error}", 500) from None


async def unload(service: Service, name: str, parameters: Collection[str]) -> None:
    """Let new requests have no task of this name; what is not served counts as unloaded.

    Raises:
        RequestError: 400, an unknown parameter, or the name of a task's other model; else see tasks.loader.Loader.
    """
    unknown = set(parameters).difference(UNLOADING)
    if unknown:
        raise RequestError(f"failed to unload '{name:.80}', unknown parameter '{min(unknown):.60}'")
    task = task_of(name)
    if task != name and service.tasks.current.get(task) is not None:
        raise RequestError(f"{name:.80} is the task '{task:.80}' with tensors in; unload '{task:.80}'")
    await service.loader.unload(name)


def index(service: Service, ready: bool) -> list[dict[str, str]]:
    """Return every version with its state, those alone that are ready where that is asked."""
    entries = [entry for entry in service.loader.index() if entry.state == READY or not ready]
    return [
        {"name": entry.name, "version": str(entry.version), "state": entry.state}
        | ({"reason": entry.reason} if entry.reason else {})
        for entry in entries
    ]
