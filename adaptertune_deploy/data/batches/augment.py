"""Training transforms: a preset per kind of image; size, interpolation and normalisation come from the backbone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.data.batches.resized_crop import Box, resized_crop
from adaptertune_deploy.data.samples import Pixels

Transform: TypeAlias = Callable[[Pixels, np.random.Generator], Pixels]
ATTEMPTS = 10


@dataclass(frozen=True)
class Preset:
    """What may be done to a training image without changing its class.

    area: range of the crop's share of the image's area; None takes the evaluation's crop instead.
    ratio: range of the crop's width divided by its height.
    flip: mirror left and right half of the time.
    degrees: largest rotation to either side.
    zoom: largest relative change of size, either way.
    shift: largest move along each axis, as a share of the side.
    """

    area: tuple[float, float] | None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    degrees: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0


PRESETS: dict[str, Preset] = {
    # Breeds and species differ in detail: a crop below a third of the image often holds none of it.
    "fine": Preset(area=(0.35, 1.0), flip=True),
    # Images of about 32 pixels fill the frame with their object and have no detail to crop to.
    "small": Preset(area=(0.6, 1.0), flip=True),
    # A mirrored digit is no digit.
    "digits": Preset(area=None, degrees=10.0, zoom=0.1, shift=0.06),
    # Cropped from a scene, with neighbours and perspective of its own.
    "digits-in-scene": Preset(area=(0.6, 1.0)),
    # Many signs differ in the direction of an arrow alone.
    "signs": Preset(area=(0.6, 1.0)),
    "shapes": Preset(area=(0.6, 1.0), flip=True),
    "plain": Preset(area=None),
}


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random numbers of one image in one epoch; who draws them, and in which order, changes nothing."""
    return np.random.default_rng((seed, epoch, index))


def training_transform(preset: str, spec: PreprocessSpec) -> Transform:
    """Return a function from (RGB pixels, random numbers) to model input before it is normalised, uint8 [H, W, 3].

    Raises:
        UsageError: no such preset.
    """
    if preset not in PRESETS:
        raise UsageError(
            f"augmentation '{preset}' is unknown.{did_you_mean(preset, PRESETS)} Known: {', '.join(PRESETS)}"
        )
    return partial(_augmented, PRESETS[preset], spec)


def _augmented(preset: Preset, spec: PreprocessSpec, pixels: Pixels, generator: np.random.Generator) -> Pixels:
    if preset.degrees or preset.zoom or preset.shift:
        pixels = np.asarray(_moved(Image.fromarray(pixels), preset, spec, generator))
    if preset.area is None:
        pixels = preprocess.served_pixels(Image.fromarray(pixels), spec)
    else:
        height, width, _ = pixels.shape
        box = crop_box((width, height), preset.area, preset.ratio, generator)
        pixels = resized_crop(pixels, box, spec.size, spec.interpolation)
    return pixels[:, ::-1] if preset.flip and generator.random() < 0.5 else pixels


def crop_box(
    size: tuple[int, int], area: tuple[float, float], ratio: tuple[float, float], generator: np.random.Generator
) -> Box:
    """Draw a crop as torchvision.transforms.RandomResizedCrop.get_params does.

    Args:
        size: (width, height) of the image in pixels.
        area: range of the crop's share of the image's area.
        ratio: range of width / height, drawn uniformly in its logarithm.
        generator: the random numbers.

    Returns:
        (left, top, right, bottom). Where ten draws don't fit, the largest centred crop within `ratio`.
    """
    width, height = size
    for _ in range(ATTEMPTS):
        target = width * height * generator.uniform(*area)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(generator.integers(width - w + 1)), int(generator.integers(height - h + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _moved(image: Image.Image, preset: Preset, spec: PreprocessSpec, generator: np.random.Generator) -> Image.Image:
    """Rotate, zoom and shift about the centre, at the evaluation's resized size; the edges fill with black."""
    enlarge = max(spec.size) / spec.crop_pct / min(image.size)
    width, height = (max(1, round(side * enlarge)) for side in image.size)
    image = image.resize((width, height), preprocess.RESAMPLING[spec.interpolation])
    angle = math.radians(generator.uniform(-preset.degrees, preset.degrees))
    scale = math.exp(generator.uniform(-1, 1) * math.log1p(preset.zoom))
    dx, dy = generator.uniform(-preset.shift, preset.shift, size=2) * (width, height)
    # Pillow wants the map from output to input pixels: undo the shift, then the rotation and zoom.
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    cx, cy = width / 2, height / 2
    matrix = (
        cos, sin, cx - cos * (cx + dx) - sin * (cy + dy),
        -sin, cos, cy + sin * (cx + dx) - cos * (cy + dy),
    )  # fmt: skip
    return image.transform((width, height), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)
