from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.data.samples import FileReader, Split
from adaptertune_deploy.data.sources.preset_by_size import preset_by_size
from tests.data.builders import make_split, save_image


@pytest.mark.parametrize(("side", "preset"), [(8, "small"), (64, "small"), (65, "fine"), (200, "fine")])
def test_small_images_are_cropped_less(side: int, preset: str) -> None:
    assert preset_by_size(make_split([20, 1], side=side)) == preset


def test_one_image_is_enough() -> None:
    assert preset_by_size(make_split([1])) == "small"


def test_damaged_images_do_not_count(tmp_path: Path) -> None:
    save_image(tmp_path / "0.png", size=(40, 30))
    (tmp_path / "1.png").write_bytes(b"no image")
    names = ("0.png", "1.png")
    split = Split(names, np.zeros(2, np.int64), FileReader(tmp_path))
    assert preset_by_size(split) == "small"
    assert preset_by_size(split.take([1])) == "fine"
