"""The timed part of benchmarks.precision.measure: graphs of two models on engines and in precisions, side by side.

DeiT-Tiny has its real weights, other models have random ones: speed depends on them only where int8-qdq leaves products
in float32 that round too much, which is measured on photographs.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.bench.interleaved import Opener, time_interleaved
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.export.precision.ranges import Ranges
from adaptertune_deploy.export.precision.ranges import measure as measure_ranges
from adaptertune_deploy.export.precision.table import graph_in
from adaptertune_deploy.model.backbone import Backbone, load_backbone
from benchmarks import backbones
from benchmarks.inference import forms
from benchmarks.inference.forms import Shared

MODELS = "deit_tiny_patch16_224,vit_small_patch16_224"
REAL = "deit_tiny_patch16_224"  # of which --weights are
TASKS, RANK, PHOTOGRAPHS = 3, 8, 32
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TO = "merged, onnxruntime fp32"  # what ratios are to
PLAIN = "plain, onnxruntime fp32"  # and what else: an ordinary export without adapters


def measure(
    given: argparse.Namespace, arms: Mapping[str, EngineOptions], results: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the timing part of the results after each model; what they hold with the same settings is kept.

    Args:
        given: see precision.parse.
        arms: name -> options of what is timed.
        results: what the results file holds of this machine.
    """
    settings = {
        "rounds": given.rounds,
        "openings": min(given.openings, given.rounds),
        "threads": given.threads,
        "clock": given.clock,
        "rank": RANK,
        "tasks": TASKS,
    }
    found = results.get("timing", {})
    if found.get("settings") != settings:
        found = {"settings": settings, "rows": {}}
    found["machine"] = dataclasses.asdict(describe_machine())
    for name in given.models.split(","):
        lacking = [batch for batch in map(int, given.batches.split(",")) if f"{name}, {batch}" not in found["rows"]]
        if lacking:
            with tempfile.TemporaryDirectory() as folder:
                backbone = backbone_of(name, given.weights)
                graphs = write_graphs(backbone, given.data, set(map(graph_precision, arms.values())), Path(folder))
                plain = Path(folder, "plain.onnx")
                forms.write_plain(backbone, plain)
                for batch in lacking:
                    images = backbones.make_images(backbone, batch)
                    openers = openers_of(graphs, arms, images)
                    openers[PLAIN] = forms.open_alone(plain, images, EngineOptions(device="cpu", threads=given.threads))
                    seconds = time_interleaved(openers, given.rounds, settings["openings"], CLOCKS[given.clock])
                    found["rows"][f"{name}, {batch}"] = described(seconds)
                    yield found


def write_graphs(
    backbone: Backbone, data: Path, precisions: set[Precision], folder: Path
) -> dict[Precision, tuple[Shared, Path]]:
    """Return for each precision the shared graph with its tasks, and the merged graph of the first one."""
    traced = forms.write_shared(backbone, range(backbone.spec.depth), TASKS, RANK, folder / "traced.onnx")
    ranges = _ranges(traced, _photographs(data, backbone))
    graphs = {}
    for precision in sorted(precisions):
        shared = dataclasses.replace(traced, path=folder / f"shared-{precision}.onnx")
        shared.path.write_bytes(graph_in(traced.path.read_bytes(), precision, ranges, backbone.spec.name))
        forms.write_merged(shared, folder / f"merged-{precision}.onnx")
        graphs[precision] = shared, folder / f"merged-{precision}.onnx"
    return graphs


def openers_of(
    graphs: Mapping[Precision, tuple[Shared, Path]], arms: Mapping[str, EngineOptions], images: Array
) -> dict[str, Opener]:
    """Return how to open each form in each arm for these images; rows of the shared form mix the tasks."""
    rows = [(row, row % TASKS) for row in range(len(images))]
    found: dict[str, Opener] = {}
    for name, options in arms.items():
        shared, merged = graphs[graph_precision(options)]
        found[f"shared, {name}"] = forms.open_shared(shared, images, rows, options)
        found[f"merged, {name}"] = forms.open_alone(merged, images, options)
    return found


def described(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return each graph's milliseconds a run and its ratios to TO and to PLAIN, as spreads."""
    return {
        name: {
            "milliseconds": dataclasses.asdict(Spread.of([1e3 * value for value in taken])),
            "ratio": dataclasses.asdict(ratios(taken, seconds[TO])),
            "to_plain": dataclasses.asdict(ratios(taken, seconds[PLAIN])),
        }
        for name, taken in seconds.items()
    }


def backbone_of(name: str, weights: Path) -> Backbone:
    """Return DeiT-Tiny with these weights, and any other model with drawn ones."""
    if name != REAL:
        return backbones.random_backbone(name)
    return load_backbone(f"{name}.fb_in1k", weights)


def _photographs(data: Path, backbone: Backbone) -> Array:
    files = sorted((data / "flowers").rglob("*.jpg"))
    files = files[:: max(1, len(files) // PHOTOGRAPHS)][:PHOTOGRAPHS]
    return np.stack([preprocess(file.read_bytes(), backbone.preprocess) for file in files])


def _ranges(shared: Shared, images: Array) -> Ranges:
    tasks = [place % TASKS for place in range(len(images))]
    width = shared.backbone.spec.width
    return measure_ranges(shared.path.read_bytes(), shared.adapters, shared.slots, width, images, tasks)
