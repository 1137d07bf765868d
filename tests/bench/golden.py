"""The golden bundle with adapters that hold torch's answers about its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from tests.builders import give_reference

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
CLASSES = {"birds": 3, "cars": 5, "trees": 4, "cars-adapter": 5}


def golden_logits() -> Mapping[str, Array]:
    """Return torch's logits about the golden images, task -> [4, C]; "cars" is its head alone."""
    shapes = {name: (4, count) for name, count in CLASSES.items()}
    return tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), shapes, "golden")


def give_answers(adapters: Path, shift: float = 0.0) -> None:
    """Give the golden adapter folders the golden images as samples, and torch's answers, moved by `shift`."""
    images = [path.read_bytes() for path in sorted((GOLDEN / "images").iterdir())]
    logits = {name: value + np.float32(shift) for name, value in golden_logits().items()}
    for task, answers in (
        ("birds", {"adapter": logits["birds"], "head": np.zeros_like(logits["birds"])}),
        ("cars", {"adapter": logits["cars-adapter"], "head": logits["cars"]}),
    ):
        give_reference(adapters / task, images, answers)
