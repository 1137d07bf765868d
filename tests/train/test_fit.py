"""train.fit: one step worked out by hand, the epoch that is kept, and every reason to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import weights_sha256
from adaptertune_deploy.train import fit as fitting
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.fit import fit, make_optimizer
from adaptertune_deploy.train.recipe import Recipe, learning_rate
from tests.builders import make_task
from tests.model.builders import disturb, make_backbone, make_model, make_vit
from tests.train.runs import CPU, make_loaders, trained_hash

RECIPE = Recipe(lr=1e-2, head_lr_scale=0.5, weight_decay=0.1, warmup=0.2, label_smoothing=0.1, clip=0.5)
Validate = Callable[[int], float]


@pytest.fixture
def validate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Validate], list[str]]:
    """Give each epoch's validation a loss; returns the hashes of the weights that were validated."""

    def forge(loss_of: Validate) -> list[str]:
        hashes: list[str] = []

        def outputs(model: AdaptedViT, *_: Any) -> tuple[np.ndarray, np.ndarray]:
            loss = loss_of(len(hashes))
            hashes.append(trained_hash(model))
            return np.array([[0.0, math.log(math.expm1(loss))]], dtype=np.float32), np.array([0])

        monkeypatch.setattr(fitting, "outputs", outputs)
        return hashes

    return forge


# One step.


def test_every_trained_tensor_is_in_exactly_one_group() -> None:
    model = make_model()
    groups = make_optimizer(model, RECIPE).param_groups
    names = {id(value): name for name, value in model.trainable().items()}
    grouped = [names.pop(id(parameter)) for group in groups for parameter in group["params"]]
    assert names == {}
    assert len(grouped) == len(set(grouped)) == 3 * 4 + 2
    for group in groups:
        for parameter in group["params"]:
            name = next(key for key, value in model.trainable().items() if value is parameter)
            assert group["weight_decay"] == (0.0 if name.endswith("bias") else 0.1)
            assert group["lr"] == group["peak"] == (0.005 if name.startswith("head.") else 0.01)


def test_the_first_step_is_adamw_on_the_clipped_gradient_of_the_smoothed_loss() -> None:
    train, _ = make_loaders(per_class=2)
    batch = next(train.epoch(0))
    reference = disturb(make_model()).train()
    logits = reference(batch.images).double()
    wanted = torch.full_like(logits, 0.1 / 3)
    wanted[torch.arange(6), batch.targets] += 0.9
    loss = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss.backward()
    parameters = reference.trainable()
    norm = math.sqrt(sum(float(value.grad.double().square().sum()) for value in parameters.values()))
    assert norm > 0.5  # or clipping would go unnoticed
    rate = learning_rate(0, 1, 0.2)
    model = disturb(make_model())
    result = fit(model, train, None, RECIPE, 1, CPU)
    assert result.history[0].train_loss == pytest.approx(loss.item(), rel=1e-5)
    for name, value in model.trainable().items():
        before, gradient = parameters[name].detach().double(), parameters[name].grad.double() * 0.5 / norm
        lr = rate * (0.005 if name.startswith("head.") else 0.01)
        decay = 0.0 if name.endswith("bias") else 0.1
        expected = before * (1 - lr * decay) - lr * gradient / (gradient.abs() + 1e-8)
        sure = gradient.abs() > 1e-6  # AdamW's first step is the gradient's sign: rounding decides the tiniest
        assert sure.double().mean() > 0.9
        torch.testing.assert_close(value.detach().double()[sure], expected[sure], rtol=1e-4, atol=1e-6, msg=name)


def test_every_step_has_its_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def watched(model: AdaptedViT, recipe: Recipe) -> torch.optim.AdamW:
        optimizer = make_optimizer(model, recipe)
        optimizer.register_step_pre_hook(lambda *_: seen.append([group["lr"] for group in optimizer.param_groups]))
        return optimizer

    monkeypatch.setattr(fitting, "make_optimizer", watched)
    train, _ = make_loaders()
    result = fit(make_model(), train, None, RECIPE, 4, CPU)
    factors = [learning_rate(step, 12, 0.2) for step in range(12)]
    assert seen == [pytest.approx([0.01 * f, 0.01 * f, 0.005 * f, 0.005 * f]) for f in factors]
    assert [entry.lr for entry in result.history] == pytest.approx([0.01 * f for f in factors[2::3]])


def test_the_gradient_is_clipped_over_all_trained_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []

    def watched(model: AdaptedViT, recipe: Recipe) -> torch.optim.AdamW:
        optimizer = make_optimizer(model, recipe)
        optimizer.register_step_pre_hook(
            lambda *_: norms.append(math.hypot(*(float(value.grad.norm()) for value in model.trainable().values())))
        )
        return optimizer

    monkeypatch.setattr(fitting, "make_optimizer", watched)
    for clip in (0.01, math.inf):
        train, _ = make_loaders()
        fit(disturb(make_model()), train, None, Recipe(clip=clip), 1, CPU)
    assert norms[:3] == pytest.approx([0.01] * 3, rel=1e-4)
    assert min(norms[3:]) > 0.1


def test_a_step_waits_for_no_number_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Any] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten._local_scalar_dense.default:
                reads.append(args[0].data_ptr())
            return function(*args, **(kwargs or {}))

    step, taken = fitting._Stepper.step, []

    def watched(self: Any, images: Tensor, targets: Tensor) -> Tensor:
        taken.append(self)
        if len(taken) == 1:  # the first step asks whether every adapter has a gradient
            return step(self, images, targets)
        counters = {state["step"].data_ptr() for state in self.optimizer.state.values()}  # AdamW's own, never on a GPU
        with Watch():
            loss = step(self, images, targets)
        assert set(reads) <= counters
        return loss

    monkeypatch.setattr(fitting._Stepper, "step", watched)
    train, _ = make_loaders()
    fit(make_model(), train, None, RECIPE, 1, CPU)
    assert len(taken) == 3


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_matrix_products_of_training_run_in_the_precision_asked_for(precision: str, dtype: torch.dtype) -> None:
    model = make_model()
    seen: dict[str, set[torch.dtype]] = {"frozen": set(), "adapter": set(), "head": set()}
    parts = {"frozen": model.backbone.blocks[1].attn.qkv, "adapter": model.adapters["1"].down, "head": model.head}
    for name, part in parts.items():
        part.register_forward_hook(lambda _part, _inputs, output, name=name: seen[name].add(output.dtype))
    train, _ = make_loaders()
    fit(model, train, None, RECIPE, 1, Device(torch.device("cpu"), precision))
    assert seen == {"frozen": {dtype}, "adapter": {dtype}, "head": {dtype}}
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


# Whole runs.


def test_six_images_can_be_learned_by_heart() -> None:
    train, _ = make_loaders(per_class=2)
    recipe = Recipe(lr=5e-2, head_lr_scale=1.0, label_smoothing=0.0)
    result = fit(make_model(), train, None, recipe, 60, CPU)
    assert result.history[0].train_loss > 0.9
    assert result.history[-1].train_loss < 0.05
    assert result.adapters_with_gradient == 3


def test_every_epoch_trains_validates_and_is_recorded() -> None:
    train, val = make_loaders()
    seen: list[tuple[str, int, int]] = []
    modes: list[bool] = []
    model = make_model()
    model.head.register_forward_pre_hook(lambda head, _: modes.append(head.training))
    result = fit(model, train, val, RECIPE, 2, CPU, lambda *step: seen.append(step))
    assert modes == 2 * [True, True, True, False, False, False]
    assert [entry.epoch for entry in result.history] == [0, 1]
    assert seen == [(f"train, epoch {1 + step // 3}/2", step + 1, 6) for step in range(6)]


def test_the_best_epoch_is_restored(validate: Callable[[Validate], list[str]]) -> None:
    losses = [0.9, 0.4, 0.6, 0.5]
    hashes = validate(lambda epoch: losses[epoch])
    train, val = make_loaders()
    model = make_model()
    result = fit(model, train, val, RECIPE, 4, CPU)
    assert result.best_epoch == 1
    assert trained_hash(model) == hashes[1]
    assert len(set(hashes)) == 4
    assert [entry.val_loss for entry in result.history] == pytest.approx(losses, rel=1e-5)
    assert not model.training


def test_an_epoch_without_a_right_answer_is_kept_all_the_same(validate: Callable[[Validate], list[str]]) -> None:
    hashes = validate(lambda epoch: 5.0 + epoch)
    train, val = make_loaders()
    model = make_model()
    start = trained_hash(model)
    result = fit(model, train, val, RECIPE, 2, CPU)
    assert [entry.val_top1 for entry in result.history] == [0, 0]
    assert result.best_epoch == 0
    assert trained_hash(model) == hashes[0] != start


def test_validation_sees_the_whole_split_in_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[bool] = []
    outputs = fitting.outputs

    def watched(model: AdaptedViT, *rest: Any) -> Any:
        modes.append(model.training)
        return outputs(model, *rest)

    monkeypatch.setattr(fitting, "outputs", watched)
    train, val = make_loaders()
    model = make_model()
    result = fit(model, train, val, RECIPE, 1, CPU)
    values, targets = outputs(model, val, CPU)
    assert modes == [False]
    assert result.history[0].val_top1 == pytest.approx((values.argmax(axis=1) == targets).mean())


def test_without_validation_the_last_epoch_is_kept() -> None:
    train, _ = make_loaders()
    one, two = make_model(), make_model()
    result = fit(one, train, None, RECIPE, 3, CPU)
    assert result.best_epoch == 2
    assert all(math.isnan(entry.val_loss) and math.isnan(entry.val_top1) for entry in result.history)
    stepper = fitting._Stepper(two, make_optimizer(two, RECIPE), RECIPE, CPU, steps=9)
    for epoch in range(3):
        for batch in train.epoch(epoch):
            stepper.step(batch.images, batch.targets)
    assert trained_hash(one) == trained_hash(two)


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    hashes = []
    for seed in (3, 3, 4):
        train, val = make_loaders(seed=seed, preset="fine")
        model = make_model()
        fit(model, train, val, RECIPE, 2, CPU)
        hashes.append(trained_hash(model))
        torch.rand(5)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_backbone_is_unchanged_despite_batch_norm_drop_path_and_dropout() -> None:
    vit = make_vit(drop_path_rate=0.5, proj_drop_rate=0.3)
    vit.norm = torch.nn.Sequential(vit.norm, torch.nn.BatchNorm1d(5))
    model = make_model(backbone=make_backbone(vit))
    before = weights_sha256(model.backbone)
    train, val = make_loaders()
    fit(model, train, val, Recipe(lr=0.5, head_lr_scale=1.0), 2, CPU)
    assert weights_sha256(model.backbone) == before
    assert not any(part.training for part in model.backbone.modules())


# Reasons to stop.


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    model = make_model()
    with torch.no_grad():
        model.head.bias[0] = math.nan
    train, val = make_loaders()
    with pytest.raises(TrainingError, match="the training loss became nan in epoch 1; try a lower --lr"):
        fit(model, train, val, RECIPE, 2, CPU)


def test_a_validation_that_is_not_finite_stops_the_run() -> None:
    model = make_model()

    def break_head(what: str, done: int, total: int) -> None:
        if done == 6:
            model.head.weight.data[0, 0] = math.inf

    train, val = make_loaders()
    with pytest.raises(TrainingError, match=r"^validation of epoch 2: .* for 12 of 12 images; try a lower --lr"):
        fit(model, train, val, RECIPE, 3, CPU, break_head)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_stops_the_run_at_its_first_step() -> None:
    backbone = make_backbone()
    backbone.module.set_grad_checkpointing(True)
    model = make_model(make_task(blocks=(0, 1, 2)), backbone)
    start = trained_hash(model)
    train, val = make_loaders()
    steps: list[Any] = []
    timm.layers.set_reentrant_ckpt(True)
    try:
        with pytest.raises(TrainingError, match="the adapter after block 0 got no gradient in the first step"):
            fit(model, train, val, RECIPE, 2, CPU, lambda *step: steps.append(step))
    finally:
        timm.layers.set_reentrant_ckpt(False)
    assert steps == []
    assert trained_hash(model) == start
