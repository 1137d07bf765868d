"""Augmentation of a whole batch at once: crops, flips, colour, sharpness, noise and CutMix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIZE = 64


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change a batch at random.

    Args:
        images: uint8 [batch, height, width, 3].
        generator: source of every random number.

    Returns:
        float32 [batch, 3, 64, 64] within 0..1.
    """
    pixels = images.permute(0, 3, 1, 2).float() / 255
    pixels = _soften(_crop(pixels, generator), generator)
    return _noise(_recolour(pixels, generator), generator).clamp(0, 1)


def cutmix(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Paste one box of the reversed batch into every image.

    Returns:
        The images, the labels of the pasted boxes and the share of each image that kept its own label.
    """
    share = _uniform(1, 0.2, 0.8, generator).item()
    side = round(SIZE * (1 - share) ** 0.5)
    top, left = (int(torch.randint(0, SIZE - side + 1, (), generator=generator)) for _ in range(2))
    mixed = images.clone()
    mixed[:, :, top : top + side, left : left + side] = images.flip(0)[:, :, top : top + side, left : left + side]
    return mixed, labels.flip(0), 1 - (side / SIZE) ** 2


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _crop(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Cut a random box (35 to 100 % of the area, aspect 3/4 to 4/3), mirror half of them, resize to 64."""
    batch = len(pixels)
    area = _uniform(batch, 0.35, 1.0, generator).sqrt()
    aspect = torch.exp(_uniform(batch, -0.288, 0.288, generator)).sqrt()
    width, height = (area * aspect).clamp(max=1), (area / aspect).clamp(max=1)
    flip = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * flip, height
    theta[:, 0, 2] = (1 - width) * _uniform(batch, -1, 1, generator)
    theta[:, 1, 2] = (1 - height) * _uniform(batch, -1, 1, generator)
    grid = functional.affine_grid(theta, [batch, 3, SIZE, SIZE], align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def _soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Take a part of the batch down to 32, 16 or 8 pixels and back up, as small photographs and scans are."""
    batch = len(pixels)
    softened, start = [], 0
    for share, side in ((0.4, 32), (0.12, 16), (0.08, 8)):
        stop = start + int(batch * share)
        small = functional.interpolate(pixels[start:stop], size=(side, side), mode="area")
        softened.append(functional.interpolate(small, size=(SIZE, SIZE), mode="bicubic"))
        start = stop
    mixed = torch.cat([*softened, pixels[start:]])
    return mixed.clamp(0, 1)


def _recolour(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation; make a fifth grey; invert a tenth."""
    batch = len(pixels)
    grey = pixels.mean(dim=1, keepdim=True)
    saturation = _uniform(batch, 0.5, 1.4, generator)
    saturation[torch.rand(batch, generator=generator) < 0.2] = 0
    pixels = grey + saturation.view(-1, 1, 1, 1) * (pixels - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    contrast = _uniform(batch, 0.5, 1.5, generator).view(-1, 1, 1, 1)
    brightness = _uniform(batch, -0.2, 0.2, generator).view(-1, 1, 1, 1)
    pixels = (mean + contrast * (pixels - mean) + brightness).clamp(0, 1)
    inverted = (torch.rand(batch, generator=generator) < 0.1).float().view(-1, 1, 1, 1)
    return pixels * (1 - 2 * inverted) + inverted


def _noise(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of up to 0.05 to every image."""
    strength = _uniform(len(pixels), -0.05, 0.05, generator).clamp(min=0).view(-1, 1, 1, 1)
    return pixels + strength * torch.randn(pixels.shape, generator=generator)
