"""Which images do what: all but the test's are trained on, the test's settle nothing, and equal seeds split alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.train.comparison import candidates
from adaptertune_deploy.train.loop.fit import Fit
from adaptertune_deploy.train.outcome.measured import ADAPTER
from adaptertune_deploy.train.probe.head import fit_head
from adaptertune_deploy.train.trainer import train_task
from tests.train.runs import draw, make_pictures
from tests.train.trainer.trainings import RECIPE, ask, watch_trainings

NOTHING_LEARNED = Fit((), 2)


def test_the_last_training_has_every_image_but_the_tests_and_is_the_one_that_is_written(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pictures(tmp_path / "trees", {"train": 8, "val": 2, "test": 3})
    trainings = watch_trainings(monkeypatch)
    result = train_task(ask(folder, tmp_path / "out"))
    assert (result.config.dataset.train, result.config.dataset.test) == (30, 9)  # official validation images too
    assert [what for what, _, _ in trainings] == ["fold 1 of 2", "fold 2 of 2", "all images"]
    held = [sorted(set(range(30)) - set(rows)) for _, rows, _ in trainings]
    assert sorted(held[0] + held[1]) == list(range(30))
    assert held[2] == []
    _, written = adapters.read_adapter(result.folder, ADAPTER)
    expected = trainings[2][2].model.export_tensors()
    assert written.tensors.keys() == expected.keys()
    assert all(np.array_equal(value, expected[name]) for name, value in written.tensors.items())


def test_the_test_images_settle_nothing(tiny: None, tmp_path: Path) -> None:
    """With other test images, and wrong labels on them, the same weights and the same decision come out."""
    results = []
    for name, shift in (("one", 0), ("two", 1)):
        folder = make_pictures(tmp_path / name / "trees", {"train": 10, "test": 3})
        for index, label in enumerate(("ash", "elm", "oak") if shift else ()):
            for number in range(3):
                image = Image.fromarray(draw((index + shift) % 3, 900 + number))
                image.save(folder / "test" / label / f"{number:02d}.png")
        results.append(train_task(ask(folder, tmp_path / name / "out")))
    first, second = results
    assert first.config.tensors_sha256 == second.config.tensors_sha256
    assert first.config.identity == second.config.identity
    assert first.measured.gate == second.measured.gate
    assert first.measured.head.scores.loss != second.measured.head.scores.loss


def test_equal_seeds_give_equal_files_and_another_seed_the_same_split(
    tiny: None, pictures: Path, tmp_path: Path
) -> None:
    first = train_task(ask(pictures, tmp_path / "first"))
    torch.manual_seed(99)
    again = train_task(ask(pictures, tmp_path / "again"))
    other = train_task(ask(pictures, tmp_path / "other", dataclasses.replace(RECIPE, seed=1)))
    assert again.config.tensors_sha256 == first.config.tensors_sha256
    assert again.measured.gate == first.measured.gate
    assert other.config.tensors_sha256 != first.config.tensors_sha256
    assert other.config.dataset == first.config.dataset
    assert other.config.probe == first.config.probe
    assert other.measured.gate != first.measured.gate


def test_a_training_that_learns_nothing_leaves_its_start(
    tiny: None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def watched(*arguments: Any) -> Any:
        given[:] = arguments
        return fit_head(*arguments)

    monkeypatch.setattr(candidates, "fit", lambda *_: NOTHING_LEARNED)
    monkeypatch.setattr(candidates, "fit_head", watched)
    result = train_task(ask(pictures, tmp_path))
    _, start = adapters.read_adapter(result.folder, ADAPTER)
    assert {name for name, value in start.tensors.items() if not value.any()} == {
        tensor_name(block, side, kind)
        for block in (1, 2)
        for side, kind in (("down", "bias"), ("up", "weight"), ("up", "bias"))
    }
    np.testing.assert_array_equal(start.tensors["head.weight"], fit_head(*given).weight)
    assert len(given[0]) == 34
    assert given[3] == pytest.approx(result.config.probe.penalty / 10)
    assert result.config.recipe is not None
    assert given[3] == result.config.recipe.start_penalty
