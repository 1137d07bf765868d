"""Time a backbone's merged and shared graph on an NVIDIA GPU, beside torch's own forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaptertune_deploy.bench.interleaved import Opener, Run, time_interleaved
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import EngineOptions
from benchmarks import backbones
from benchmarks.inference import forms
from benchmarks.inference.forms import Plain, Shared

TASKS, RANK, CALIBRATING = 3, 8, 4
SLOTS = 64  # of a plan, at least
PRECISIONS = (Precision.FP32, Precision.FP16)
Key = tuple[str, str, str]  # graph, engine, precision
Attempt = Callable[[str, Callable[[], bool]], bool | None]
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class Timed:
    """One graph on one engine: milliseconds of a batch from host memory to host memory."""

    model: str
    batch: int
    graph: str
    engine: str
    precision: str
    milliseconds: Spread


@dataclasses.dataclass(frozen=True)
class Asked:
    """On which device and engines graphs are timed, in how many rounds, and the largest batch."""

    device: str
    engines: tuple[str, ...]
    rounds: int
    largest: int

    def options(self, engine: str, precision: Precision) -> EngineOptions:
        """Return what an engine is asked for; one plan of TensorRT's takes every batch."""
        plan = {"max_rows": str(self.largest), "slots": str(max(SLOTS, self.largest))}
        return EngineOptions(engine, self.device, precision, settings=plan if engine.startswith("tensorrt") else {})


@dataclasses.dataclass(frozen=True)
class Graphs:
    """A backbone's graphs. shared: precision -> graph with tasks. merged: the first task's, float32."""

    shared: dict[Precision, Shared]
    merged: Path


class Nothing:
    """Stands where an engine would be closed."""

    def close(self) -> None:
        """Do nothing."""


def make_graphs(name: str, folder: Path) -> Graphs:
    """Export a backbone with random weights, in every precision of PRECISIONS."""
    from adaptertune_deploy.export.precision.ranges import measure
    from adaptertune_deploy.export.precision.table import graph_in

    backbone = backbones.random_backbone(name)
    shared = forms.write_shared(backbone, range(backbone.spec.depth), TASKS, RANK, folder / f"{name}.shared.onnx")
    merged = folder / f"{name}.merged.onnx"
    forms.write_merged(shared, merged)
    data = shared.path.read_bytes()
    asked = [row % TASKS for row in range(CALIBRATING)]
    images = backbones.make_images(backbone, CALIBRATING)
    ranges = measure(data, shared.adapters, shared.slots, backbone.spec.width, images, asked)
    made = {Precision.FP32: shared}
    for precision in PRECISIONS[1:]:
        path = folder / f"{name}.shared.{precision}.onnx"
        path.write_bytes(graph_in(data, precision, ranges, name))
        made[precision] = dataclasses.replace(shared, path=path)
    return Graphs(made, merged)


def openers(graphs: Graphs, batch: int, asked: Asked) -> Iterator[tuple[Key, Opener]]:
    """Yield (graph, engine, precision) with how it is opened, torch's own pass first."""
    shared = graphs.shared[Precision.FP32]
    images = backbones.make_images(shared.backbone, batch)
    rows = [(row, row % TASKS) for row in range(batch)]
    for precision, kind in AUTOCAST.items():
        yield ("plain", "torch", precision), partial(_torch, shared, images, asked.device, kind)
    for engine in asked.engines:
        for precision, held in graphs.shared.items():
            options = asked.options(engine, precision)
            yield ("shared", engine, precision.value), forms.open_shared(held, images, rows, options)
        usual = asked.options(engine, Precision.FP32)
        yield ("merged", engine, "fp32"), forms.open_alone(graphs.merged, images, usual)


def measure_batch(
    name: str, graphs: Graphs, batch: int, asked: Asked, attempt: Attempt, failed: set[Key]
) -> list[Timed]:
    """Time everything that runs here at one batch size, interleaved.

    Args:
        name: of the model.
        graphs: see make_graphs.
        batch: rows.
        asked: on what, and how often.
        attempt: given what is tried and a call, says whether it went well; else it has told why not.
        failed: what did not run at a smaller batch and is not tried again; what does not now is added.
    """
    working: dict[Key, Opener] = {}
    for key, opener in openers(graphs, batch, asked):
        if key not in failed:
            if attempt(f"{name}, batch {batch}, {' '.join(key)}", partial(_runs, opener)):
                working[key] = opener
            else:
                failed.add(key)
    seconds = time_interleaved({" ".join(key): opener for key, opener in working.items()}, asked.rounds, openings=1)
    found = []
    for graph, engine, precision in working:
        taken = seconds[f"{graph} {engine} {precision}"]
        found.append(Timed(name, batch, graph, engine, precision, Spread.of([1e3 * value for value in taken])))
    return found


def _runs(opener: Opener) -> bool:
    held, run = opener()
    try:
        run()
    finally:
        held.close()
    return True


def _torch(shared: Shared, images: Array, device: str, kind: Any) -> tuple[Nothing, Run]:
    """Return how to run the timm model with a head in torch, inputs and answers in host memory."""
    module = Plain(shared.backbone).eval().to(device)
    pixels = torch.from_numpy(np.ascontiguousarray(images))

    def run() -> object:
        with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype=kind, enabled=kind is not None):
            return module(pixels.to(device)).float().cpu()

    return Nothing(), run
