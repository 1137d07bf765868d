"""Small training runs: pictures that can be learned, loaders over them, and what a run measures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from adaptertune_deploy.data.loader import EvaluationLoader, TrainingLoader, evaluation_loader, training_loader
from adaptertune_deploy.data.samples import ArrayReader, Split
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.evaluate import score
from adaptertune_deploy.train.fit import Epoch, Fit
from adaptertune_deploy.train.proofs import Proofs
from adaptertune_deploy.train.recipe import Recipe
from adaptertune_deploy.train.report import Measured
from tests.builders import make_preprocess_spec

CPU = Device(torch.device("cpu"), "fp32")
SPEC = make_preprocess_spec((16, 16), 1.0)


def draw(label: int, number: int, side: int = 24) -> np.ndarray:
    """Return uint8 [side, side, 3]: the class is the stripes' direction and a tint, under noise."""
    generator = np.random.default_rng((label, number))
    y, x = np.mgrid[:side, :side]
    angle = np.pi * label / 3
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.8 + generator.uniform(0, 6))
    pixels = 110 + 60 * wave[:, :, None] + 40 * np.eye(3)[label % 3] + generator.normal(0, 25, (side, side, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def make_pictures(root: Path, per_class: int | dict[str, int], labels: tuple[str, ...] = ("ash", "elm", "oak")) -> Path:
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
    targets = np.repeat(np.arange(classes, dtype=np.int64), per_class)
    names = tuple(f"{label}/{first + row}" for row, label in enumerate(targets))
    pixels = {name: draw(int(label), first + row) for row, (name, label) in enumerate(zip(names, targets, strict=True))}
    return Split(names, targets, ArrayReader(pixels))


def make_loaders(
    per_class: int = 6, batch_size: int = 6, seed: int = 0, preset: str = "plain"
) -> tuple[TrainingLoader, EvaluationLoader]:
    train = training_loader(make_striped(per_class), SPEC, preset, batch_size, seed)
    return train, evaluation_loader(make_striped(4, first=500), SPEC, 5)


def trained_hash(model: AdaptedViT) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.export_tensors().items()):
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()


def make_measured(classes: int = 3, **changes: Any) -> Measured:
    """Return what a run of three epochs might have measured on 40 images; the last class has none."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, classes - 1, 40)
    right = 3 * np.eye(classes, dtype=np.float32)[targets]
    noise = generator.normal(size=(2, 40, classes)).astype(np.float32)
    history = tuple(Epoch(epoch, 1e-3 / (epoch + 1), 1.0 / (epoch + 1), 0.9 - 0.1 * epoch, 0.5) for epoch in range(3))
    facts: dict[str, Any] = {
        "split": "test",
        "head_only": score(noise[0] + right / 3, targets),
        "adapter": score(noise[1] + right, targets),
        "fit": Fit(history, 1, 12),
        "proofs": Proofs(True, 8, 150, "f" * 64, 12),
        "recipe": Recipe(rank=4, seed=7, epochs=3, precision="bf16", device="cpu", workers=0),
        "augment": "fine",
        "trainable": 39_264,
        "frozen": 5_524_416,
        "penalty": 0.1,
        "precision": "bf16",
        "device": "x86_64 CPU, 2 threads",
        "seconds": 12.345,
    }
    return Measured(**{**facts, **changes})
