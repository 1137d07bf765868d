"""The training loop: adapters and head of one task, from their start to the end of an annealed schedule.

The last weights count. The learning rate ends at zero, so there is no best epoch to be picked by the accuracy of a few
images; whether the end is better than the start is for train.gate to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.loader import TrainingLoader
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train import proofs
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.outcome.measured import Step
from adaptertune_deploy.train.probe.head import Weights
from adaptertune_deploy.train.recipe import Recipe, learning_rate

# Points of the curve that a run leaves behind.
CURVE_POINTS = 40


@dataclass(frozen=True)
class Fit:
    """What the loop did.

    curve: the training loss along the way.
    adapters_with_gradient: see measured.Proofs.
    """

    curve: tuple[Step, ...]
    adapters_with_gradient: int


def fit(
    model: AdaptedViT,
    batches: TrainingLoader,
    recipe: Recipe,
    device: Device,
    weights: Weights | None = None,
    progress: Progress = silent,
    what: str = "training",
) -> Fit:
    """Train adapters and head by AdamW; afterwards the model holds the last weights and is in eval mode.

    Args:
        model: on `device`, its head at its start.
        batches: as many as there are steps.
        recipe: optimiser settings.
        device: device and precision of the steps.
        weights: [images] by a batch's rows, how much each image's loss counts; None counts them alike.
        progress: told after every step.
        what: name of this work for `progress`.

    Raises:
        TrainingError: a loss that is not finite, or an adapter without a gradient.
    """
    steps = len(batches)
    stepper = _Stepper(model, recipe, device, steps)
    counted = None if weights is None else torch.from_numpy(weights.astype("float32"))
    curve = _Curve(steps)
    model.train()
    for done, batch in enumerate(batches, start=1):
        share = None if counted is None else counted[batch.rows]
        loss = stepper.step(batch.images, batch.targets, share)
        curve.add(done, stepper.lr, loss)
        progress(what, done, steps)
    model.eval()
    return Fit(tuple(curve.points), stepper.adapters_with_gradient)


def make_optimizer(model: AdaptedViT, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with every trained tensor in exactly one group: adapters or head, with or without decay.

    Biases have no weight decay; each group's peak learning rate is kept under the key "peak".
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.trainable().items():
        groups.setdefault((name.split(".")[0], name.endswith(".bias")), []).append(parameter)
    options = []
    for (part, is_bias), parameters in groups.items():
        peak = recipe.lr * (recipe.head_lr_scale if part == "head" else 1.0)
        decay = 0.0 if is_bias else recipe.weight_decay
        options.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
    return torch.optim.AdamW(options)


class _Stepper:
    """Holds what one optimiser step needs: model, optimiser, scaler and the position in the schedule."""

    def __init__(self, model: AdaptedViT, recipe: Recipe, device: Device, steps: int) -> None:
        self.model, self.recipe, self.device, self.steps = model, recipe, device, steps
        self.optimizer = make_optimizer(model, recipe)
        self.parameters = list(model.trainable().values())
        self.scaler = device.scaler()
        self.done = 0
        self.lr = 0.0
        self.adapters_with_gradient = 0

    def step(self, images: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        """Take one step; returns the loss, still on the device so that nothing waits for it."""
        factor = learning_rate(self.done, self.steps, self.recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.lr = self.recipe.lr * factor
        loss = self._loss(images, targets, share)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        if self.done == 0:
            self.adapters_with_gradient = proofs.prove_gradients(self.model)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.done += 1
        return loss.detach()

    def _loss(self, images: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        images = images.to(self.device.torch, non_blocking=True)
        targets = targets.to(self.device.torch, non_blocking=True)
        with self.device.autocast():
            logits = self.model(images)
        smoothing = self.recipe.label_smoothing
        if share is None:
            return functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        each = functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing, reduction="none")
        return (each * share.to(self.device.torch, non_blocking=True)).mean()


class _Curve:
    """Collects the mean loss of every stretch of steps; reads the device only at the end of a stretch."""

    def __init__(self, steps: int) -> None:
        self.points: list[Step] = []
        self._steps, self._stretch = steps, max(1, math.ceil(steps / CURVE_POINTS))
        self._losses: list[Tensor] = []

    def add(self, step: int, lr: float, loss: Tensor) -> None:
        self._losses.append(loss)
        if step % self._stretch and step != self._steps:
            return
        mean = float(torch.stack(self._losses).mean())
        if not math.isfinite(mean):
            raise TrainingError(
                f"the training loss became {mean} by step {step} of {self._steps}; try a lower --lr or --precision fp32"
            )
        self.points.append(Step(step, lr, mean))
        self._losses.clear()
