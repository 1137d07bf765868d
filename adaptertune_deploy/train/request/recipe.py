"""What a training run is asked to do, and the length of its schedule when nobody asked."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.spec import FLOAT32_MAX, MAX_COUNT
from adaptertune_deploy.data.names.presets import AUTO as AUTO_AUGMENT
from adaptertune_deploy.data.names.presets import PRESETS
from adaptertune_deploy.train.device.names import check_device_name
from adaptertune_deploy.train.request.placement import check_placement

GIVEN, AUTO, AUTO_FAST = "given", "auto", "auto:fast"
SEARCHES = (GIVEN, AUTO, AUTO_FAST)
USUAL_RANK = 8
ADAPTER, HEAD, FULL = "adapter", "head", "full"
METHODS = (ADAPTER, HEAD, FULL)
# Full fine-tuning as Vision Transformers are fine-tuned (arXiv 2111.06377, table 9; timm's recipes): rates that fall
# with the distance from the head, and stochastic depth.
FULL_RECIPE = {"lr": 5e-4, "head_lr_scale": 4.0, "weight_decay": 0.05, "drop_path": 0.1}
# Settings of adapters that nothing else looks at.
OF_ADAPTERS = ("placement", "alpha")
NESTED = "nested"
NESTED_RANK = 32
FEWEST_NESTED = 2
SHIPS = ("auto", ADAPTER, HEAD, FULL)
CLASS_WEIGHTS = ("balanced", "none")
AUGMENTS = (AUTO_AUGMENT, *PRESETS)
LARGEST_SEED = 1 << 32
MOST_FOLDS = 20
MOST_SEEDS = 100
MOST_VIEWS = 64
# Images that a run sees, by the size of the data: eight passes over a thousand, four over two to ten thousand, two
# over twenty thousand and more.
MOST_EPOCHS, USUAL_EPOCHS, FEWEST_EPOCHS = 8.0, 4.0, 2.0
SMALL, LARGE = 8_000, 40_000
FEWEST_STEPS = 60
# annotation of a field -> the types that it takes, NumPy's among them, and what they are called
TYPES: dict[str, tuple[type, str]] = {
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
    "str": (str, "a text"),
    "bool": (bool, "True or False"),
}


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    rank, alpha: of every adapter (core.spec.AdapterSpec); rank 0 trains the head alone.
    search: "given" takes that rank, "auto" finds the smallest that is enough on the folds of the comparison,
        "auto:fast" on one split, and fewer ranks where a run with a given rank has one split too.
    method: "adapter", or "full" for fine-tuning the whole backbone, at rank 0; method_fields has its settings.
    layer_decay: of full fine-tuning, a block's learning rate over that of the block after it, 0 to 1.
    nested: train adapters whose first 1, 2, 4, ... hidden units are good adapters too (nested_widths); the gate looks
        at the full width.
    placement: "all", "last:K" or "every:K" blocks, or a list "3,7,11" of them, counted from 0; the backbone's depth is
        compared when it is known (place).
    ship: "auto" lets cross-validation choose, "adapter" (or "full") or "head" overrules it.
    class_weights: "balanced" lets every class count the same where their sizes differ, "none" every image.
    folds: of the comparison; 0 chooses by the number of images, 1 is one split.
    seeds: how many trainings, each with a seed of its own, for mean and spread; the first one is kept.
    epochs: passes over the training images; 0 chooses by their number.
    batch_size: images in a step.
    lr: peak learning rate of the adapters; the head learns at `lr * head_lr_scale`.
    start_penalty_scale: the head starts from a probe whose penalty C is the careful probe's times this.
    weight_decay: on weight matrices only, never on biases.
    warmup: share of all steps with a rising learning rate; a cosine to zero follows.
    clip: largest norm of the gradient over all trained tensors.
    label_smoothing: of the cross-entropy.
    dropout: share of the bottleneck's channels that a training step sets to zero, 0 to below 1.
    drop_path: share of the images that pass by an adapter in a training step, 0 to below 1; in full fine-tuning, by a
        branch of the last block (model.tuned).
    served_view: share of the samples that are not augmented but prepared as a server does it, 0..1.
    augment: what is done to training images, one of data.names.presets.PRESETS; "auto" leaves it to the dataset.
    views: fixed augmentations of each image, whose frozen part is computed once; 0 augments anew in every epoch.
    seed: of the adapters' initialisation, the order of the images and their augmentation; splits and folds have
        their own. The other seeds are those that follow it.
    precision: "auto", "fp32", "bf16" or "fp16" autocast for the training steps.
    device: "auto", "cpu", "cuda" or "cuda:N".
    workers: processes that read images; -1 chooses.
    """

    rank: int = USUAL_RANK
    alpha: float = 1.0
    search: str = GIVEN
    nested: bool = False
    method: str = ADAPTER
    layer_decay: float = 0.75
    placement: str = "all"
    ship: str = "auto"
    class_weights: str = "balanced"
    folds: int = 0
    seeds: int = 1
    epochs: int = 0
    batch_size: int = 32
    lr: float = 6e-3
    head_lr_scale: float = 0.3
    start_penalty_scale: float = 0.1
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    label_smoothing: float = 0.0
    served_view: float = 1 / 3
    augment: str = AUTO_AUGMENT
    views: int = 0
    dropout: float = 0.0
    drop_path: float = 0.0
    seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    workers: int = -1

    def __post_init__(self) -> None:
        self._check_types()
        wrong = [
            f"--{name.replace('_', '-')} {value}: expected {expected}"
            for name, value, correct, expected in (
                ("rank", self.rank, 0 <= self.rank <= MAX_COUNT, f"a whole number from 0 (head only) to {MAX_COUNT}"),
                ("alpha", self.alpha, 0 < self.alpha <= FLOAT32_MAX, "a positive number that float32 can hold"),
                ("rank", self.search, self.search in SEARCHES, "a whole number, auto or auto:fast"),
                ("ship", self.ship, self.ship in SHIPS, _one_of(SHIPS, self.ship)),
                ("method", self.method, self.method in (ADAPTER, FULL), "adapter, head or full"),
                ("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, "a share above 0, to 1"),
                (
                    "class_weights",
                    self.class_weights,
                    self.class_weights in CLASS_WEIGHTS,
                    _one_of(CLASS_WEIGHTS, self.class_weights),
                ),
                ("folds", self.folds, 0 <= self.folds <= MOST_FOLDS, f"0 (automatic) to {MOST_FOLDS}"),
                ("seeds", self.seeds, 1 <= self.seeds <= MOST_SEEDS, f"a whole number from 1 to {MOST_SEEDS}"),
                ("epochs", self.epochs, self.epochs >= 0, "0 (automatic) or more"),
                ("batch_size", self.batch_size, self.batch_size >= 1, "a whole number from 1"),
                ("lr", self.lr, 0 < self.lr < 1, "a number between 0 and 1"),
                ("head_lr_scale", self.head_lr_scale, 0 <= self.head_lr_scale < math.inf, "a number from 0"),
                (
                    "start_penalty_scale",
                    self.start_penalty_scale,
                    0 < self.start_penalty_scale < math.inf,
                    "a positive number",
                ),
                ("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "a number from 0"),
                ("clip", self.clip, self.clip > 0, "a positive number"),
                ("warmup", self.warmup, 0 <= self.warmup < 1, "a share from 0 to below 1"),
                ("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "a share from 0 to below 1"),
                ("served_view", self.served_view, 0 <= self.served_view <= 1, "a share from 0 to 1"),
                ("augment", self.augment, self.augment in AUGMENTS, _one_of(AUGMENTS, self.augment)),
                ("views", self.views, 0 <= self.views <= MOST_VIEWS, f"0 (anew in every epoch) to {MOST_VIEWS}"),
                ("dropout", self.dropout, 0 <= self.dropout < 1, "a share from 0 to below 1"),
                ("drop_path", self.drop_path, 0 <= self.drop_path < 1, "a share from 0 to below 1"),
                ("seed", self.seed, 0 <= self.seed < LARGEST_SEED, f"a whole number from 0 to {LARGEST_SEED - 1}"),
                ("workers", self.workers, self.workers >= -1, "-1 (automatic) or more"),
            )
            if not correct
        ]
        wrong += self._contradictions()
        if wrong:
            raise UsageError("; ".join(wrong))
        check_placement(self.placement)
        check_device_name(self.device, self.precision)

    def _contradictions(self) -> list[str]:
        """Return what is said of settings that exclude each other."""
        wrong = []
        if self.nested and (self.search != GIVEN or self.rank < FEWEST_NESTED):
            wrong.append(f"--rank nested:{self.rank}: expected a full width from {FEWEST_NESTED}, and no search")
        if self.method == FULL and (self.rank or self.search != GIVEN):
            wrong.append("--method full: trains the backbone and no adapters; leave out --rank")
        if self.method == FULL and self.views:
            wrong.append(
                f"--views {self.views}: keeps what no step changes, and --method full trains all; leave one out"
            )
        if self.method == FULL and self.dropout:
            wrong.append(f"--dropout {self.dropout}: of adapters, and --method full trains none; leave one out")
        if self.rank == 0 and self.ship == ADAPTER:
            why = "--method full trains" if self.method == FULL else "--rank 0, as --method head, trains"
            wrong.append(f"--ship adapter: {why} no adapter; leave one of them out")
        if self.ship == FULL and self.method != FULL:
            wrong.append("--ship full: nothing is fine-tuned; add --method full, or leave it out")
        if not wrong and self.seed + self.seeds > LARGEST_SEED:
            wrong.append(
                f"--seed {self.seed}: --seeds {self.seeds} ends with {self.seed + self.seeds - 1}, expected at most "
                f"{LARGEST_SEED - 1}; give a smaller --seed"
            )
        return wrong

    def _check_types(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind, words = TYPES[str(field.type)]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise UsageError(f"--{field.name.replace('_', '-')} {value!r}: expected {words}")


def _one_of(known: Sequence[str], value: str) -> str:
    """Return what was expected in place of a value that is none of the known ones, with the nearest of them."""
    near = did_you_mean(value, known)
    return f"{', '.join(known[:-1])} or {known[-1]}{near and '.'}{near}"


def rank_fields(text: str) -> dict[str, Any]:
    """Return the fields of Recipe that --rank asks for: a number, "auto", "auto:fast", "nested" or "nested:N".

    Raises:
        UsageError: anything else.
    """
    word = text.strip().lower()
    if word in SEARCHES and word != GIVEN:
        return {"rank": USUAL_RANK, "search": word, "nested": False}
    found = re.fullmatch(r"(nested)(?::([0-9]{1,9}))?|(-?[0-9]{1,9})", word)
    if found is None:
        known = [*(name for name in SEARCHES if name != GIVEN), NESTED]
        near = did_you_mean(word, known)
        raise UsageError(
            f"--rank {text:.60}: expected a whole number, {', '.join(known)} or {NESTED}:N{near and '.'}{near}"
        )
    return {"rank": int(found[2] or found[3] or NESTED_RANK), "search": GIVEN, "nested": found[1] is not None}


def method_fields(method: str) -> dict[str, Any]:
    """Return the fields of Recipe that --method asks for, which others may overrule; "head" is adapters of rank 0.

    Raises:
        UsageError: no such method.
    """
    if method not in METHODS:
        near = did_you_mean(method, METHODS)
        raise UsageError(f"--method {method:.60}: expected adapter, head or full{near and '.'}{near}")
    if method == ADAPTER:
        return {"method": ADAPTER}
    alone = {"rank": 0, "search": GIVEN, "nested": False}
    return {"method": ADAPTER, **alone} if method == HEAD else {"method": FULL, **alone, **FULL_RECIPE}


def nested_widths(rank: int) -> tuple[int, ...]:
    """Return the widths that nested adapters of a rank are trained at: the powers of two below it, then itself."""
    return (*(1 << octave for octave in range(rank.bit_length()) if 1 << octave < rank), rank)


def count_steps(recipe: Recipe, images: int, of: int = 0) -> int:
    """Return the number of optimiser steps: the epochs asked for, or what the size of the data asks for.

    Args:
        recipe: the settings.
        images: number of images that this training has, from 1.
        of: number of all training images, from which these are taken, as a fold's are; 0 where these are all. A fold's
            training passes over its images as often as the final one over all of them.
    """
    epochs = float(recipe.epochs) or usual_epochs(of or images)
    steps = math.ceil(epochs * images / min(recipe.batch_size, images))
    return steps if recipe.epochs else max(FEWEST_STEPS, steps)


def usual_epochs(images: int) -> float:
    """Return the passes over so many images that suit their number; see SMALL and LARGE."""
    return min(MOST_EPOCHS, max(SMALL / images, min(USUAL_EPOCHS, LARGE / images), FEWEST_EPOCHS))


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
