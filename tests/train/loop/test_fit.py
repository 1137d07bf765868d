"""train.loop.fit: one step worked out by hand, the curve, the weights that are kept, and every reason to stop."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.model.backbone import weights_sha256
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.loop import fit as fitting
from adaptertune_deploy.train.loop.fit import Fit, fit
from adaptertune_deploy.train.request.recipe import Recipe, learning_rate
from adaptertune_deploy.train.resume.checkpoint import Checkpoints, Keeper
from tests.builders import make_task
from tests.model.builders import make_backbone, make_model, make_vit
from tests.train.runs import CPU, make_training, trained_hash

RECIPE = Recipe(lr=1e-2, head_lr_scale=0.5, weight_decay=0.1, warmup=0.2, label_smoothing=0.1, clip=0.5)


# The loop.


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors, by the tensor's address."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[int] = []

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            self.addresses.append(args[0].data_ptr())
        return function(*args, **(kwargs or {}))


def test_between_two_points_of_the_curve_nothing_waits_for_a_number_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "CURVE_POINTS", 2)
    in_steps: list[int] = []
    at_points: list[int] = []
    step, add = fitting.Stepper.step, fitting._Curve.add

    def watched_step(self: Any, images: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        before = len(reads.addresses)
        counters = {state["step"].data_ptr() for state in self._optimizer.state.values()}  # AdamW's, never on a GPU
        loss = step(self, images, targets, share)
        in_steps.append(len(set(reads.addresses[before:]) - counters))
        return loss

    def watched_add(self: Any, *given: Any) -> None:
        before = len(reads.addresses)
        add(self, *given)
        at_points.append(len(reads.addresses) - before)

    monkeypatch.setattr(fitting.Stepper, "step", watched_step)
    monkeypatch.setattr(fitting._Curve, "add", watched_add)
    with Reads() as reads:
        fit(make_model(), make_training(steps=8), RECIPE, CPU, np.ones(18))
    assert in_steps[0] > 0  # the first step asks whether every adapter has a gradient
    assert in_steps[1:] == [0] * 7
    assert at_points == [0, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_matrix_products_of_training_run_in_the_precision_asked_for(precision: str, dtype: torch.dtype) -> None:
    model = make_model()
    seen: dict[str, set[torch.dtype]] = {"frozen": set(), "adapter": set(), "head": set()}
    parts = {"frozen": model.backbone.blocks[1].attn.qkv, "adapter": model.adapters["1"].down, "head": model.head}
    for name, part in parts.items():
        part.register_forward_hook(lambda _part, _inputs, output, name=name: seen[name].add(output.dtype))
    fit(model, make_training(), RECIPE, Device(torch.device("cpu"), precision))
    assert seen == {"frozen": {dtype}, "adapter": {dtype}, "head": {dtype}}
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


# Whole runs.


def test_six_images_can_be_learned_by_heart() -> None:
    recipe = Recipe(lr=5e-2, head_lr_scale=1.0)
    result = fit(make_model(), make_training(per_class=2, steps=60), recipe, CPU)
    assert result.curve[0].loss > 0.9
    assert result.curve[-1].loss < 0.05
    assert result.adapters_with_gradient == 3


def test_every_step_is_told_and_taken_in_training_mode() -> None:
    seen: list[tuple[str, int, int]] = []
    modes: list[tuple[bool, bool]] = []
    model = make_model()
    model.head.register_forward_pre_hook(lambda head, _: modes.append((head.training, model.backbone.training)))
    fit(model, make_training(steps=5), RECIPE, CPU, None, lambda *step: seen.append(step), "fold 2 of 3")
    assert modes == 5 * [(True, False)]
    assert seen == [("fold 2 of 3", step, 5) for step in range(1, 6)]
    assert not model.training


@pytest.mark.parametrize(("steps", "points"), [(1, [1]), (7, [2, 4, 6, 7]), (8, [2, 4, 6, 8]), (4, [1, 2, 3, 4])])
def test_a_point_of_the_curve_is_the_mean_loss_since_the_last_one(
    steps: int, points: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "CURVE_POINTS", 4)
    losses: list[float] = []
    step = fitting.Stepper.step

    def watched(self: Any, *given: Any) -> Tensor:
        loss = step(self, *given)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(fitting.Stepper, "step", watched)
    result = fit(make_model(), make_training(steps=steps), RECIPE, CPU)
    assert [point.step for point in result.curve] == points
    starts = [0, *points[:-1]]
    means = [np.mean(losses[start:end]) for start, end in zip(starts, points, strict=True)]
    assert [point.loss for point in result.curve] == pytest.approx(means, rel=1e-5)
    assert [point.lr for point in result.curve] == [0.01 * learning_rate(end - 1, steps, 0.2) for end in points]


def test_the_last_weights_are_kept_even_when_earlier_ones_had_a_lower_loss() -> None:
    """The run diverges; whoever kept its best step would return other weights than the last."""
    recipe = Recipe(lr=0.5, head_lr_scale=1.0, warmup=0.9)
    one, two = make_model(), make_model()
    result = fit(one, make_training(steps=9), recipe, CPU)
    losses = [point.loss for point in result.curve]
    assert losses.index(min(losses)) < 8
    stepper = fitting.Stepper(two.train(), recipe, CPU, steps=9)
    for batch in make_training(steps=9):
        stepper.step(batch.images, batch.targets, None)
    assert trained_hash(one) == trained_hash(two)


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    hashes = []
    for seed in (3, 3, 4):
        model = make_model()
        fit(model, make_training(seed=seed, steps=6, preset="fine"), RECIPE, CPU)
        hashes.append(trained_hash(model))
        torch.rand(5)
    assert hashes[0] == hashes[1] != hashes[2]


def test_weights_of_one_are_the_same_as_none() -> None:
    losses = [fit(make_model(), make_training(), RECIPE, CPU, given).curve for given in (None, np.ones(18))]
    assert [point.loss for point in losses[0]] == pytest.approx([point.loss for point in losses[1]], rel=1e-5)


def test_the_backbone_is_unchanged_despite_batch_norm_drop_path_and_dropout() -> None:
    vit = make_vit(drop_path_rate=0.5, proj_drop_rate=0.3)
    vit.norm = torch.nn.Sequential(vit.norm, torch.nn.BatchNorm1d(5))
    model = make_model(backbone=make_backbone(vit))
    before = weights_sha256(model.backbone)
    fit(model, make_training(steps=6), Recipe(lr=0.5, head_lr_scale=1.0), CPU)
    assert weights_sha256(model.backbone) == before
    assert not any(part.training for part in model.backbone.modules())


# Reasons to stop.


@pytest.mark.parametrize(("broken_at", "said"), [(1, "by step 2 of 5"), (4, "by step 4 of 5"), (5, "by step 5 of 5")])
def test_a_loss_that_is_not_finite_stops_the_run(broken_at: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "CURVE_POINTS", 3)
    model = make_model()

    def break_head(_: str, done: int, __: int) -> None:
        if done + 1 == broken_at:
            model.head.bias.data[0] = math.nan

    break_head("", 0, 5)
    with pytest.raises(TrainingError, match=f"the training loss became nan {said}; try a lower --lr"):
        fit(model, make_training(steps=5), RECIPE, CPU, None, break_head)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_stops_the_run_at_its_first_step() -> None:
    backbone = make_backbone()
    backbone.module.set_grad_checkpointing(True)
    model = make_model(make_task(blocks=(0, 1, 2)), backbone)
    start = trained_hash(model)
    steps: list[Any] = []
    timm.layers.set_reentrant_ckpt(True)
    try:
        with pytest.raises(TrainingError, match="the adapter after block 0 got no gradient in the first step"):
            fit(model, make_training(), RECIPE, CPU, None, lambda *step: steps.append(step))
    finally:
        timm.layers.set_reentrant_ckpt(False)
    assert steps == []
    assert trained_hash(model) == start


# Stopped and gone on with.


class Killed(Exception):  # noqa: N818  what a kill looks like from within
    """The process ended here."""


def checkpoints(out: Path, resume: bool = False, every: float = 1e-9) -> Checkpoints:
    found = Checkpoints(out / ".trees.checkpoint", {"task": "trees"}, every)
    if resume:
        found.resume()
    return found


def begin(out: Path, progress: Progress, every: float = 1e-9) -> None:
    keeper = Keeper(checkpoints(out, every=every), "all images")
    fit(make_model(), make_training(steps=9, preset="fine"), RECIPE, CPU, progress=progress, keeper=keeper)


def go_on(out: Path) -> tuple[str, Fit, list[int]]:
    """Fit a new network from what is kept in `out`; returns its weights' hash, the result and the steps taken."""
    keeper, taken = Keeper(checkpoints(out, resume=True), "all images"), list[int]()
    start = keeper.load()
    assert start is not None
    model, batches = make_model(), make_training(steps=9, preset="fine", start_step=start.step)
    result = fit(model, batches, RECIPE, CPU, None, lambda _, done, __: taken.append(done), start=start, keeper=keeper)
    return trained_hash(model), result, taken


def at(step: int, act: Callable[[], None]) -> Progress:
    """Return a progress that acts when so many steps are done."""
    return lambda what, done, total: act() if done == step else None


def kill() -> None:
    raise Killed


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> tuple[str, Fit]:
    """Return the weights and the curve of a training that nobody stopped."""
    monkeypatch.setattr(fitting, "CURVE_POINTS", 3)
    model = make_model()
    result = fit(model, make_training(steps=9, preset="fine"), RECIPE, CPU)
    return trained_hash(model), result


@pytest.mark.parametrize("killed", [2, 3, 5, 8, 9])
def test_a_killed_training_ends_in_the_same_weights_and_curve(
    killed: int, tmp_path: Path, expected: tuple[str, Fit]
) -> None:
    with pytest.raises(Killed):
        begin(tmp_path, at(killed, kill))
    assert go_on(tmp_path) == (*expected, list(range(killed, 10)))  # the step in which it was killed is taken again


def test_a_stopped_training_keeps_its_latest_step(tmp_path: Path, expected: tuple[str, Fit]) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, at(4, interrupt), every=1e9)
    assert go_on(tmp_path) == (*expected, [5, 6, 7, 8, 9])


def test_a_finished_training_is_not_run_again(tmp_path: Path, expected: tuple[str, Fit]) -> None:
    begin(tmp_path, silent, every=1e9)
    assert go_on(tmp_path) == (*expected, [])


def test_a_run_stopped_at_once_does_not_cost_an_older_one_that_was_stopped(tmp_path: Path) -> None:
    for step in (6, 2):
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path, at(step, interrupt), every=1e9)
    state = checkpoints(tmp_path, resume=True).load("all images")
    assert state is not None
    assert state.step == 6


def test_a_loss_that_is_not_finite_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = fitting.Stepper.step
    monkeypatch.setattr(
        fitting.Stepper, "step", lambda self, *given: step(self, *given) * (math.nan if self.done == 4 else 1)
    )
    monkeypatch.setattr(fitting, "CURVE_POINTS", 1)
    with pytest.raises(TrainingError, match="became nan by step 4 of 9"):
        begin(tmp_path, silent)
    state = checkpoints(tmp_path, resume=True).load("all images")
    assert state is not None
    assert state.step == 3
