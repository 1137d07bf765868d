"""serve.offline: images and names of tasks become batches in order."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import ImageError, UsageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.offline.batches import batches, keys
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.fakes import make_shared

IMAGES = [encode(make_image(seed=seed)) for seed in range(5)]


@pytest.mark.parametrize(("most", "sizes"), [(100, [5]), (4, [2, 2, 1]), (5, [2, 2, 1]), (1, [1] * 5)])
def test_rows_are_image_by_image_and_task_by_task(most: int, sizes: list[int]) -> None:
    found = list(batches(make_shared(), IMAGES, [2, 0], None, most))
    assert [len(batch.pixels) for batch in found] == sizes
    rows = [(batch.start + i, t) for batch in found for i, t in zip(batch.image.tolist(), batch.task, strict=True)]
    assert rows == [(image, task) for image in range(5) for task in (2, 0)]
    pixels = np.concatenate([batch.pixels for batch in found])
    wanted = [preprocess.preprocess(data, make_preprocess_spec()) for data in IMAGES]
    np.testing.assert_array_equal(pixels, np.stack(wanted))


def test_a_bad_image_is_named() -> None:
    with pytest.raises(ImageError, match=r"^image 2 of 2: the data is no"):
        list(batches(make_shared(), [IMAGES[0], b"text"], [0], None, 8))
    with pytest.raises(ImageError, match=r"^cat\.png: the data is no"):
        list(batches(make_shared(), [b"text"], [0], ["cat.png"], 8))


def test_tasks_are_found_by_name() -> None:
    session = make_shared()
    assert keys(session, None) == [0, 1, 2]
    assert keys(session, ["digits", "pets"]) == [2, 0]
    for names, message in (
        (["pet"], "no task 'pet', only pets, flowers, digits. Did you mean 'pets'"),
        (["pets", "pets"], "a task is named twice in pets,pets; name each once"),
        ([], "no task was named; name one or more of pets, flowers, digits"),
    ):
        with pytest.raises(UsageError, match=message):
            keys(session, names)
