"""Time the product's own training loop on a device: images a second, and the memory that a step needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train.device.device import choose_device
from adaptertune_deploy.train.loop.fit import fit
from adaptertune_deploy.train.request.recipe import Recipe
from benchmarks import backbones

RANK = 8
WARM_UP, FEWEST = 3, 5  # steps
SECONDS = 20.0  # of one measurement, about


@dataclass(frozen=True)
class Batch:
    """What the loop takes of a loader's batch."""

    images: Tensor
    targets: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Repeated:
    """The same batch so many times: the loop is measured, not the decoding."""

    batch: Batch
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch] * self.count)


def measure_training(name: str, batch: int, precision: str, steps: int, device: str) -> dict[str, Any]:
    """Return images a second of one backbone with adapters of rank 8 after every block, and the peak memory in MB.

    A device that is slow takes fewer steps, so that it takes about SECONDS at most.
    """
    chosen = choose_device(device, precision)
    backbone = backbones.random_backbone(name)
    backbone.module.to(chosen.torch)
    labels = tuple(f"class {index}" for index in range(backbones.CLASSES))
    model = AdaptedViT(backbone, TaskSpec("speed", labels, AdapterSpec(RANK, 1.0, tuple(range(backbone.spec.depth)))))
    model.to(chosen.torch)
    images = torch.from_numpy(backbones.make_images(backbone, batch)).to(chosen.torch)
    rows = torch.arange(batch)
    held = Batch(images, (rows % backbones.CLASSES).to(chosen.torch), rows)
    with chosen.fast_steps(backbone, model):
        step = _fit(model, held, WARM_UP, batch, chosen) / WARM_UP
        steps = min(steps, max(FEWEST, int(SECONDS / step)))
        seconds = _fit(model, held, steps, batch, chosen)
    cuda = chosen.torch.type == "cuda"
    return {
        "model": name,
        "batch": batch,
        "precision": precision,
        "steps": steps,
        "images_per_second": round(batch * steps / seconds, 1),
        "peak_mb": round(torch.cuda.max_memory_allocated() / 1e6) if cuda else None,
    }


def _fit(model: AdaptedViT, batch: Batch, steps: int, size: int, device: Any) -> float:
    """Return the loop's seconds; it reads the loss at its end, so the device has finished by then."""
    batches: Any = Repeated(batch, steps)
    started = time.perf_counter()
    fit(model, batches, Recipe(rank=RANK, batch_size=size), device)
    return time.perf_counter() - started
