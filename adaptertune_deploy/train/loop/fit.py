"""The training loop: adapters and head of one task, from their start to the end of an annealed schedule.

The last weights count. The learning rate ends at zero, so there is no best epoch to be picked by the accuracy of a few
images; whether the end is better than the start is for train.comparison.gate to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.batches.loader import Batches
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.logs.log import StepLog, unlogged
from adaptertune_deploy.train.loop.stepper import Stepper
from adaptertune_deploy.train.outcome.measured import Step
from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.probe.head import Weights
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.resume.checkpoint import Keeper
from adaptertune_deploy.train.resume.interruption import patient
from adaptertune_deploy.train.resume.state_file import State

# Points of the curve that a run leaves behind.
CURVE_POINTS = 40
# Under this name a state holds the losses since the last point.
LOSSES = "losses"


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
    batches: Batches,
    recipe: Recipe,
    device: Device,
    weights: Weights | None = None,
    progress: Progress = silent,
    what: str = "training",
    start: State | None = None,
    keeper: Keeper | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    log: StepLog = unlogged,
    group: Group | None = None,
) -> Fit:
    """Train adapters and head by AdamW; afterwards the model holds the last weights and is in eval mode.

    A signal to stop waits for the end of a step, after which `keeper` keeps the training.

    Args:
        model: on `device`, its head at its start.
        batches: as many as there are steps left.
        recipe: optimiser settings.
        device: device and precision of the steps.
        weights: [images] by a batch's rows, how much each image's loss counts; None counts them alike.
        progress: told after every step.
        what: name of this work for `progress`.
        start: where this training was stopped; None begins it.
        keeper: keeps the training from time to time and at its end; None keeps nothing.
        tell: called with what a person should read: that a step runs in parts.
        log: told after every step.
        group: the processes that train together, each with its rows of every batch; None trains alone.

    Raises:
        TrainingError: a loss that is not finite, an adapter without a gradient, or no memory for a single image.
        KeyboardInterrupt: a signal, see train.resume.interruption.
    """
    begun = start.step if start else 0
    steps = begun + len(batches)
    stepper = Stepper(model, recipe, device, steps, tell, group)
    curve = _Curve(steps)
    if start is not None:
        stepper.load(start.step, start.tensors, start.scaler)
        stepper.adapters_with_gradient = start.adapters_with_gradient
        curve.load(start.curve, start.tensors[LOSSES])
    counted = None if weights is None else torch.from_numpy(weights.astype("float32"))

    def keep() -> None:
        if keeper is not None:
            keeper.save(_state(stepper, curve, steps))

    model.train()
    with patient() as stop:
        for done, batch in enumerate(batches, start=begun + 1):
            share = None if counted is None else counted[batch.rows]
            loss = stepper.step(batch.images, batch.targets, share)
            curve.add(done, stepper.lr, loss)
            log(done, stepper.lr, loss)
            progress(what, done, steps)
            if stop:
                if keeper is not None and keeper.stoppable:
                    keep()
                break
            if keeper is not None and keeper.due and done < steps:
                keep()
        else:
            if begun < steps:
                keep()
    if stop:
        raise KeyboardInterrupt  # the handler that the signal was raised to went on
    model.eval()
    return Fit(tuple(curve.points), stepper.adapters_with_gradient)


def _state(stepper: Stepper, curve: _Curve, steps: int) -> State:
    tensors = {**stepper.tensors(), LOSSES: curve.pending()}
    return State(
        stepper.done, steps, tensors, tuple(curve.points), stepper.adapters_with_gradient, scaler=stepper.scale()
    )


class _Curve:
    """Collects the mean loss of every stretch of steps; reads the device only at the end of a stretch."""

    def __init__(self, steps: int) -> None:
        self.points: list[Step] = []
        self._steps, self._stretch = steps, max(1, math.ceil(steps / CURVE_POINTS))
        self._losses: list[Tensor] = []

    def load(self, points: tuple[Step, ...], losses: Array) -> None:
        """Go on after these points and the losses since the last."""
        self.points = list(points)
        self._losses = list(torch.from_numpy(losses))

    def pending(self) -> Array:
        """Return the losses since the last point, float32 [steps]."""
        losses = np.array([float(loss) for loss in self._losses], dtype=np.float32)
        self._check(float(losses.sum()), self.points[-1].step + len(losses) if self.points else len(losses))
        return losses

    def add(self, step: int, lr: float, loss: Tensor) -> None:
        self._losses.append(loss)
        if step % self._stretch and step != self._steps:
            return
        mean = float(torch.stack([one.to(loss.device) for one in self._losses]).mean())
        self._check(mean, step)
        self.points.append(Step(step, lr, mean))
        self._losses.clear()

    def _check(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the training loss became {loss} by step {step} of {self._steps}; try a lower --lr or --precision fp32"
            )
