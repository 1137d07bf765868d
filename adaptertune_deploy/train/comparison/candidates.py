"""The two candidates of a run: the careful probe, and adapters with a head of their own, fitted on the same images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.model.adapted import AdaptedViT, pooled_features
from adaptertune_deploy.model.common_part import features_after
from adaptertune_deploy.model.tuned import TunedViT
from adaptertune_deploy.train.evaluation.evaluate import outputs
from adaptertune_deploy.train.logs.log import unlogged
from adaptertune_deploy.train.loop import proofs
from adaptertune_deploy.train.loop.fit import Fit, fit
from adaptertune_deploy.train.probe.head import Head, Weights, fit_head
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.request.recipe import FULL, count_steps
from adaptertune_deploy.train.resume.checkpoint import Keeper
from adaptertune_deploy.train.run import Run
from adaptertune_deploy.train.shared.work import Work

Rows = npt.NDArray[np.int64]
START_PROOF_IMAGES = 8


@dataclass(frozen=True, eq=False)
class Frozen:
    """What the frozen backbone says about the images that may be trained on.

    features: [images, features] float32, of the images as they are served.
    targets: [images] class indices.
    weights: [images] how much each image counts; None counts them alike.
    """

    features: Array
    targets: Targets
    weights: Weights | None

    def take(self, rows: Rows) -> Frozen:
        """Return the same of these rows, in this order."""
        weights = None if self.weights is None else self.weights[rows]
        return Frozen(self.features[rows], self.targets[rows], weights)


@dataclass(frozen=True, eq=False)
class Adapted:
    """Adapters and head after their training.

    model: in eval mode; its logits have no temperature yet.
    fit: what the loop did.
    start_images: on so many images its start equalled the backbone bit for bit.
    """

    model: AdaptedViT
    fit: Fit
    start_images: int


def frozen_features(run: Run, part: str) -> tuple[Array, Targets]:
    """Return the backbone's features [images, features] of a split, "train" or "test", and its targets."""
    module, views = run.backbone.module, run.views

    def features(images: Tensor) -> Tensor:
        if views is None or images.ndim == 4:
            return pooled_features(module, images)
        return features_after(module, images, views.block)

    loader = run.training_images() if part == "train" else run.test_images()
    return outputs(features, loader, run.exact, f"frozen features of {part}", run.progress)


def fit_adapters(run: Run, frozen: Frozen, probe: Probe, rows: Rows, seed: int, what: str) -> Adapted:
    """Train adapters and their head on these rows, from a start that equals the backbone and a strongly penalised head.

    The start's head is not the careful probe: a head that is sure of itself leaves adapters little to learn.

    Args:
        run: the training images and the recipe.
        frozen: of all training images.
        probe: the careful probe, whose penalty the start's is a share of.
        rows: of the training images.
        seed: of initialisation, order and augmentation.
        what: name of this work for the progress.

    Raises:
        TrainingError: the loss is not finite, or a proof failed.
    """
    recipe, task = replace(run.recipe, seed=seed), run.task
    torch.manual_seed(seed)
    model = _untrained(run).to(run.device.torch).eval()
    start_images = proofs.prove_start(model, run.some_images(rows[:START_PROOF_IMAGES]))
    part = frozen.take(rows)
    penalty = probe.head.penalty * recipe.start_penalty_scale
    set_head(model, fit_head(part.features, part.targets, len(task.labels), penalty, part.weights))
    name = f"seed {seed} rank {recipe.rank} {what}"
    keeper = Keeper(run.checkpoints, name) if run.checkpoints else None
    start = keeper.load() if keeper else None
    begun = start.step if start else 0
    steps = count_steps(recipe, len(rows), len(frozen.targets))
    if run.group is not None:
        run.group.send(Work(rows, recipe, part.weights, model.export_tensors(), steps, start))
    batches = run.batches(rows, steps, seed, begun)
    log = run.logs.training(name, begun) if run.logs else unlogged
    with run.device.fast_steps(replace(run.backbone, module=model.backbone), model):
        result = fit(
            model,
            batches,
            recipe,
            run.device,
            part.weights,
            run.progress,
            what,
            start,
            keeper,
            run.tell,
            log,
            run.group,
        )
    return Adapted(model, result, start_images)


def _untrained(run: Run) -> AdaptedViT:
    """Return a network that starts as the pretrained one, with what the method trains."""
    if run.recipe.method == FULL:
        return TunedViT(run.backbone, run.task, run.recipe.drop_path)
    return AdaptedViT(run.backbone, run.task)


@torch.no_grad()
def set_head(model: AdaptedViT, head: Head) -> None:
    """Copy a linear head into a network."""
    model.head.weight.copy_(torch.from_numpy(head.weight))
    model.head.bias.copy_(torch.from_numpy(head.bias))
