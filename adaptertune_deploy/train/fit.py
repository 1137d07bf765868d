"""The training loop: adapters and head of one task, the best epoch restored at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.loader import EvaluationLoader, TrainingLoader
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train import proofs
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.evaluate import outputs, score
from adaptertune_deploy.train.recipe import Recipe, learning_rate


@dataclass(frozen=True)
class Epoch:
    """One line of the history; losses in nats, accuracy 0..1, validation values NaN without a validation split."""

    epoch: int
    lr: float
    train_loss: float
    val_loss: float
    val_top1: float


@dataclass(frozen=True)
class Fit:
    """What the loop did.

    history: one entry an epoch.
    best_epoch: the epoch whose weights the model now holds.
    adapters_with_gradient: see proofs.Proofs.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    adapters_with_gradient: int


def fit(
    model: AdaptedViT,
    train: TrainingLoader,
    val: EvaluationLoader | None,
    recipe: Recipe,
    epochs: int,
    device: Device,
    progress: Progress = silent,
) -> Fit:
    """Train adapters and head by AdamW; afterwards the model holds the epoch of highest validation accuracy.

    Of epochs with equal accuracy the one of lower validation loss is kept; without a validation split, the last one.

    Args:
        model: on `device`, its head at its start.
        train: training batches, a new order and augmentation every epoch.
        val: validation images, or None.
        recipe: optimiser settings.
        epochs: passes over `train`.
        device: device and precision of the steps.
        progress: told after every step.

    Raises:
        TrainingError: a loss or a validation logit that is not finite, or an adapter without a gradient.
    """
    optimizer = make_optimizer(model, recipe)
    stepper = _Stepper(model, optimizer, recipe, device, steps=epochs * len(train))
    history: list[Epoch] = []
    best, best_rank, best_epoch = _snapshot(model), (-math.inf, -math.inf), 0
    for epoch in range(epochs):
        train_loss = _train_epoch(stepper, train, epoch, epochs, progress)
        entry = _validate(model, val, device, epoch, stepper.lr, train_loss)
        history.append(entry)
        rank = (entry.val_top1, -entry.val_loss)
        if val is None or rank > best_rank:
            best, best_rank, best_epoch = _snapshot(model), rank, epoch
    _restore(model, best)
    return Fit(tuple(history), best_epoch, stepper.adapters_with_gradient)


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

    def __init__(
        self, model: AdaptedViT, optimizer: torch.optim.AdamW, recipe: Recipe, device: Device, steps: int
    ) -> None:
        self.model, self.optimizer, self.recipe, self.device, self.steps = model, optimizer, recipe, device, steps
        self.parameters = list(model.trainable().values())
        self.scaler = device.scaler()
        self.done = 0
        self.lr = 0.0
        self.adapters_with_gradient = 0

    def step(self, images: Tensor, targets: Tensor) -> Tensor:
        """Take one step; returns the loss, still on the device so that nothing waits for it."""
        factor = learning_rate(self.done, self.steps, self.recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.lr = self.recipe.lr * factor
        images = images.to(self.device.torch, non_blocking=True)
        targets = targets.to(self.device.torch, non_blocking=True)
        with self.device.autocast():
            logits = self.model(images)
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=self.recipe.label_smoothing)
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


def _train_epoch(stepper: _Stepper, train: TrainingLoader, epoch: int, epochs: int, progress: Progress) -> float:
    stepper.model.train()
    losses: list[Tensor] = []
    for batch in train.epoch(epoch):
        losses.append(stepper.step(batch.images, batch.targets))
        progress(f"train, epoch {epoch + 1}/{epochs}", stepper.done, stepper.steps)
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise TrainingError(
            f"the training loss became {mean} in epoch {epoch + 1}; try a lower --lr or --precision fp32"
        )
    return mean


def _validate(
    model: AdaptedViT, val: EvaluationLoader | None, device: Device, epoch: int, lr: float, train_loss: float
) -> Epoch:
    if val is None:
        return Epoch(epoch, lr, train_loss, math.nan, math.nan)
    model.eval()
    result = score(*outputs(model, val, device, f"validation of epoch {epoch + 1}"))
    return Epoch(epoch, lr, train_loss, result.loss, result.top1)


def _snapshot(model: AdaptedViT) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.trainable().items()}


@torch.no_grad()
def _restore(model: AdaptedViT, snapshot: dict[str, Tensor]) -> None:
    for name, parameter in model.trainable().items():
        parameter.copy_(snapshot[name])
    model.eval()
