from __future__ import annotations

import hashlib

import numpy as np
import pytest

from adaptertune_deploy.core.answers.known_image import NAME, known_image, stored_answer


def by_hand(size: tuple[int, int], y: int, x: int, channel: int) -> int:
    """Return one value from the description: six waves, each half as long and half as strong as the one before."""
    across, down, begin = ((3, 5, 0), (5, 2, 1000), (2, 7, 2000))[channel]
    place = across * (4096 * x // size[1]) + down * (4096 * y // size[0]) + begin
    total = sum(abs(place % (8192 // 2**octave) - 4096 // 2**octave) for octave in range(6))
    return int(total * 255) // (4096 + 2048 + 1024 + 512 + 256 + 128)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 48)])
def test_every_pixel_is_what_the_description_says(size: tuple[int, int]) -> None:
    found = known_image(size)
    assert found.shape == (*size, 3)
    assert found.dtype == np.uint8
    expected = [[[by_hand(size, y, x, c) for c in range(3)] for x in range(size[1])] for y in range(size[0])]
    np.testing.assert_array_equal(found, expected)


def test_an_image_that_bundles_name_never_changes() -> None:
    digest = hashlib.sha256(known_image((224, 224)).tobytes()).hexdigest()
    assert (NAME, digest[:16]) == ("waves-1", "c8f97071b17f9786")


def test_it_is_no_flat_one() -> None:
    values = known_image((224, 224)).reshape(-1, 3).astype(float)
    assert (values.std(axis=0) > 30).all()
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.5


def test_logits_are_stored_as_exactly_as_float32_needs() -> None:
    logits = np.random.default_rng(0).normal(scale=10, size=1000).astype(np.float32)
    answer = stored_answer("pets", logits)
    assert (answer.task, answer.image) == ("pets", NAME)
    np.testing.assert_allclose(answer.logits, logits, rtol=1e-6)
