"""Small training runs: pictures that can be learned, loaders over them, and a run on a tiny Vision Transformer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.data.batches.loader import EvaluationLoader, TrainingLoader, evaluation_loader, training_loader
from adaptertune_deploy.data.division.splits import split
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import ArrayReader, Dataset, Split
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone, weights_sha256
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.run import Run
from tests.builders import make_preprocess_spec
from tests.model.builders import make_backbone

CPU = Device(torch.device("cpu"), "fp32")
SPEC = make_preprocess_spec((16, 16), 1.0)
LABELS = ("ash", "elm", "oak")
RECIPE = Recipe(rank=2, epochs=1, batch_size=8, folds=2, lr=5e-3, precision="fp32", device="cpu", workers=0)


def draw(label: int, number: int, side: int = 24) -> np.ndarray:
    """Return uint8 [side, side, 3]: the class is the stripes' direction and a tint, under noise."""
    generator = np.random.default_rng((label, number))
    y, x = np.mgrid[:side, :side]
    angle = np.pi * label / 3
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.8 + generator.uniform(0, 6))
    pixels = 110 + 60 * wave[:, :, None] + 40 * np.eye(3)[label % 3] + generator.normal(0, 25, (side, side, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def make_pictures(root: Path, per_class: int | dict[str, int], labels: tuple[str, ...] = LABELS) -> Path:
    """Write <label>/<number>.png below `root`; per_class may name splits: {"train": 6, "test": 2}."""
    parts = per_class if isinstance(per_class, dict) else {"": per_class}
    for shift, (part, count) in enumerate(parts.items()):
        for index, label in enumerate(labels):
            folder = root / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(index, 100 * shift + number)).save(folder / f"{number:02d}.png")
    return root


def make_striped(per_class: int, first: int = 0, classes: int = 3) -> Split:
    """Return the same pictures in memory, numbered from `first`."""
    return make_counted([per_class] * classes, first)


def make_counted(counts: list[int], first: int = 0) -> Split:
    """Return counts[c] of the same pictures of each class c in memory, numbered from `first`."""
    targets = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    names = tuple(f"{label}/{first + row}" for row, label in enumerate(targets))
    pixels = {name: draw(int(label), first + row) for row, (name, label) in enumerate(zip(names, targets, strict=True))}
    return Split(names, targets, ArrayReader(pixels))


def make_training(
    per_class: int = 6, batch_size: int = 6, seed: int = 0, steps: int = 3, preset: str = "plain", start_step: int = 0
) -> TrainingLoader:
    """Return training batches of striped pictures; three steps are an epoch of the default."""
    split, pixels = make_striped(per_class), PixelCache(SPEC)
    return training_loader(split, pixels, preset, batch_size, seed, steps, start_step=start_step)


def make_evaluation(per_class: int = 4, batch_size: int = 5) -> EvaluationLoader:
    """Return other striped pictures as they are served."""
    return evaluation_loader(make_striped(per_class, first=500), PixelCache(SPEC), batch_size)


def make_striped_dataset(train: list[int], test: int = 4, val: int = 0) -> Dataset:
    """Return train[c] striped pictures of each class c, and so many test and validation pictures a class."""
    parts = {"train": make_counted(train)}
    parts |= {
        name: make_striped(count, first, len(train))
        for name, count, first in (("val", val, 300), ("test", test, 500))
        if count
    }
    reader = ArrayReader({name: pixels for part in parts.values() for name, pixels in part.reader.pixels.items()})  # type: ignore[attr-defined]
    shared = {name: Split(part.names, part.targets, reader) for name, part in parts.items()}
    return Dataset(
        name="trees",
        task="trees",
        labels=LABELS[: len(train)],
        train=shared["train"],
        val=shared.get("val"),
        test=shared.get("test"),
        licence="CC0-1.0",
        non_commercial=False,
        redistributable=True,
        augment="fine",
    )


def make_run(
    dataset: Dataset | None = None,
    backbone: Backbone | None = None,
    pixels: PixelCache | None = None,
    blocks: tuple[int, ...] = (0, 2),
    recipe: Recipe = RECIPE,
    **changes: Any,
) -> Run:
    """Return a run on 10 training and 4 test pictures a class and the tiny network of tests.model.builders."""
    dataset = dataset or make_striped_dataset([10, 10, 10])
    backbone = backbone or make_backbone()
    facts: dict[str, Any] = {
        "task": TaskSpec(dataset.task, dataset.labels, AdapterSpec(recipe.rank, recipe.alpha, blocks)),
        "dataset": dataset,
        "splits": split(dataset),
        "pixels": pixels or PixelCache(SPEC),
        "backbone": backbone,
        "frozen_sha256": weights_sha256(backbone.module),
        "device": CPU,
        "recipe": recipe,
        "notes": (),
        "progress": silent,
    }
    return Run(**{**facts, **changes})


def trained_hash(model: AdaptedViT) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.export_tensors().items()):
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()
