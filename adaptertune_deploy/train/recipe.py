"""What a training run is asked to do, and the budget that a device gets when nobody asked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import FLOAT32_MAX, MAX_COUNT
from adaptertune_deploy.train.device_names import check_device_name

# Images seen in one run when --epochs is not given: some minutes on two CPU cores, fifty epochs of Pets on a GPU.
SAMPLE_BUDGET = {"cpu": 9_000, "cuda": 200_000}
FEWEST_EPOCHS, MOST_EPOCHS = 2, 20
LARGEST_SEED = 1 << 32


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    rank, alpha: of every adapter (core.spec.AdapterSpec).
    placement: "all", "last:K" or "every:K" blocks; the backbone's depth is compared when it is known (place).
    epochs: passes over the training split; 0 takes the device's sample budget.
    batch_size: images in a step.
    lr: peak learning rate of the adapters; the head learns at `lr * head_lr_scale`.
    weight_decay: on weight matrices only, never on biases.
    warmup: share of all steps with a rising learning rate; a cosine to zero follows.
    clip: largest norm of the gradient over all trained tensors.
    label_smoothing: of the cross-entropy.
    seed: of the adapters' initialisation, the order of the images and their augmentation; the split has its own.
    precision: "auto", "fp32", "bf16" or "fp16" autocast for the training steps.
    device: "auto", "cpu", "cuda" or "cuda:N".
    workers: processes that read images; -1 chooses.
    """

    rank: int = 8
    alpha: float = 1.0
    placement: str = "all"
    epochs: int = 0
    batch_size: int = 32
    lr: float = 3e-3
    head_lr_scale: float = 0.3
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    label_smoothing: float = 0.0
    seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    workers: int = -1

    def __post_init__(self) -> None:
        wrong = [
            f"--{name.replace('_', '-')} {value}: expected {expected}"
            for name, value, correct, expected in (
                ("rank", self.rank, 1 <= self.rank <= MAX_COUNT, f"a whole number from 1 to {MAX_COUNT}"),
                ("alpha", self.alpha, 0 < self.alpha <= FLOAT32_MAX, "a positive number that float32 can hold"),
                ("epochs", self.epochs, self.epochs >= 0, "0 (automatic) or more"),
                ("batch_size", self.batch_size, self.batch_size >= 1, "a whole number from 1"),
                ("lr", self.lr, 0 < self.lr < 1, "a number between 0 and 1"),
                ("head_lr_scale", self.head_lr_scale, 0 <= self.head_lr_scale < math.inf, "a number from 0"),
                ("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "a number from 0"),
                ("clip", self.clip, self.clip > 0, "a positive number"),
                ("warmup", self.warmup, 0 <= self.warmup < 1, "a share from 0 to below 1"),
                ("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "a share from 0 to below 1"),
                ("seed", self.seed, 0 <= self.seed < LARGEST_SEED, f"a whole number from 0 to {LARGEST_SEED - 1}"),
                ("workers", self.workers, self.workers >= -1, "-1 (automatic) or more"),
            )
            if not correct
        ]
        if wrong:
            raise UsageError("; ".join(wrong))
        _parse_placement(self.placement, "1 to the backbone's depth")
        check_device_name(self.device, self.precision)


def place(placement: str, depth: int) -> tuple[int, ...]:
    """Return the indices of the blocks that get an adapter.

    Args:
        placement: "all", "last:K" (the last K blocks) or "every:K" (blocks 0, K, 2K, ...).
        depth: number of blocks of the backbone.

    Raises:
        UsageError: another form, or a K that does not fit the depth.
    """
    kind, step = _parse_placement(placement, f"1 to {depth}")
    if step > depth:
        raise UsageError(_expected(placement, f"1 to {depth}"))
    return tuple(range(depth - step, depth)) if kind == "last" else tuple(range(0, depth, step))


def _parse_placement(placement: str, limits: str) -> tuple[str, int]:
    if placement == "all":
        return "every", 1
    match = re.fullmatch(r"(last|every):([1-9][0-9]{0,4})", placement)
    if match is None:
        raise UsageError(_expected(placement, limits))
    return match[1], int(match[2])


def _expected(placement: str, limits: str) -> str:
    return f"--placement {placement}: expected all, last:K or every:K with K from {limits}"


def count_epochs(recipe: Recipe, images: int, device: str) -> int:
    """Return the number of epochs: as asked, or what the device's sample budget pays for.

    Args:
        recipe: the settings.
        images: size of the training split.
        device: "cpu" or "cuda".
    """
    if recipe.epochs:
        return recipe.epochs
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, SAMPLE_BUDGET[device] // images))


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the peak learning rate at a step: linear warm-up, then a cosine to zero.

    Args:
        step: from 0 to steps - 1.
        steps: of the whole run.
        warmup: share of the steps that warm up.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
