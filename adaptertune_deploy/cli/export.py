"""atd export: trained tasks to ONNX, verified against torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli.parts import engines, options
from adaptertune_deploy.cli.parts.options import DATA, OUTPUT, PLACES, flag, value
from adaptertune_deploy.cli.terminal import completion, console, interrupts

if TYPE_CHECKING:
    from adaptertune_deploy.core.bundle.manifest import Manifest


Shared = Annotated[
    bool, flag("--shared/--no-shared", OUTPUT, "Write the backbone graph that serves every task.", "--shared")
]
Replace = Annotated[
    bool, flag("--replace", OUTPUT, "Drop tasks and graphs of the bundle that this export does not make.")
]
Images = Annotated[
    Path | None, value("--images", "FOLDER", DATA, "Images to verify on.", "those that training held back")
]
TargetDir = Annotated[Path | None, value("--target-dir", "FOLDER", PLACES, "Where --target is written.", "its name")]
Precisions = Annotated[
    str,
    value(
        "--precision",
        "NAMES",
        OUTPUT,
        f"What the graphs compute in, comma-separated: {', '.join(engines.PRECISIONS)}.",
        complete=completion.precisions,
    ),
]
Calibration = Annotated[
    Path | None,
    value(
        "--calibration",
        "FOLDER",
        DATA,
        "Images to measure the ranges of fp16 and int8-qdq on.",
        "some that training has learned from",
    ),
]
Explain = Annotated[
    bool, flag("--explain", OUTPUT, "Tell how far each block lies from fp32 in other precisions, and which one parts.")
]


def export(
    adapters: options.TrainedTasks = None,
    ship: options.Ship = "auto",
    rank: options.AtRank = None,
    merge: Annotated[bool, flag("--merge", OUTPUT, "Also write one self-contained graph per task.")] = False,
    shared: Shared = True,
    replace: Replace = False,
    images: Images = None,
    engine: engines.Engine = "onnxruntime",
    device: engines.Device = "cpu",
    settings: engines.Settings = None,
    precision: Precisions = "fp32",
    calibration: Calibration = None,
    explain: Explain = False,
    adapters_dir: options.AdaptersDir = Path("adapters"),
    out: Annotated[Path, value("--out", "FOLDER", PLACES, "Folder that becomes the bundle.")] = Path("bundle"),
    target: Annotated[
        str | None,
        value("--target", "NAME", OUTPUT, "Also write it for another server: triton.", "none", completion.targets),
    ] = None,
    target_dir: TargetDir = None,
    weights: options.Weights = None,
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Export tasks to ONNX and verify the graphs against torch on real images; a graph that differs is not written.

    \b
    atd export                    one backbone graph for all of adapters/
    atd export --merge            also one self-contained graph per task
    atd export --adapters pets --merge --no-shared --out pets-only
    atd export --ship adapter     the adapters, whatever training chose
    atd export --rank 4           nested adapters (atd train --rank nested) cut for a small device
    atd export --merge --target triton    also model repositories for NVIDIA's Triton, in triton/
    atd export --precision fp32,int8    also in int8, for ONNX Runtime on a CPU
    """
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.cli.terminal.manifest import show_manifest
    from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME
    from adaptertune_deploy.export.plan import plan_export
    from adaptertune_deploy.export.targets import table as targets

    asked = engines.asked(engine, device, settings)
    place = target_dir or Path(target or "")
    if target is not None:
        targets.check_target(target, place)
    plan = plan_export(
        tasks.trained(adapters_dir, adapters),
        out,
        merge=merge,
        shared=shared,
        images=images,
        engine=asked,
        replace=replace,
        ship=options.candidate(ship),
        rank=options.at_rank(rank),
        precisions=engines.precisions_named(precision),
        calibration=calibration,
        explain=explain,
    )
    with interrupts.stoppable(interrupts.outcome(out / MANIFEST_NAME)):
        with console.loading("torch and onnx"):
            from adaptertune_deploy.export.exporter import export_bundle

        with console.progress_bars() as progress:
            manifest = export_bundle(
                plan, weights=weights, allow_random=allow_random, progress=progress, tell=console.print_note
            )
        told = targets.write_target(target, out, place, asked) if target is not None else ()
    if as_json:
        console.print_json(dataclasses.asdict(manifest))
        return
    show_manifest(out, manifest)
    for cost in filter(None, (source.cost for source in plan.sources)):
        console.print_line(cost)
    for line in told:
        console.print_line(f"wrote {place}/{line}")
    show_next(out, manifest, [source.folder for source in plan.sources], engine)


def show_next(out: Path, manifest: Manifest, folders: Sequence[Path], engine: str) -> None:
    """Print the commands that serve the tasks and that ask about one of the held-back images."""
    from adaptertune_deploy.cli.terminal import next as following

    image = next((image for image in map(following.sample_image, folders) if image is not None), None)
    names, precisions = [record.task.name for record in manifest.tasks], {graph.precision for graph in manifest.graphs}
    console.print_next(*following.serving(out, names, image, precisions, engine))
