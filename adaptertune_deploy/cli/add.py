"""atd add: one more task for a bundle, without torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from adaptertune_deploy.cli import console, options


def add(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder, adapters/flowers for example.")],
    bundle: options.Bundle = Path("bundle"),
    as_json: options.Json = False,
) -> None:
    """Add a trained task to a bundle, or replace the task of that name; traces nothing and needs no torch.

    \b
    atd add adapters/flowers
    """
    from adaptertune_deploy.core.bundle import add_task

    started = time.perf_counter()
    record = add_task(bundle, adapter)
    seconds = time.perf_counter() - started
    if as_json:
        console.print_json({"task": record.task.name, "file": str(bundle / record.file), "seconds": round(seconds, 3)})
        return
    size = console.human_bytes((bundle / record.file).stat().st_size)
    console.out.print(f"added {record.task.name} to {bundle}/ ({size}, {seconds:.2f} s); the shared graph is unchanged")
    console.print_next(f"atd serve --bundle {bundle} --adapters {record.task.name}")
