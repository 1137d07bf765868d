"""train.run: the images, the folds and the names that every step of a training asks for."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.errors import DatasetError, TrainingError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.division.folds import fold_of
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.parallel.group import LostError
from adaptertune_deploy.train.resume.checkpoint import LABELS_OF_IMAGES, Checkpoints
from adaptertune_deploy.train.resume.state_file import State
from adaptertune_deploy.train.run import EVALUATION_BATCH, decided
from tests.train.runs import RECIPE, SPEC, make_run, make_striped_dataset


def test_training_images_come_in_order_and_as_they_are_served() -> None:
    run = make_run(make_striped_dataset([40, 20, 20], val=2))
    train = run.splits.train
    assert len(train) == 86  # the validation images too
    batches = list(run.training_images())
    assert [len(batch.rows) for batch in batches] == [EVALUATION_BATCH, 86 - EVALUATION_BATCH]
    for batch in batches:
        assert batch.targets.tolist() == train.targets[batch.rows.numpy()].tolist()
    served = np.stack([preprocess.transform(train.image(row), SPEC) for row in range(86)])
    np.testing.assert_array_equal(torch.cat([batch.images for batch in batches]).numpy(), served)
    rows = np.array([80, 3, 41])
    (part,) = run.training_images(rows)
    np.testing.assert_array_equal(part.images.numpy(), served[rows])
    np.testing.assert_array_equal(run.some_images(rows).numpy(), served[rows])
    assert part.targets.tolist() == train.targets[rows].tolist()


def test_test_images_are_those_of_the_test_split() -> None:
    run = make_run()
    (batch,) = run.test_images()
    assert batch.targets.tolist() == run.test.targets.tolist()
    assert not set(run.test.names) & set(run.splits.train.names)


def test_a_run_without_test_images_says_so() -> None:
    run = make_run()
    run = dataclasses.replace(run, splits=dataclasses.replace(run.splits, test=None))
    with pytest.raises(DatasetError, match="dataset 'trees' has no test images"):
        _ = run.test


def test_batches_are_of_the_rows_asked_for_and_count_within_them() -> None:
    run = make_run(recipe=dataclasses.replace(RECIPE, batch_size=4, served_view=1.0))
    rows = np.array([25, 2, 11, 14])
    batches = run.batches(rows, 3, seed=1)
    assert (len(batches), batches.batch_size) == (3, 4)
    (served,) = run.training_images(rows)
    for batch in batches:
        assert sorted(batch.rows.tolist()) == [0, 1, 2, 3]
        assert torch.equal(batch.images, served.images[batch.rows])  # all in the served view
        assert batch.targets.tolist() == run.splits.train.targets[rows[batch.rows.numpy()]].tolist()


@pytest.mark.parametrize(("served_view", "equal"), [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_batches_hold_the_recipes_share_of_the_served_view(served_view: float, equal: float) -> None:
    run = make_run(recipe=dataclasses.replace(RECIPE, served_view=served_view))
    served = torch.cat([batch.images for batch in run.training_images()])
    same = [
        torch.equal(image, served[row])
        for batch in run.batches(np.arange(30), 30, seed=0)
        for image, row in zip(batch.images, batch.rows.tolist(), strict=True)
    ]
    assert len(same) == 240
    assert np.mean(same) == pytest.approx(equal, abs=0.1)


def test_the_seed_of_the_batches_is_the_one_that_is_given_and_not_the_recipes() -> None:
    orders = []
    for recipe_seed, seed in ((0, 5), (1, 5), (0, 6)):
        run = make_run(recipe=dataclasses.replace(RECIPE, seed=recipe_seed))
        orders.append([batch.rows.tolist() for batch in run.batches(np.arange(30), 4, seed)])
    assert orders[0] == orders[1] != orders[2]


def test_folds_are_the_same_for_every_seed_and_other_ones_for_another_purpose() -> None:
    first, second = (make_run(recipe=dataclasses.replace(RECIPE, seed=seed)) for seed in (0, 9))
    gate = first.fold(3, "gate")
    np.testing.assert_array_equal(gate, second.fold(3, "gate"))
    np.testing.assert_array_equal(gate, fold_of(first.splits.train, 3, "adaptertune-deploy gate"))
    assert gate.tolist() != first.fold(3, "probe").tolist()


def test_what_is_measured_is_computed_in_float32() -> None:
    device = Device(torch.device("cpu"), "bf16")
    assert make_run(device=device).exact == Device(torch.device("cpu"), "fp32")


def test_a_gpu_is_called_by_its_name_and_a_cpu_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Some GPU at {device}")
    assert make_run(device=Device(torch.device("cuda:1"), "bf16")).processor == "Some GPU at cuda:1"
    assert make_run().processor == f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


@pytest.mark.parametrize(
    ("error", "said", "stays"),
    [
        (LostError("process 1 is gone"), "process 1 is gone; to go on: the same command with --resume", True),
        (TrainingError("the loss became nan"), "the loss became nan", False),
        (KeyboardInterrupt("stop"), "stop", True),
    ],
)
def test_what_was_kept_outlives_a_lost_process_and_no_failure(
    error: BaseException, said: str, stays: bool, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path / "kept", {}, 60.0)
    checkpoints.save("fold 1", State(1, 2, {"losses": np.zeros(1, np.float32)}, (), 2))
    with pytest.raises(type(error)) as raised, make_run(checkpoints=checkpoints).keeping():
        raise error
    assert str(raised.value) == said
    assert (tmp_path / "kept").exists() == stays


def test_a_full_disk_leaves_what_was_kept_and_says_how_to_go_on(tmp_path: Path) -> None:
    full, checkpoints = OSError(28, "No space left on device", "kept/fold-1"), Checkpoints(tmp_path / "kept", {}, 60.0)
    with pytest.raises(OSError, match=r"No space left on device"), make_run(checkpoints=checkpoints).keeping():
        raise full
    checkpoints.save("fold 1", State(1, 2, {"losses": np.zeros(1, np.float32)}, (), 2))
    said = "^kept/fold-1: No space left on device; check the disk .*, then go on: the same command with --resume$"
    with pytest.raises(TrainingError, match=said), make_run(checkpoints=checkpoints).keeping():
        raise full
    assert (tmp_path / "kept").exists()


def test_a_process_that_is_lost_before_anything_was_kept_says_nothing_of_going_on(tmp_path: Path) -> None:
    run = make_run(checkpoints=Checkpoints(tmp_path / "kept", {}, 60.0))
    with pytest.raises(LostError, match=r"^process 1 is gone$"), run.keeping():
        raise LostError("process 1 is gone")


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_labels_of_the_images_decide_what_a_run_ends_in(part: str) -> None:
    first, dataset = make_run(), make_striped_dataset([10, 10, 10])
    targets = getattr(dataset, part).targets
    targets[:] = (targets + 1) % 3
    before, after = decided(first), decided(make_run(dataset))
    assert {name for name in before if before[name] != after[name]} == {LABELS_OF_IMAGES}


def test_copies_judge_as_one_image() -> None:
    run = make_run()
    images = len(run.splits.train)
    alone = run.fold(2, "gate")
    np.testing.assert_array_equal(run.judged(alone), np.flatnonzero(alone >= 0))
    twice = dataclasses.replace(run, contents=tuple(f"{row // 2}" for row in range(images)))
    fold = twice.fold(2, "gate")
    assert (fold[::2] == fold[1::2]).all()
    np.testing.assert_array_equal(twice.judged(fold), np.arange(0, images, 2))
    fold[:4] = -1
    np.testing.assert_array_equal(twice.judged(fold), np.arange(4, images, 2))
