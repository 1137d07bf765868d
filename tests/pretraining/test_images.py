"""The drawn dataset: fixed by its seed, of the right shape, different from class to class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pretraining import images
from pretraining.images import CLASSES, FAMILIES, SIZE, Family

FIRST_LABELS = [sum(family.classes for family in FAMILIES[:index]) for index in range(len(FAMILIES))]
NAMES = [family.name for family in FAMILIES]


def test_labels_count_through_the_families() -> None:
    assert CLASSES == 1000
    for family, first in zip(FAMILIES, FIRST_LABELS, strict=True):
        expected = type(family.sample(np.random.default_rng(0)))
        assert isinstance(images.formula(0, first), expected)
        assert isinstance(images.formula(0, first + family.classes - 1), expected)


@pytest.mark.parametrize("label", [CLASSES, -1])
def test_a_label_outside_the_classes_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=f"label {label}: expected 0 to 999"):
        images.formula(0, label)


@pytest.mark.parametrize("label", FIRST_LABELS, ids=NAMES)
def test_the_same_numbers_draw_the_same_pixels(label: int) -> None:
    image = images.draw(3, label, 5)
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, images.draw(3, label, 5))
    for other in (images.draw(4, label, 5), images.draw(3, label + 1, 5), images.draw(3, label, 6)):
        assert not np.array_equal(image, other)


def test_processes_do_not_change_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(Family(family.name, family.sample, 1) for family in FAMILIES)
    monkeypatch.setattr(images, "FAMILIES", few)
    monkeypatch.setattr(images, "CLASSES", len(few))
    monkeypatch.setattr(images, "ProcessPoolExecutor", _InThisProcess)
    images.draw_dataset(tmp_path, seed=7, per_class=2, processes=1)
    drawn = np.load(tmp_path / "images.npy")
    assert drawn.shape == (12, SIZE, SIZE, 3)
    assert all(np.array_equal(drawn[row], images.draw(7, row // 2, row % 2)) for row in range(12))
    facts = json.loads((tmp_path / "images.json").read_text())
    assert facts == {"generator_version": "1", "seed": 7, "per_class": 2, "classes": 6}


class _InThisProcess:
    """A pool of no processes, so that the test's shorter table of families is seen."""

    def __init__(self, processes: int) -> None:
        pass

    def __enter__(self) -> _InThisProcess:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def map(self, job: object, labels: range, chunksize: int) -> object:
        return map(job, labels)  # type: ignore[call-overload]
