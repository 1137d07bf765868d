from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas import paint


def test_colour_is_pythons_hsv() -> None:
    assert paint.colour(1 / 3, 1.0, 0.5).ravel() == pytest.approx([0.0, 0.5, 0.0])
    assert paint.colour(4 / 3, 2.0, 0.5).ravel() == pytest.approx([0.0, 0.5, 0.0])


def test_blend_is_background_without_ink_and_foreground_with_all_of_it() -> None:
    ink = np.array([[0.0, 0.5, 1.0]], np.float32)
    black, red = np.zeros((1, 1, 3), np.float32), np.array([[[1.0, 0.0, 0.0]]], np.float32)
    assert paint.blend(ink, black, red).tolist() == [[[0, 0, 0], [0.5, 0, 0], [1, 0, 0]]]


@pytest.mark.parametrize("seed", range(20))
def test_ink_stays_visible(seed: int) -> None:
    ink = np.zeros((32, 32), np.float32)
    ink[:, 16:] = 1
    image = paint.paint(ink, np.random.default_rng(seed)).astype(float)
    assert np.abs(image[:, :16].mean(axis=(0, 1)) - image[:, 16:].mean(axis=(0, 1))).max() > 10


@pytest.mark.parametrize("layer", [paint.gradient, paint.clouds])
def test_layers_are_colours(layer: object) -> None:
    drawn = layer(np.random.default_rng(0), 24)  # type: ignore[operator]
    assert drawn.shape == (24, 24, 3)
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_to_image_cuts_off_what_uint8_cannot_hold() -> None:
    layer = np.broadcast_to(np.array([-1.0, 0.5, 2.0], np.float32), (4, 4, 3))
    image = paint.to_image(layer, np.random.default_rng(0))
    assert image.dtype == np.uint8
    assert (image[..., 0].max(), image[..., 2].min()) <= (40, 215)
