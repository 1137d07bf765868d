"""train.evaluation.evaluate: what a network says about a split, in its order and in the device's precision."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.data.batches.loader import EvaluationLoader, evaluation_loader
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.train.device import kept_memory
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.evaluation.evaluate import outputs
from tests.builders import make_preprocess_spec
from tests.data.builders import make_split


def make_loader(counts: list[int], batch_size: int) -> EvaluationLoader:
    return evaluation_loader(make_split(counts), PixelCache(make_preprocess_spec((8, 8), 1.0)), batch_size)


def test_outputs_come_in_the_order_of_the_split() -> None:
    split = make_split([3, 4])
    loader = make_loader([3, 4], 3)
    seen: list[tuple[str, int, int]] = []
    values, targets = outputs(
        lambda images: images.mean(dim=(2, 3)),
        loader,
        Device(torch.device("cpu"), "fp32"),
        "look",
        lambda *s: seen.append(s),
    )
    expected = np.stack([np.asarray(split.image(row), dtype=np.float32).mean(axis=(0, 1)) / 255 for row in range(7)])
    spec = make_preprocess_spec((8, 8))
    np.testing.assert_allclose(values, (expected - np.array(spec.mean)) / np.array(spec.std), atol=1e-4)
    np.testing.assert_array_equal(targets, split.targets)
    assert seen == [("look", 1, 3), ("look", 2, 3), ("look", 3, 3)]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library keeps memory its own way")
def test_memory_is_kept_from_one_batch_to_the_next() -> None:
    kept: list[int] = []

    def look(images: torch.Tensor) -> torch.Tensor:
        kept.append(len(kept_memory.OPEN))
        return images.mean(dim=(2, 3))

    outputs(look, make_loader([3, 4], 3), Device(torch.device("cpu"), "fp32"))
    assert kept == [1, 1, 1]
    assert kept_memory.OPEN == []


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_outputs_run_in_the_devices_precision_without_gradients_and_come_back_as_float32(
    precision: str, dtype: torch.dtype
) -> None:
    layer = torch.nn.Linear(3 * 8 * 8, 2)
    seen: list[torch.Tensor] = []

    def function(images: torch.Tensor) -> torch.Tensor:
        seen.append(layer(images.flatten(1)))
        return seen[-1]

    loader = make_loader([1, 1], 2)
    values, _ = outputs(function, loader, Device(torch.device("cpu"), precision))
    assert (seen[0].dtype, seen[0].requires_grad) == (dtype, False)
    assert values.dtype == np.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_stop_the_work(value: float) -> None:
    def function(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)).index_fill(0, torch.tensor([1]), value)

    loader = make_loader([3, 3], 3)
    with pytest.raises(TrainingError, match=r"^look: the network computes NaN or infinite values for 2 of 6 images; "):
        outputs(function, loader, Device(torch.device("cpu"), "fp32"), "look")
