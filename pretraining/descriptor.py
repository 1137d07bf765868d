"""Targets computed from the pixels: where edges of each direction and which colours lie in the image.

Regressing such hand-made features teaches a network what they see (MaskFeat, arXiv 2112.09133); here they
describe the whole image, so that the pooled feature learns to hold the layout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

DIRECTIONS = 8
LENGTH = DIRECTIONS * (16 + 16 + 4) + 6 * 16
"""Numbers in a descriptor."""


def describe(images: Tensor) -> Tensor:
    """Compute the descriptors of a batch.

    Args:
        images: float32 [batch, 3, 64, 64] within 0..1.

    Returns:
        float32 [batch, 384]: edge histograms of the image (4x4 cells), of the image at half and at a quarter
        of the size (4x4 and 2x2 cells), and colour mean and spread of 4x4 cells.
    """
    grey = images.mean(dim=1, keepdim=True)
    edges = [
        _edges(grey, 4),
        _edges(functional.avg_pool2d(grey, 2), 4),
        _edges(functional.avg_pool2d(grey, 4), 2),
    ]
    mean = functional.adaptive_avg_pool2d(images, 4)
    square = functional.adaptive_avg_pool2d(images * images, 4)
    spread = (square - mean * mean).clamp(min=1e-6).sqrt()
    return torch.cat([*edges, mean.flatten(1), spread.flatten(1)], dim=1)


def _edges(grey: Tensor, cells: int) -> Tensor:
    """Histogram of edge directions (0 to pi) a cell, square-rooted, scaled to length 1 an image.

    Each edge votes for the one or two nearest of the directions. The angle enters doubled, which makes
    opposite gradients equal and spares the arc tangent.
    """
    across, down = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2], grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    strength = torch.sqrt(across * across + down * down + 1e-8)
    doubled = torch.cat([(across * across - down * down) / strength, 2 * across * down / strength, strength], 1)
    angle = torch.arange(DIRECTIONS) * (2 * torch.pi / DIRECTIONS)
    nearest = torch.full_like(angle, -math.cos(2 * torch.pi / DIRECTIONS))
    weight = torch.stack([angle.cos(), angle.sin(), nearest], dim=1)
    votes = functional.conv2d(doubled, weight.view(DIRECTIONS, 3, 1, 1)).relu()
    histogram = functional.adaptive_avg_pool2d(votes, cells).flatten(1)
    return functional.normalize(torch.sqrt(histogram + 1e-8), dim=1)
