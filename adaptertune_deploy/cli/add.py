"""atd add: one more task for a bundle, without torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from adaptertune_deploy.cli import completion, console, interrupts, options, text


def add(
    adapter: Annotated[
        Path,
        typer.Argument(
            metavar="ADAPTER",
            help="Adapter folder, adapters/flowers for example.",
            autocompletion=completion.adapter_folders,
        ),
    ],
    ship: options.Ship = "auto",
    bundle: options.Bundle = Path("bundle"),
    as_json: options.Json = False,
) -> None:
    """Add a trained task to a bundle, or replace the task of that name; needs no torch.

    The shared graph stays as it is. The task's tensors are checked; its answers are not compared with torch's on
    images, which atd export does. A server that is running keeps its tasks until it is restarted.

    \b
    atd add adapters/flowers
    atd add adapters/flowers --bundle device/bundle
    atd add adapters/flowers --ship head    the tuned probe, whatever training chose
    """
    from adaptertune_deploy.cli import next as following
    from adaptertune_deploy.cli import tasks
    from adaptertune_deploy.core.bundle import MANIFEST_NAME, read_manifest
    from adaptertune_deploy.core.publish import add_task

    chosen = options.candidate(ship)
    tasks.check_adapter_folder(adapter)
    started = time.perf_counter()
    with interrupts.stoppable(interrupts.outcome(bundle / MANIFEST_NAME)), tasks.reading(bundle):
        record = add_task(bundle, adapter, tell=console.print_note, ship=chosen)
    seconds = time.perf_counter() - started
    name, file = record.task.name, bundle / record.file
    if as_json:
        facts = {"task": name, "rank": record.task.adapter.rank, "file": str(file), "seconds": round(seconds, 3)}
        console.print_json(facts)
        return
    held = [held.task.name for held in read_manifest(bundle).tasks]
    size = text.human_bytes(file.stat().st_size)
    cost = f"{record.task.adapter.words}, {size}, {seconds:.2f} s"
    console.print_line(f"added {name} to {bundle}/ ({cost}): {text.plural(len(held), 'task')}, the graph is unchanged")
    console.print_note(f"the tensors of {name} were checked; its answers were not compared with torch's on images")
    console.print_note("a running server keeps its tasks until it is restarted")
    image = following.sample_image(adapter)
    console.print_next(*following.serving(bundle, held, image))
