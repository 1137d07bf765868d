"""What every image family offers: a formula that draws one image from random numbers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB image, uint8 [size, size, 3]."""

Ink = NDArray[np.float32]
"""How much foreground each pixel holds, float32 [size, size] from 0 to 1."""


class Formula(Protocol):
    """One class of the dataset: fixed parameters, drawn differently for every instance."""

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw one instance: the class's parameters with small changes, new colours and a new background."""
        ...
