"""Inference on ONNX Runtime's CPU provider: an ordinary torch export, the merged graph and the shared graph.

    python -m benchmarks.infer --rounds 40 --models deit_tiny_patch16_224,vit_small_patch16_224 --batches 1,8

"plain" is the timm model with a head, exported as torch.onnx.export does it; it has no adapters. "merged" and "shared"
have one of rank 8 after every block; the shared graph's rows mix three tasks, whose heads are applied to its features
within the time. Weights are random: speed does not depend on them. All graphs run on the product's own engine with the
same settings.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import bank, graph_facts, heads
from adaptertune_deploy.core.adapter import Adapter, tensor_name
from adaptertune_deploy.core.graph_facts import GraphFacts
from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.engines.bank import SlotBank
from adaptertune_deploy.engines.engine import AnyArray, open_engine
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.onnx_file import OPSET
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.adapted import pooled_features
from adaptertune_deploy.model.backbone import Backbone, load_backbone
from benchmarks.interleaved import Opener, Run, Spread, ratios, time_interleaved
from benchmarks.machine import describe_machine

MODELS = "deit_tiny_patch16_224,vit_small_patch16_224"
RESULTS = Path(__file__).parent / "results" / "infer.json"
CLASSES, TASKS = 37, 3
LIMIT = 1.03  # of merged to plain, and of shared to merged


@dataclasses.dataclass(frozen=True)
class Settings:
    """rank: of every adapter. threads: CPU threads of a run, 0 for all cores."""

    models: tuple[str, ...]
    batches: tuple[int, ...]
    rounds: int
    openings: int
    rank: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Result:
    """One graph of one model at one batch size; milliseconds a run, ratios round by round."""

    model: str
    batch: int
    graph: str
    milliseconds: Spread
    to_plain: Spread
    to_merged: Spread


class Plain(nn.Module):
    """The timm model with a linear head: what somebody exports who has never heard of adapters."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.module
        self.head = nn.Linear(backbone.spec.features, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, CLASSES) for images (N, 3, H, W)."""
        logits: Tensor = self.head(pooled_features(self.backbone, images))
        return logits


def export_plain(backbone: Backbone, path: Path) -> None:
    """Write the ordinary export: torch.onnx.export with a dynamic batch and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Plain(backbone).eval(),
            (torch.zeros(2, 3, *backbone.spec.image_size),),
            str(path),
            dynamo=True,
            opset_version=OPSET,
            input_names=[bank.IMAGES],
            output_names=[bank.LOGITS],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            external_data=False,
            verbose=False,
        )


def make_adapters(backbone: Backbone, rank: int) -> list[Adapter]:
    """Return TASKS tasks with an adapter after every block and random tensors."""
    labels = tuple(f"class {index}" for index in range(CLASSES))
    draw = np.random.default_rng(0)
    adapters = []
    for place in range(TASKS):
        task = TaskSpec(f"task{place}", labels, AdapterSpec(rank, 1.0, tuple(range(backbone.spec.depth))))
        shapes = artefact.tensor_shapes(task, backbone.spec)
        tensors = {name: draw.normal(size=shape, scale=0.02).astype(np.float32) for name, shape in shapes.items()}
        adapters.append(Adapter(task, tensors))
    return adapters


def feeds_of(graph: str, backbone: Backbone, batch: int) -> dict[str, AnyArray]:
    """Return random images, and for the shared graph one row an image with the tasks in turn."""
    draw = np.random.default_rng(1)
    images = draw.normal(size=(batch, 3, *backbone.spec.image_size)).astype(np.float32)
    if graph != "shared":
        return {bank.IMAGES: images}
    rows = np.arange(batch, dtype=np.int64)
    return {bank.IMAGES: images, bank.IMAGE: rows, bank.TASK: rows % TASKS}


def opener(path: Path, feeds: Mapping[str, AnyArray], threads: int, adapters: Sequence[Adapter] = ()) -> Opener:
    """Return a function that opens a graph and returns how to run it; with `adapters` as the shared session does."""

    def opened() -> tuple[Any, Run]:
        engine = open_engine(path.read_bytes(), str(path), provider="cpu", threads=threads)
        if not adapters:
            return engine, lambda: engine.run(feeds)
        ends = [heads.head_of(adapter) for adapter in adapters]
        width = len(adapters[0].tensors[tensor_name(0, "up", "bias")])
        held = SlotBank(engine, adapters[0].task.adapter.blocks, width, len(ends[0].weight))
        handles = [held.write(adapter) for adapter in adapters]
        images, image, task = feeds[bank.IMAGES], feeds[bank.IMAGE], feeds[bank.TASK]

        def run() -> object:
            return heads.apply(ends, held.features(images, image, [handles[index] for index in task.tolist()]), task)

        return engine, run

    return opened


def measure(name: str, settings: Settings, folder: Path) -> list[Result]:
    """Export one model in three forms and time them at every batch size."""
    torch.manual_seed(0)
    backbone = load_backbone(f"{name}.random", allow_random=True)
    adapters = make_adapters(backbone, settings.rank)
    slots = tuple(range(backbone.spec.depth))
    paths = {graph: folder / f"{name}.{graph}.onnx" for graph in ("plain", "merged", "shared")}
    export_plain(backbone, paths["plain"])
    traced = export_shared(backbone, slots)
    paths["shared"].write_bytes(traced)
    task = adapters[0].task
    facts = GraphFacts(graph_facts.FORMAT_VERSION, backbone.spec, backbone.preprocess, slots, task)
    paths["merged"].write_bytes(merged_graph(traced, adapters[0], facts))
    results = []
    for batch in settings.batches:
        openers = {
            graph: opener(
                path, feeds_of(graph, backbone, batch), settings.threads, adapters if graph == "shared" else ()
            )
            for graph, path in paths.items()
        }
        seconds = time_interleaved(openers, settings.rounds, settings.openings)
        results += [
            Result(
                model=name,
                batch=batch,
                graph=graph,
                milliseconds=Spread.of([1e3 * value for value in taken]),
                to_plain=ratios(taken, seconds["plain"]),
                to_merged=ratios(taken, seconds["merged"]),
            )
            for graph, taken in seconds.items()
        ]
    return results


def show(results: list[Result], machine: Mapping[str, Any], settings: Settings, console: Console) -> None:
    """Print one table a model: medians, ratios with quartiles."""
    console.print(f"{machine['cores']} cores of {machine['processor']}; {settings.rounds} rounds; median [quartiles]")
    for name in settings.models:
        table = Table("batch", "graph", "ms", "images/s", "to plain", "to merged", title=name, box=SIMPLE_HEAD)
        for result in (result for result in results if result.model == name):
            time = result.milliseconds.median
            table.add_row(
                str(result.batch),
                result.graph,
                f"{time:.1f}",
                f"{1e3 * result.batch / time:.1f}",
                str(result.to_plain) if result.graph != "plain" else "",
                str(result.to_merged) if result.graph == "shared" else "",
            )
        console.print(table)
    for result in results:
        ratio = {"merged": result.to_plain, "shared": result.to_merged}.get(result.graph)
        if ratio is not None and ratio.median > LIMIT:
            console.print(f"{result.model}, batch {result.batch}: {result.graph} takes {ratio}, more than {LIMIT}")


def parse(arguments: list[str]) -> tuple[Settings, Path]:
    """Return the settings and where the JSON goes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.infer", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default=MODELS, help="timm names, with commas (default: %(default)s)")
    parser.add_argument("--batches", default="1,8", help="batch sizes, with commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="times that each graph runs (default: %(default)s)")
    parser.add_argument("--openings", type=int, default=4, help="times that each graph is opened afresh")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapters (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a run, 0 for all cores")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    given = parser.parse_args(arguments)
    settings = Settings(
        models=tuple(given.models.split(",")),
        batches=tuple(int(batch) for batch in given.batches.split(",")),
        rounds=given.rounds,
        openings=min(given.openings, given.rounds),
        rank=given.rank,
        threads=given.threads,
    )
    return settings, given.json


def main(arguments: list[str]) -> None:
    """Measure, print the table and write the JSON."""
    settings, path = parse(arguments)
    console = Console()
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in track(settings.models, "measuring", console=console):
            results += measure(name, settings, Path(folder))
    machine = describe_machine()
    show(results, machine, settings, console)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "machine": machine,
        "settings": dataclasses.asdict(settings),
        "results": [dataclasses.asdict(result) for result in results],
    }
    path.write_text(json.dumps(data, indent=2) + "\n")
    console.print(f"numbers written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
