"""atd remove: one task less, in a bundle or in a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.parts import remote as servers
from adaptertune_deploy.cli.terminal import completion, console, interrupts, text


def remove(
    ctx: typer.Context,
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="The task's name.", autocompletion=completion.served_tasks)
    ],
    bundle: options.Bundle = Path("bundle"),
    server: servers.Server = None,
    as_json: options.Json = False,
) -> None:
    """Remove a task from a bundle, or unload it from a running server, whose bundle stays as it is.

    Requests that a server has admitted are answered by the task; later ones are not.

    \b
    atd remove flowers
    atd remove flowers --server http://127.0.0.1:8002    the token is read from $ATD_ADMIN_TOKEN
    """
    running = servers.remote(ctx, server)
    if running is not None:
        known = {entry["name"] for entry in running.index() if entry["state"] == "READY"}
        _check_known(task, known, running.where)
        running.unload(task)
        where, left = running.where, sorted(known - {task})
    else:
        from adaptertune_deploy.cli.parts import tasks
        from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME
        from adaptertune_deploy.core.bundle.publish import remove_task

        with interrupts.stoppable(interrupts.outcome(bundle / MANIFEST_NAME)), tasks.reading(bundle):
            manifest = remove_task(bundle, task, console.print_note)
        where, left = f"{bundle}/", [record.task.name for record in manifest.tasks]
    if as_json:
        console.print_json({"task": task, "removed_from": where, "tasks": left})
    else:
        console.print_line(f"removed {task} from {where}: {text.plural(len(left), 'task')} left")


def _check_known(task: str, known: set[str], where: str) -> None:
    from adaptertune_deploy.core.errors import UsageError, did_you_mean

    if task not in known:
        held = ", ".join(sorted(known)) or "none"
        raise UsageError(f"{where}: serves no task '{task}', only {held}.{did_you_mean(task, known)}")
