"""atd add: one more task for a bundle, without torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts import engines, options
from adaptertune_deploy.cli.parts import remote as servers
from adaptertune_deploy.cli.parts.options import OUTPUT, flag
from adaptertune_deploy.cli.terminal import completion, console, interrupts, text
from adaptertune_deploy.core.errors import AtdError, UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.core.bundle.manifest import Manifest, TaskRecord
    from adaptertune_deploy.core.bundle.publish import Merge
    from adaptertune_deploy.engines.verification.added import Verification


def add(
    ctx: typer.Context,
    adapter: Annotated[
        Path,
        typer.Argument(
            metavar="ADAPTER",
            help="Adapter folder, adapters/flowers for example.",
            autocompletion=completion.adapter_folders,
        ),
    ],
    ship: options.Ship = "auto",
    rank: options.AtRank = None,
    merge: Annotated[bool, flag("--merge", OUTPUT, "Also write the task's self-contained graph; needs onnx.")] = False,
    engine: engines.Engine = "onnxruntime",
    device: engines.Device = "cpu",
    precision: engines.Precision = "fp32",
    settings: engines.Settings = None,
    bundle: options.Bundle = Path("bundle"),
    server: servers.Server = None,
    as_json: options.Json = False,
) -> None:
    """Add a trained task to a bundle, or replace the task of that name; needs no torch.

    The shared graph stays as it is. The task's answers on the images that training held back are compared with those
    that torch gave then, where the images are on this machine; a task that differs is not added. A running server
    follows the bundle with --watch. With --server the task is sent to a running server, which verifies and serves it
    from memory: its bundle stays as it is.

    \b
    atd add adapters/flowers
    atd add adapters/flowers --bundle device/bundle
    atd add adapters/flowers --merge        also its graph of its own
    atd add adapters/flowers --ship head    the tuned probe, whatever training chose
    atd add adapters/flowers --rank 4       nested adapters, cut
    atd add adapters/flowers --server http://127.0.0.1:8002
    """
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.core.adapter.cutting import at_rank, cost_of
    from adaptertune_deploy.core.adapter.folder import read_config
    from adaptertune_deploy.core.adapter.nested import rank_of
    from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME, read_manifest
    from adaptertune_deploy.core.bundle.publish import add_task

    asked_rank, chosen = options.at_rank(rank), options.candidate(ship)
    tasks.check_adapter_folder(adapter)
    config = read_config(adapter)
    chosen = at_rank(config, chosen, asked_rank)
    width = rank_of(chosen or "")
    running = servers.remote(ctx, server)
    if running is not None:
        _send(running, adapter, chosen, merge, as_json)
        return
    from adaptertune_deploy.engines.verification.added import verification

    asked = engines.asked(engine, device, settings, precision) if engines.can_verify(engine) else None
    merging = _merging() if merge else None
    started = time.perf_counter()
    with interrupts.stoppable(interrupts.outcome(bundle / MANIFEST_NAME)), tasks.reading(bundle):
        check = verification(bundle, adapter, chosen, asked)
        record = add_task(bundle, adapter, console.print_note, chosen, check.measure, merging)
    seconds = time.perf_counter() - started
    manifest = read_manifest(bundle)
    if as_json:
        console.print_json(_facts(bundle, manifest, record, check, seconds))
        return
    held = [held.task.name for held in manifest.tasks]
    size = text.human_bytes((bundle / record.file).stat().st_size)
    cost = f"{record.task.adapter.words}, {size}, {seconds:.2f} s"
    name = record.task.name
    console.print_line(f"added {name} to {bundle}/ ({cost}): {text.plural(len(held), 'task')}, the graph is unchanged")
    if width is not None:
        console.print_line(cost_of(config, width))
    _say_parity(manifest, name, check)
    console.print_note("a running server serves it at once with --watch, else after a restart or SIGHUP")
    from adaptertune_deploy.cli.terminal import next as following

    precisions, image = {graph.precision for graph in manifest.graphs}, following.sample_image(adapter)
    console.print_next(*following.serving(bundle, held, image, precisions, engine))


def _send(running: servers.Remote, adapter: Path, ship: str | None, merge: bool, as_json: bool) -> None:
    """Send a task to a running server, and say which version it is there."""
    from adaptertune_deploy.core.adapter.folder import read_config

    if merge:
        raise UsageError("--merge and --server: a running server takes no graphs; leave out one of them")
    name, started = read_config(adapter).task.name, time.perf_counter()
    running.load(name, {**servers.adapter_files(adapter), **({"ship": ship} if ship else {})})
    seconds = time.perf_counter() - started
    ready = (entry["version"] for entry in running.index() if (entry["name"], entry["state"]) == (name, "READY"))
    version = next(ready, None)
    if version is None:
        raise AtdError(f"{running.where}: took {name} and serves it no more, somebody else changed it; see atd list")
    if as_json:
        console.print_json({"task": name, "version": version, "server": running.where, "seconds": round(seconds, 3)})
    else:
        console.print_line(f"{running.where} serves {name} as version {version} ({seconds:.2f} s)")
        console.print_note("it is served from memory: the server's bundle holds what it held")


def _merging() -> Merge:
    """Return what makes a merged graph; without onnx this ends with a line that says what to install."""
    from adaptertune_deploy.export.merge import merged_graph

    return merged_graph


def _say_parity(manifest: Manifest, task: str, check: Verification) -> None:
    """Say what was measured now; the bundle may hold measurements of other engines too."""
    entries = check.parity
    if check.reason:
        console.print_note(f"the tensors of {task} were checked; its answers were not verified: {check.reason}")
        return
    for precision in dict.fromkeys(entry.precision for entry in entries):
        own = [entry for entry in entries if entry.precision is precision]
        images, worst = max(entry.images for entry in own), max(entry.max_abs for entry in own)
        console.print_line(
            f"verified in {precision} by {own[0].engine} on {text.plural(images, 'image')} against torch's answers of "
            f"the training: max diff {worst:.1e}"
        )
    measured = {entry.graph for entry in entries}
    for graph in manifest.graphs:
        if graph.task in (None, task) and graph.file not in measured:
            console.print_note(f"{graph.words} was not measured with {task}: the engine runs no such graph here")


def _facts(
    bundle: Path, manifest: Manifest, record: TaskRecord, check: Verification, seconds: float
) -> dict[str, object]:
    import dataclasses

    name = record.task.name
    return {
        "task": name,
        "rank": record.task.adapter.rank,
        "file": str(bundle / record.file),
        "merged": [str(bundle / graph.file) for graph in manifest.graphs if graph.task == name],
        "parity": [dataclasses.asdict(entry) for entry in check.parity],
        "not_verified": check.reason or None,
        "seconds": round(seconds, 3),
    }
