"""train.loop.stepper: one step worked out by hand, in parts where memory is short; what goes on in another process."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import FormatError, TrainingError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.model.dropping import Dropping
from adaptertune_deploy.model.tuned import TunedViT
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.loop import stepper as stepping
from adaptertune_deploy.train.loop.fit import fit
from adaptertune_deploy.train.loop.stepper import Stepper, make_optimizer
from adaptertune_deploy.train.request.recipe import Recipe, learning_rate, method_fields
from tests.builders import make_task
from tests.model.builders import disturb, make_backbone, make_model
from tests.train.runs import CPU, make_training, trained_hash

RECIPE = Recipe(lr=1e-2, head_lr_scale=0.5, weight_decay=0.1, warmup=0.2, label_smoothing=0.1, clip=0.5)
DROPPING = replace(RECIPE, dropout=0.3, drop_path=0.2)


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


@pytest.mark.parametrize("weights", [None, np.array([0.25, 2.0, 0.5, 1.5, 1.0, 0.75])])
def test_the_first_step_is_adamw_on_the_clipped_gradient_of_the_smoothed_and_weighted_loss(
    weights: np.ndarray | None,
) -> None:
    train = make_training(per_class=2, steps=1)
    batch = next(iter(train))
    assert batch.rows.tolist() != sorted(batch.rows.tolist())  # a weight must follow its image
    share = torch.ones(6) if weights is None else torch.from_numpy(weights)[batch.rows]
    reference = disturb(make_model()).train()
    logits = reference(batch.images).double()
    wanted = torch.full_like(logits, 0.1 / 3)
    wanted[torch.arange(6), batch.targets] += 0.9
    loss = -(share * (wanted * logits.log_softmax(dim=1)).sum(dim=1)).mean()
    loss.backward()
    parameters = reference.trainable()
    norm = math.sqrt(sum(float(value.grad.double().square().sum()) for value in parameters.values()))
    assert norm > 0.5  # or clipping would go unnoticed
    rate = learning_rate(0, 1, 0.2)
    model = disturb(make_model())
    result = fit(model, train, RECIPE, CPU, weights)
    assert result.curve[0].loss == pytest.approx(loss.item(), rel=1e-5)
    for name, value in model.trainable().items():
        before, gradient = parameters[name].detach().double(), parameters[name].grad.double() * 0.5 / norm
        lr = rate * (0.005 if name.startswith("head.") else 0.01)
        decay = 0.0 if name.endswith("bias") else 0.1
        expected = before * (1 - lr * decay) - lr * gradient / (gradient.abs() + 1e-8)
        sure = gradient.abs() > 1e-6  # AdamW's first step is the gradient's sign: rounding decides the tiniest
        assert sure.double().mean() > 0.9
        torch.testing.assert_close(value.detach().double()[sure], expected[sure], rtol=1e-4, atol=1e-6, msg=name)


def test_the_decay_of_the_recipe_is_the_one_that_is_used() -> None:
    groups = make_optimizer(make_model(), Recipe()).param_groups
    assert {group["weight_decay"] for group in groups} == {0.0, Recipe().weight_decay}


def watch_steps(monkeypatch: pytest.MonkeyPatch, look: Any) -> None:
    """Call look(model, optimizer) before every step of the optimiser."""

    def watched(model: AdaptedViT, recipe: Recipe) -> torch.optim.AdamW:
        optimizer = make_optimizer(model, recipe)
        optimizer.register_step_pre_hook(lambda *_: look(model, optimizer))
        return optimizer

    monkeypatch.setattr(stepping, "make_optimizer", watched)


def test_every_step_has_its_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []
    watch_steps(monkeypatch, lambda _, optimizer: seen.append([group["lr"] for group in optimizer.param_groups]))
    result = fit(make_model(), make_training(steps=12), RECIPE, CPU)
    factors = [learning_rate(step, 12, 0.2) for step in range(12)]
    assert seen == [pytest.approx([0.01 * f, 0.01 * f, 0.005 * f, 0.005 * f]) for f in factors]
    assert [point.lr for point in result.curve] == pytest.approx([0.01 * f for f in factors])


def test_the_gradient_is_clipped_over_all_trained_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    watch_steps(
        monkeypatch,
        lambda model, _: norms.append(math.hypot(*(float(value.grad.norm()) for value in model.trainable().values()))),
    )
    for clip in (0.01, math.inf):
        fit(disturb(make_model()), make_training(), Recipe(clip=clip), CPU)
    assert norms[:3] == pytest.approx([0.01] * 3, rel=1e-4)
    assert min(norms[3:]) > 0.1


# Full fine-tuning.


def test_full_fine_tuning_has_the_rates_of_its_layers() -> None:
    recipe = Recipe(**{**method_fields("full"), "layer_decay": 0.5})
    model = TunedViT(make_backbone(), make_task(rank=0), recipe.drop_path)
    groups = make_optimizer(model, recipe).param_groups
    layers = model.layers(0.5)
    names = {id(value): name for name, value in model.trainable().items()}
    for group in groups:
        for parameter in group["params"]:
            name = names.pop(id(parameter))
            scale, decays = layers[name]
            scale *= recipe.head_lr_scale if name.startswith("head.") else 1
            assert group["peak"] == group["lr"] == pytest.approx(recipe.lr * scale)
            assert group["weight_decay"] == (recipe.weight_decay if decays else 0)
    assert names == {}


def test_full_fine_tuning_that_goes_on_ends_in_the_same_weights() -> None:
    recipe, task = Recipe(**method_fields("full"), seed=3), make_task(rank=0)

    def start() -> TunedViT:
        torch.manual_seed(1)
        return TunedViT(make_backbone(), task, 0.5).train()

    whole, first, second = start(), start(), start()
    steps = [Stepper(model, recipe, CPU, 4) for model in (whole, first, second)]
    assert whole.dropping is None  # --drop-path is the blocks' own here
    batches = list(make_training(steps=4))
    torch.manual_seed(99)
    for batch in batches:
        steps[0].step(batch.images, batch.targets, None)
    for batch in batches[:2]:
        steps[1].step(batch.images, batch.targets, None)
    steps[2].load(2, steps[1].tensors(), steps[1].scale())
    torch.manual_seed(7)
    for batch in batches[2:]:
        steps[2].step(batch.images, batch.targets, None)
    assert trained_hash(second) == trained_hash(whole) != trained_hash(first)


# Nested widths.


def test_images_take_the_nested_widths_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is that of the mean loss of networks with the other hidden units at zero, one image each."""
    recipe, task = dataclasses.replace(RECIPE, rank=4, nested=True, clip=math.inf), make_task(rank=4, blocks=(0, 2))
    batches = list(make_training(per_class=4, batch_size=4, steps=2))
    for done, batch in enumerate(batches):
        whole, expected = (disturb(make_model(task)) for _ in range(2))
        taken = [(1, 2, 4)[(4 * done + row) % 3] for row in range(4)]
        total = torch.zeros(())
        for row, count in enumerate(taken):
            narrow = disturb(make_model(task))
            for adapter, own in zip(narrow.adapters.children(), expected.adapters.children(), strict=True):
                adapter.down, adapter.up = own.down, own.up
                adapter.forward = _first(own, count)
            narrow.head = expected.head
            logits = narrow(batch.images[row : row + 1])
            total = total + torch.nn.functional.cross_entropy(
                logits, batch.targets[row : row + 1], label_smoothing=recipe.label_smoothing
            )
        (total / 4).backward()
        seen: dict[str, Tensor] = {}
        stepper = Stepper(whole.train(), recipe, CPU, 2)
        stepper.done = done
        monkeypatch.setattr(
            stepper._optimizer,
            "step",
            lambda *_, model=whole, seen=seen: seen.update(
                {name: value.grad.clone() for name, value in model.trainable().items() if value.grad is not None}
            ),
        )
        loss = stepper.step(batch.images, batch.targets, None)
        assert float(loss) == pytest.approx(total.item() / 4, rel=1e-5)
        for name, value in expected.trainable().items():
            torch.testing.assert_close(seen[name], value.grad, rtol=1e-4, atol=1e-6, msg=name)


def _first(adapter: Any, count: int) -> Any:
    """Return the adapter's equation for its first hidden units, written out."""

    def forward(x: Tensor) -> Tensor:
        hidden = torch.nn.functional.gelu(x @ adapter.down.weight[:count].T + adapter.down.bias[:count])
        return adapter.alpha * (hidden @ adapter.up.weight[:, :count].T + adapter.up.bias)

    return forward


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_nested_step_in_parts_gives_every_image_its_width(parts: int) -> None:
    stepper = Stepper(make_model(make_task(rank=4, blocks=(0,))), Recipe(rank=4, nested=True), CPU, 9)
    stepper.done = 5
    size = 8 // parts
    turns = [stepper._turns(slice(start, start + size), 8) for start in range(0, 8, size)]
    assert torch.cat([turn for turn in turns if turn is not None]).tolist() == [(1, 2, 4)[n % 3] for n in range(40, 48)]


# Steps in parts.


def run_steps(
    model: AdaptedViT, steps: int = 3, weights: np.ndarray | None = None, recipe: Recipe = RECIPE
) -> list[str]:
    """Take all steps of a schedule; returns what was told."""
    told: list[str] = []
    stepper = Stepper(model, recipe, CPU, steps, told.append)
    for batch in make_training(steps=steps):
        share = None if weights is None else torch.from_numpy(weights.astype("float32"))[batch.rows]
        stepper.step(batch.images, batch.targets, share)
    return told


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> None:
    """Let a loss of more than `most` images fail."""
    whole = Stepper._loss

    def loss(self: Stepper, images: Tensor, *others: Any) -> Tensor:
        if len(images) > most:
            raise error
        return whole(self, images, *others)

    monkeypatch.setattr(Stepper, "_loss", loss)


@pytest.mark.parametrize("weights", [None, np.linspace(0.2, 1.8, 18)], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12 bytes"),
    ],
    ids=["cuda", "cpu", "windows"],
)
def test_a_step_without_memory_runs_in_parts_and_comes_to_the_same(
    weights: np.ndarray | None, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = disturb(make_model()).train(), disturb(make_model()).train()
    assert run_steps(whole, weights=weights) == []
    short_of_memory(monkeypatch, 2, error)
    told = run_steps(parts, weights=weights)
    assert [line.split(":")[0] for line in told] == [f"out of memory with {n} images at once" for n in (6, 3)]
    assert "now runs in 4 parts" in told[1]
    for name, value in whole.trainable().items():
        torch.testing.assert_close(parts.trainable()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert trained_hash(whole) != trained_hash(disturb(make_model()))


def test_a_step_in_parts_drops_what_the_whole_step_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts, undropped = (disturb(make_model()).train() for _ in range(3))
    run_steps(whole, recipe=DROPPING)
    run_steps(undropped)
    short_of_memory(monkeypatch, 2, torch.OutOfMemoryError("CUDA out of memory"))
    run_steps(parts, recipe=DROPPING)
    for name, value in whole.trainable().items():
        torch.testing.assert_close(parts.trainable()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert trained_hash(whole) != trained_hash(undropped)


def test_a_share_of_zero_changes_no_bit() -> None:
    model, other = disturb(make_model()).train(), disturb(make_model()).train()
    other.dropping = Dropping(0.0, 0.0, 0)
    run_steps(model)
    run_steps(other)
    assert trained_hash(model) == trained_hash(other)


def test_adapters_that_the_whole_first_batch_passes_by_are_no_failed_proof() -> None:
    (batch, _) = make_training(batch_size=2, steps=2)
    model = disturb(make_model(make_task(blocks=(0, 1, 2)))).train()
    stepper = Stepper(model, replace(RECIPE, drop_path=0.9), CPU, 2)
    stepper.step(batch.images, batch.targets, None)
    passed_by = [block for block, one in model.adapters.items() if not one.get_submodule("up").weight.grad.any()]
    assert passed_by
    assert stepper.adapters_with_gradient == 3
    assert model.dropping is not None


def test_an_adapter_that_is_cut_off_is_found_where_a_step_drops_too(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Adapter.forward
    monkeypatch.setattr(Adapter, "forward", lambda self, *given: forward(self, *given).detach())
    batch = next(iter(make_training()))
    with pytest.raises(TrainingError, match="the adapter after block 0 got no gradient in the first step"):
        Stepper(make_model().train(), DROPPING, CPU, 2).step(batch.images, batch.targets, None)


def test_no_memory_for_one_image_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(TrainingError, match="out of memory on cpu with a single image at a time; use a smaller"):
        run_steps(make_model().train())


def test_another_error_is_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run_steps(make_model().train())


# What goes on.


@pytest.mark.parametrize("recipe", [RECIPE, DROPPING], ids=["", "dropping"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stopped", [0, 1, 4, 6])
def test_another_stepper_goes_on_bit_by_bit(stopped: int, precision: str, recipe: Recipe) -> None:
    device = Device(torch.device("cpu"), precision)
    first, second = disturb(make_model()).train(), make_model().train()
    one = Stepper(first, recipe, device, 6)
    other = Stepper(second, recipe, device, 6)
    for done, batch in enumerate(make_training(steps=6)):
        if done == stopped:
            other.load(one.done, one.tensors(), one.scale())
        one.step(batch.images, batch.targets, None)
        if done >= stopped:
            other.step(batch.images, batch.targets, None)
    if stopped == 6:
        other.load(one.done, one.tensors(), one.scale())
    assert trained_hash(first) == trained_hash(second)
    assert other.done == 6
    assert {name: value.tobytes() for name, value in one.tensors().items()} == {
        name: value.tobytes() for name, value in other.tensors().items()
    }


def test_what_a_loss_scaler_keeps_goes_on_too() -> None:
    device = Device(torch.device("cpu"), "fp16")
    one, other = (Stepper(make_model().train(), RECIPE, device, 4) for _ in range(2))
    for batch in make_training(steps=3):
        one.step(batch.images, batch.targets, None)
    other.load(one.done, one.tensors(), one.scale())
    assert other.scale() == one.scale() != Stepper(make_model(), RECIPE, device, 4).scale()


def test_a_state_of_another_network_is_refused() -> None:
    tensors: dict[str, Any] = Stepper(make_model().train(), RECIPE, CPU, 4).tensors()
    stepper = Stepper(make_model().train(), RECIPE, CPU, 4)
    with pytest.raises(FormatError, match=r"'head.bias' has shape \[2\], expected \[3\]"):
        stepper.load(0, {**tensors, "model.head.bias": np.zeros(2, np.float32)}, {})
    with pytest.raises(FormatError, match=r"'head.bias' is missing"):
        stepper.load(0, {name: value for name, value in tensors.items() if name != "model.head.bias"}, {})
