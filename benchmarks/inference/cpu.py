"""Inference on ONNX Runtime's CPU provider: an ordinary torch export, the merged graph and the shared graph.

    python -m benchmarks.inference.cpu --rounds 40 --models deit_tiny_patch16_224,vit_small_patch16_224 --batches 1,8

"plain" is the timm model with a head, exported as torch.onnx.export does it; it has no adapters. "merged" and "shared"
have one of rank 8 after every block; the shared graph's rows mix three tasks, whose heads are applied to its features
within the time. Beside them, one image is asked about by five tasks that adapt the last four blocks, as a ratio to five
runs of "plain". Weights are random: speed does not depend on them. All graphs run on the product's own engine with the
same settings, in one process, interleaved.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adaptertune_deploy.bench.interleaved import Opener, time_interleaved
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.engines.options import EngineOptions
from benchmarks import backbones, documents
from benchmarks.inference import forms

MODELS = "deit_tiny_patch16_224,vit_small_patch16_224"
RESULTS = documents.results("infer")
TASKS, LATE_TASKS, LATE_BLOCKS = 3, 5, 4
FIVE = "five tasks"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclasses.dataclass(frozen=True)
class Settings:
    """rank: of every adapter. threads: CPU threads of a run, 0 for all cores. clock: a key of CLOCKS."""

    models: tuple[str, ...]
    batches: tuple[int, ...]
    rounds: int
    openings: int
    rank: int
    threads: int
    clock: str

    @property
    def engine(self) -> EngineOptions:
        """ONNX Runtime on the CPU."""
        return EngineOptions(device="cpu", threads=self.threads)


@dataclasses.dataclass(frozen=True)
class Result:
    """One graph of one model at one batch size; milliseconds a run, ratios round by round."""

    model: str
    batch: int
    graph: str
    milliseconds: Spread
    to_plain: Spread
    to_merged: Spread


@dataclasses.dataclass(frozen=True)
class Sharing:
    """One image asked about by LATE_TASKS tasks; the ratio is to as many runs of "plain" on it."""

    model: str
    milliseconds: Spread
    to_passes: Spread


def measure(name: str, settings: Settings, folder: Path) -> tuple[list[Result], Sharing]:
    """Export one model in its forms and time them at every batch size."""
    backbone = backbones.random_backbone(name)
    depth = backbone.spec.depth
    plain, merged = (folder / f"{name}.{graph}.onnx" for graph in ("plain", "merged"))
    forms.write_plain(backbone, plain)
    shared = forms.write_shared(backbone, range(depth), TASKS, settings.rank, folder / f"{name}.shared.onnx")
    forms.write_merged(shared, merged)
    late = range(depth - LATE_BLOCKS, depth)
    late_shared = forms.write_shared(backbone, late, LATE_TASKS, settings.rank, folder / f"{name}.late.onnx")

    def openers(batch: int) -> dict[str, Opener]:
        images = backbones.make_images(backbone, batch)
        rows = [(row, row % TASKS) for row in range(batch)]
        return {
            "plain": forms.open_alone(plain, images, settings.engine),
            "merged": forms.open_alone(merged, images, settings.engine),
            "shared": forms.open_shared(shared, images, rows, settings.engine),
        }

    results = []
    for batch in settings.batches:
        seconds = _time(openers(batch), settings)
        results += [
            Result(
                name,
                batch,
                graph,
                _milliseconds(taken),
                ratios(taken, seconds["plain"]),
                ratios(taken, seconds["merged"]),
            )
            for graph, taken in seconds.items()
        ]
    one = backbones.make_images(backbone, 1)
    asked = [(0, task) for task in range(LATE_TASKS)]
    both = {FIVE: forms.open_shared(late_shared, one, asked, settings.engine), "plain": openers(1)["plain"]}
    seconds = _time(both, settings)
    passes = [LATE_TASKS * value for value in seconds["plain"]]
    return results, Sharing(name, _milliseconds(seconds[FIVE]), ratios(seconds[FIVE], passes))


def _time(openers: Mapping[str, Opener], settings: Settings) -> dict[str, list[float]]:
    return time_interleaved(openers, settings.rounds, settings.openings, CLOCKS[settings.clock])


def _milliseconds(taken: list[float]) -> Spread:
    return Spread.of([1e3 * value for value in taken])


def show(
    results: list[Result], sharing: list[Sharing], machine: Mapping[str, Any], settings: Settings, console: Console
) -> None:
    """Print one table a model: medians, ratios with quartiles."""
    how = f"{settings.rounds} rounds; {settings.clock} time; median [quartiles]"
    console.print(f"{machine['cores']} cores of {machine['processor']}; {how}")
    for name in settings.models:
        table = Table("batch", "graph", "ms", "images/s", "to plain", "to merged", title=name, box=SIMPLE_HEAD)
        for result in (result for result in results if result.model == name):
            median = result.milliseconds.median
            table.add_row(
                str(result.batch),
                result.graph,
                f"{median:.1f}",
                f"{1e3 * result.batch / median:.1f}",
                str(result.to_plain) if result.graph != "plain" else "",
                str(result.to_merged) if result.graph == "shared" else "",
            )
        console.print(table)
    for entry in sharing:
        time = f"{entry.milliseconds.median:.1f} ms"
        console.print(
            f"{entry.model}: {LATE_TASKS} tasks on one image {time}, {entry.to_passes} of {LATE_TASKS} passes"
        )


def parse(arguments: list[str]) -> tuple[Settings, Path]:
    """Return the settings and where the JSON goes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.cpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default=MODELS, help="timm names, with commas (default: %(default)s)")
    parser.add_argument("--batches", default="1,8", help="batch sizes, with commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="times that each graph runs (default: %(default)s)")
    parser.add_argument("--openings", type=int, default=4, help="times that each graph is opened afresh")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapters (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a run, 0 for all cores")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu counts the work alone, where other programs run too"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    given = parser.parse_args(arguments)
    settings = Settings(
        models=tuple(given.models.split(",")),
        batches=tuple(int(batch) for batch in given.batches.split(",")),
        rounds=given.rounds,
        openings=min(given.openings, given.rounds),
        rank=given.rank,
        threads=given.threads,
        clock=given.clock,
    )
    return settings, given.json


def main(arguments: list[str]) -> None:
    """Measure, print the table and write the JSON."""
    settings, path = parse(arguments)
    console = Console()
    results: list[Result] = []
    sharing: list[Sharing] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in track(settings.models, "measuring", console=console):
            found, five = measure(name, settings, Path(folder))
            results += found
            sharing.append(five)
    machine = dataclasses.asdict(describe_machine())
    show(results, sharing, machine, settings, console)
    data = {
        "machine": machine,
        "settings": dataclasses.asdict(settings),
        "results": [dataclasses.asdict(result) for result in results],
        "one_image_five_tasks": [dataclasses.asdict(entry) for entry in sharing],
    }
    documents.write(path, data)
    console.print(f"numbers written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
