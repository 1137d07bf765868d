"""The graphs that are compared: an ordinary torch export, a task's merged graph, the shared graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptertune_deploy.bench.interleaved import Opener, Run
from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_shapes
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.onnx_file import OPSET
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.adapted import pooled_features
from adaptertune_deploy.model.backbone import Backbone
from benchmarks.backbones import CLASSES


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


@dataclass(frozen=True, eq=False)
class Shared:
    """A shared graph with tasks to fill its slots."""

    path: Path
    backbone: Backbone
    slots: tuple[int, ...]
    adapters: list[Adapter]


def write_plain(backbone: Backbone, path: Path) -> None:
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


def write_shared(backbone: Backbone, slots: Sequence[int], tasks: int, rank: int, path: Path) -> Shared:
    """Write the shared graph with these slots, and draw so many tasks for all of them."""
    path.write_bytes(export_shared(backbone, tuple(slots)))
    return Shared(path, backbone, tuple(slots), make_adapters(backbone, slots, tasks, rank))


def write_merged(shared: Shared, path: Path) -> None:
    """Write the merged graph of the first task."""
    adapter = shared.adapters[0]
    backbone = shared.backbone
    facts = GraphFacts(graph_facts.FORMAT_VERSION, backbone.spec, backbone.preprocess, shared.slots, adapter.task)
    path.write_bytes(merged_graph(shared.path.read_bytes(), adapter, facts))


def make_adapters(backbone: Backbone, slots: Sequence[int], tasks: int, rank: int) -> list[Adapter]:
    """Return tasks with an adapter after each of these blocks and random tensors."""
    labels = tuple(f"class {index}" for index in range(CLASSES))
    draw = np.random.default_rng(0)
    adapters = []
    for place in range(tasks):
        task = TaskSpec(f"task{place}", labels, AdapterSpec(rank, 1.0, tuple(slots)))
        shapes = tensor_shapes(task, backbone.spec)
        tensors = {name: draw.normal(size=shape, scale=0.02).astype(np.float32) for name, shape in shapes.items()}
        adapters.append(Adapter(task, tensors))
    return adapters


def open_alone(path: Path, images: Array, options: EngineOptions) -> Opener:
    """Return a function that opens a graph of images only on an engine, and returns how to run it."""

    def opened() -> tuple[Any, Run]:
        engine = open_engine(path.read_bytes(), str(path), options)
        return engine, lambda: engine.run({bank.IMAGES: images})

    return opened


def open_shared(shared: Shared, images: Array, rows: Sequence[tuple[int, int]], options: EngineOptions) -> Opener:
    """Return a function that opens the shared graph with its tasks, and returns how to ask for rows of logits.

    Args:
        shared: the graph and its tasks.
        images: float32 [N, 3, H, W].
        rows: pairs of an image and a task.
        options: of the engine.
    """
    spec = shared.backbone.spec
    image, task = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))

    def opened() -> tuple[Any, Run]:
        engine = open_engine(shared.path.read_bytes(), str(shared.path), options)
        held = SlotBank(engine, shared.slots, spec.width, spec.features)
        handles = [held.write(adapter) for adapter in shared.adapters]
        asked = [handles[place] for place in task.tolist()]
        ends = [heads.head_of(adapter) for adapter in shared.adapters]
        return engine, lambda: heads.apply(ends, held.features(images, image, asked), task)

    return opened
