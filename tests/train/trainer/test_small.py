"""Few images, and none that is answered right, end in an artefact all the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.train.outcome import verdict
from adaptertune_deploy.train.outcome.measured import HEAD
from adaptertune_deploy.train.trainer import train_task
from tests.train.runs import draw, make_pictures
from tests.train.trainer.trainings import RECIPE, ask


def test_three_images_are_enough(tiny: None, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "few", 1, ("ash", "elm"))
    Image.fromarray(draw(1, 7)).save(folder / "elm" / "07.png")
    result = train_task(ask(folder, tmp_path / "out"))
    assert (result.config.dataset.train, result.config.dataset.test) == (2, 1)
    measured = result.measured
    assert measured.adapter is not None
    assert measured.adapter.scores.images == 1
    assert measured.gate is not None
    assert (measured.gate.images, measured.ships, measured.chosen_by) == (0, HEAD, "gate")
    assert (result.config.probe.temperature, result.config.task.temperature) == (1.0, 1.0)
    assert verdict.ships(measured) == "the head alone ships: there were too few images to compare the two"
    card = (result.folder / "README.md").read_text()
    assert "too few images" in card
    assert result.config.recipe is not None
    assert result.config.recipe.folds == 0  # none was trained, whatever was asked for
    assert "| comparison of the candidates | none |" in card


def test_one_split_is_enough_for_the_gate(tiny: None, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "trees", {"train": 40, "test": 2})
    result = train_task(ask(folder, tmp_path / "out", dataclasses.replace(RECIPE, folds=1, batch_size=32)))
    assert result.measured.gate is not None
    assert (result.measured.gate.folds, result.measured.gate.images) == (1, 24)
    assert result.config.recipe is not None
    assert result.config.recipe.folds == 1


def test_a_run_without_a_right_answer_is_written_all_the_same(tiny: None, tmp_path: Path) -> None:
    """The test images' labels are exchanged, so that whoever has learned something is always wrong."""
    folder = tmp_path / "trees"
    for part, count in (("train", 8), ("test", 4)):
        for index, label in enumerate(("ash", "elm")):
            (folder / part / label).mkdir(parents=True)
            colour = 255 * ((index == 0) != (part == "test"))
            for number in range(count):
                flat = np.full((16, 16, 3), (colour, number, 128), dtype=np.uint8)
                Image.fromarray(flat).save(folder / part / label / f"{number}.png")
    result = train_task(ask(folder, tmp_path / "out"))
    assert result.measured.head.scores.top1 == result.config.metrics["test_top1_shipped"] == 0
    assert adapters.read_config(result.folder) == result.config
