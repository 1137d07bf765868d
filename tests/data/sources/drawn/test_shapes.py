from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.samples import Dataset

Reports = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def drawn() -> tuple[Dataset, Reports]:
    reports: Reports = []
    return open_dataset("shapes", progress=lambda *report: reports.append(report)), reports


@pytest.fixture
def shapes(drawn: tuple[Dataset, Reports]) -> Dataset:
    return drawn[0]


def test_ten_classes_of_equal_size(shapes: Dataset) -> None:
    assert shapes.test is not None
    assert shapes.labels == tuple(sorted(shapes.labels))
    assert np.bincount(shapes.train.targets).tolist() == [150] * 10
    assert np.bincount(shapes.test.targets).tolist() == [40] * 10
    assert (shapes.train.image(0).size, shapes.train.image(0).mode) == ((64, 64), "RGB")
    assert (shapes.augment, shapes.non_commercial, shapes.val) == ("shapes", False, None)
    assert shapes.redistributable


def test_every_run_draws_the_same_images_and_no_two_are_alike(shapes: Dataset) -> None:
    again = open_dataset("shapes")
    images = set()
    for first, second in ((shapes.train, again.train), (shapes.test, again.test)):
        assert first is not None
        assert second is not None
        for row in range(len(first)):
            pixels = first.image(row).tobytes()
            assert pixels == second.image(row).tobytes()
            images.add(pixels)
    assert len(images) == 1900


def test_progress_reaches_the_end(drawn: tuple[Dataset, Reports]) -> None:
    _, reports = drawn
    assert reports[0] == ("drawing shapes", 0, 1900)
    assert reports[-1] == ("drawing shapes", 1900, 1900)


def test_colour_alone_does_not_tell_the_class(shapes: Dataset) -> None:
    assert shapes.test is not None
    colours = {
        name: np.stack([np.asarray(split.image(row)).mean(axis=(0, 1)) for row in range(len(split))])
        for name, split in (("train", shapes.train), ("test", shapes.test))
    }
    centres = np.stack([colours["train"][shapes.train.targets == target].mean(axis=0) for target in range(10)])
    nearest = ((colours["test"][:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == shapes.test.targets).mean() < 0.2
