"""train.loop.views: what a step on kept tokens learns equals what it learns from the same images, and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.data.batches.augment import sample_generator, training_transform
from adaptertune_deploy.data.batches.loader import Batch
from adaptertune_deploy.data.batches.order import is_served
from adaptertune_deploy.train.comparison.candidates import frozen_features
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.evaluation.evaluate import outputs
from adaptertune_deploy.train.loop import views as module
from adaptertune_deploy.train.loop.fit import fit
from adaptertune_deploy.train.loop.stepper import Stepper
from adaptertune_deploy.train.loop.views import Views
from adaptertune_deploy.train.run import Run
from tests.builders import make_task
from tests.model.builders import disturb, make_model
from tests.train.runs import CPU, RECIPE, make_run, trained_hash

VIEWED = replace(RECIPE, views=2, served_view=0.4, seed=5)


def test_a_step_on_tokens_is_a_step_on_the_images_whose_views_they_are() -> None:
    run = make_run(blocks=(1, 2), recipe=VIEWED).with_views()
    rows = np.array([3, 29, 0, 17, 8, 11, 24])
    transform = training_transform("fine", run.pixels.spec)
    split, epochs = run.splits.train, set()
    one, other = (disturb(make_model(make_task(blocks=(1, 2)), run.backbone)).train() for _ in range(2))
    from_tokens, from_images = Stepper(one, VIEWED, CPU, 9), Stepper(other, VIEWED, CPU, 9)
    batches = run.batches(rows, 9, seed=2)
    assert len(batches) == 9
    for number, batch in enumerate(batches):
        epoch = number  # seven images are one batch
        images = []
        for held in batch.rows.tolist():
            row = int(rows[held])
            if is_served(2, epoch, held, 0.4):
                images.append(run.some_images(np.array([row]))[0])
            else:
                pixels = transform(run.pixels.reduced(split, row), sample_generator(5, epoch % 2, row))
                images.append(torch.from_numpy(normalised(pixels, run.pixels.spec)))
                epochs.add(epoch % 2)
        assert batch.targets.tolist() == split.targets[rows[batch.rows]].tolist()
        assert batch.images.shape == (7, 5, 16)
        first = from_tokens.step(batch.images, batch.targets, None)
        second = from_images.step(torch.stack(images), batch.targets, None)
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert epochs == {0, 1}
    for name, value in one.trainable().items():
        torch.testing.assert_close(value, other.trainable()[name], rtol=2e-3, atol=2e-4, msg=name)


def trained(run: Run, batches: list[Batch]) -> str:
    model = disturb(make_model(make_task(blocks=(1, 2)), run.backbone))
    fit(model, batches, run.recipe, run.device)
    return trained_hash(model)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_another_process_makes_the_same_batches_from_any_step_on(precision: str) -> None:
    device = Device(torch.device("cpu"), precision)
    first, second = (make_run(blocks=(1, 2), recipe=VIEWED, device=device).with_views() for _ in range(2))
    rows = np.arange(30)
    whole, rest = list(first.batches(rows, 6, 0)), list(second.batches(rows, 6, 0, start_step=4))
    assert [torch.equal(a.images, b.images) for a, b in zip(whole[4:], rest, strict=True)] == [True, True]
    assert whole[0].images.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert trained(first, whole) == trained(second, list(second.batches(rows, 6, 0)))


def test_tokens_are_computed_once_for_all_folds_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    common = module.common_tokens
    monkeypatch.setattr(
        module, "common_tokens", lambda net, images, block: (calls.append(len(images)), common(net, images, block))[1]
    )
    told: list[tuple[str, int, int]] = []
    run = replace(make_run(blocks=(1, 2), recipe=VIEWED).with_views(), progress=lambda *step: told.append(step))
    for rows in (np.arange(10), np.arange(10, 30)):
        list(run.with_rank(4).batches(rows, 2, 0))
    assert calls == [1, 30, 30, 30]
    assert [step for step in told if step[0] == "views as served"] == [("views as served", 30, 30)]
    assert [step for step in told if step[0] == "fixed views"] == [("fixed views", done, 60) for done in (30, 60)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_measured_on_training_images_is_what_the_images_give(precision: str) -> None:
    device = Device(torch.device("cpu"), precision)
    plain = make_run(blocks=(1, 2), recipe=VIEWED, device=device)
    viewed = plain.with_views()
    rows = np.array([21, 4, 29, 0, 13])
    model = disturb(make_model(make_task(blocks=(1, 2)), plain.backbone)).eval()
    for chosen in (None, rows):
        answers = [outputs(model, run.training_images(chosen), run.exact) for run in (plain, viewed)]
        np.testing.assert_allclose(answers[1][0], answers[0][0], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(answers[1][1], answers[0][1])
    held = [batch for run in (plain, viewed) for batch in run.training_images(rows)]
    assert [batch.rows.tolist() for batch in held] == [[0, 1, 2, 3, 4]] * 2
    features = [frozen_features(run, "train")[0] for run in (plain, viewed)]
    np.testing.assert_allclose(features[1], features[0], rtol=1e-4, atol=1e-5)


def test_test_images_go_on_from_tokens_that_are_computed_once() -> None:
    plain = make_run(blocks=(1, 2), recipe=VIEWED)
    told: list[tuple[str, int, int]] = []
    viewed = replace(plain.with_views(), progress=lambda *step: told.append(step))
    model = disturb(make_model(make_task(blocks=(1, 2)), plain.backbone)).eval()
    for _ in range(2):
        for function in (
            lambda run: outputs(model, run.test_images(), run.exact),
            lambda run: frozen_features(run, "test"),
        ):
            (expected, classes), (found, same) = (function(run) for run in (plain, viewed))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(same, classes)
    images = len(plain.test)
    assert [step for step in told if step[0] == "test images as served"] == [("test images as served", images, images)]
    assert not any(step[0] == "views as served" for step in told)


def test_tokens_as_served_come_in_batches_of_the_size_asked_for() -> None:
    views = make_run(blocks=(1, 2), recipe=VIEWED).with_views().views
    assert views is not None
    batches = views.served_batches(None, 7, silent)
    assert len(batches) == len(sizes := [len(batch.targets) for batch in batches])
    assert sizes == [7, 7, 7, 7, 2]


def test_more_tokens_than_memory_bears_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 3 * 30 * 5 * 16 * 4 - 1)
    with pytest.raises(
        UsageError, match=r"--views 2: the tokens of 42 images take 0\.0 GB of memory, expected at most"
    ):
        make_run(blocks=(1, 2), recipe=VIEWED).with_views()


def test_tokens_of_test_images_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(blocks=(1, 2), recipe=VIEWED)
    given = (run.splits.train, run.pixels, "fine", run.backbone, 1, run.recipe, run.device)
    monkeypatch.setattr(module, "LARGEST", 3 * 30 * 5 * 16 * 4 + 6 * 5 * 16 * 4)
    Views(*given, tested=6)
    with pytest.raises(UsageError, match=r"--views 2: the tokens of 37 images take"):
        Views(*given, tested=7)


def test_a_backbone_that_can_t_be_run_in_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_common_part", lambda network: False)
    with pytest.raises(UsageError, match=r"--views 2: the blocks of vit_test\.random can't be run apart"):
        make_run(blocks=(1, 2), recipe=VIEWED).with_views()
