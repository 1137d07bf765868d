from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.data.batches.augment import PRESETS, crop_box, sample_generator, training_transform
from adaptertune_deploy.data.samples import Pixels
from tests.builders import make_image, make_preprocess_spec

SPEC = make_preprocess_spec((32, 32), 1.0, "center", "bilinear")
RATIO = (3 / 4, 4 / 3)


def draws(preset: str, image: Image.Image, count: int, spec: PreprocessSpec = SPEC) -> list[Pixels]:
    transform = training_transform(preset, spec)
    return [transform(np.asarray(image), sample_generator(0, 0, row)) for row in range(count)]


def half_lit() -> Image.Image:
    """Return an image that is bright on its left and dark on its right."""
    values = np.zeros((32, 32, 3), dtype=np.uint8)
    values[:, :16] = 255
    return Image.fromarray(values)


def test_the_table_of_presets() -> None:
    table = {name: (preset.area, preset.flip, preset.degrees > 0) for name, preset in PRESETS.items()}
    assert table == {
        "fine": ((0.35, 1.0), True, False),
        "small": ((0.6, 1.0), True, False),
        "digits": (None, False, True),
        "digits-in-scene": ((0.6, 1.0), False, False),
        "signs": ((0.6, 1.0), False, False),
        "shapes": ((0.6, 1.0), True, False),
        "plain": (None, False, False),
    }


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_only_presets_that_may_flip_ever_mirror(preset: str) -> None:
    results = draws(preset, half_lit(), 200)
    mirrored = sum(bool(result[:, :4].mean() < result[:, -4:].mean()) for result in results)
    if PRESETS[preset].flip:
        assert 60 <= mirrored <= 140
    else:
        assert mirrored == 0


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("size", [(64, 48), (8, 8), (3, 200)])
def test_a_result_is_model_input(preset: str, size: tuple[int, int]) -> None:
    spec = make_preprocess_spec((32, 48), 0.9, "center", "bicubic")
    (pixels,) = draws(preset, make_image(*size), 1, spec)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (32, 48, 3))


def test_plain_is_the_evaluation_to_the_last_bit() -> None:
    image = make_image(64, 48)
    (pixels,) = draws("plain", image, 1)
    assert np.array_equal(preprocess.normalised(pixels, SPEC), preprocess.transform(image, SPEC))


def test_the_result_follows_from_seed_epoch_and_row_alone() -> None:
    transform, image = training_transform("fine", SPEC), np.asarray(make_image(64, 48))
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    first = [transform(image, sample_generator(*key)) for key in keys]
    torch.manual_seed(5)
    again = [transform(image, sample_generator(*key)) for key in reversed(keys)][::-1]
    for row, (one, two) in enumerate(zip(first, again, strict=True)):
        assert np.array_equal(one, two)
        assert all(not np.array_equal(one, other) for other in first[row + 1 :])


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.sampled_from([preset.area for preset in PRESETS.values() if preset.area]),
    st.integers(0, 1000),
)
def test_crops_lie_inside_and_within_their_ranges(size: tuple[int, int], area: tuple[float, float], seed: int) -> None:
    left, top, right, bottom = crop_box(size, area, RATIO, np.random.default_rng(seed))
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    if min(size) >= 200 and max(size) < 1.2 * min(size):  # elsewhere rounding or the fallback may leave the range
        width, height = right - left, bottom - top
        assert area[0] * 0.98 <= width * height / (size[0] * size[1]) <= area[1]
        assert RATIO[0] * 0.98 <= width / height <= RATIO[1] * 1.02


def test_crops_are_spread_as_torchvisions_are() -> None:
    size, area, count = (300, 240), (0.35, 1.0), 2000
    torch.manual_seed(0)
    image = torch.empty(3, size[1], size[0])
    theirs = np.array([RandomResizedCrop.get_params(image, list(area), list(RATIO)) for _ in range(count)], dtype=float)
    boxes = np.array([crop_box(size, area, RATIO, sample_generator(0, 0, row)) for row in range(count)], dtype=float)
    ours = np.stack([boxes[:, 1], boxes[:, 0], boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1)
    error = np.sqrt((theirs.var(axis=0) + ours.var(axis=0)) / count)
    assert (np.abs(theirs.mean(axis=0) - ours.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize(("size", "expected"), [((1000, 10), (493, 0, 506, 10)), ((10, 1000), (0, 493, 10, 506))])
def test_an_image_that_no_crop_fits_gives_its_centre(size: tuple[int, int], expected: tuple[int, ...]) -> None:
    box = crop_box(size, (0.9, 1.0), RATIO, np.random.default_rng(0))
    assert np.abs(np.array(box) - expected).max() <= 1


def test_a_crop_without_limits_is_the_whole_image_resized() -> None:
    image = make_image(64, 64)
    box = crop_box(image.size, (1.0, 1.0), (1.0, 1.0), np.random.default_rng(0))
    assert box == (0, 0, 64, 64)


def test_digits_move_about_their_centre_a_little() -> None:
    values = np.zeros((40, 40, 3), dtype=np.uint8)
    values[18:22, 18:22] = 255
    grid = np.indices((32, 32)).transpose(1, 2, 0)
    centres = []
    for pixels in draws("digits", Image.fromarray(values), 300):
        weight = pixels.mean(axis=2)
        centres.append((grid * weight[:, :, None]).sum(axis=(0, 1)) / weight.sum() - 15.5)
    reach = PRESETS["digits"].shift * 32
    assert np.abs(np.mean(centres, axis=0)).max() < 0.2
    assert reach * 0.8 < np.abs(centres).max() < reach + 0.5


def test_a_digit_turns_by_the_angle_that_was_drawn() -> None:
    values = np.zeros((65, 65, 3), dtype=np.uint8)
    values[31:34, 8:57] = 255  # a level bar through the centre
    spec = make_preprocess_spec((65, 65), 1.0, "center", "bilinear")
    rows, columns = np.indices((65, 65))
    for number, pixels in enumerate(draws("digits", Image.fromarray(values), 20, spec)):
        generator = sample_generator(0, 0, number)
        angle = math.radians(generator.uniform(-10, 10))
        weight = pixels.mean(axis=2)
        x, y = columns - np.average(columns, weights=weight), rows - np.average(rows, weights=weight)
        slope = 0.5 * math.atan2(2 * (weight * x * y).sum(), (weight * (x * x - y * y)).sum())
        assert abs(slope - angle) < math.radians(1)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UsageError, match=r"augmentation 'digit' is unknown\. Did you mean 'digits'\? Known: fine, "):
        training_transform("digit", SPEC)
