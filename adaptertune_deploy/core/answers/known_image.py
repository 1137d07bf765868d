"""An image that everybody can make, pixel by pixel the same: a server is tried on it where no photograph may travel.

Waves of six lengths, each half as long and half as strong as the one before, as the contrasts of photographs fall off
with their size (Field, J. Opt. Soc. Am. A 4, 1987). Whole numbers only, so that no machine rounds otherwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.storage.tensors import Array

NAME = "waves-1"  # another image would have another name
OCTAVES = 6
LONGEST = 4096  # the image's side, and the longest wave's half
# Per channel: how steep its waves stand along x and y, and where they begin.
CHANNELS = ((3, 5, 0), (5, 2, 1000), (2, 7, 2000))


def known_image(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the image, uint8 [H, W, 3], of a size (H, W)."""
    height, width = size
    y = (np.arange(height, dtype=np.int64) * LONGEST // height)[:, None]
    x = (np.arange(width, dtype=np.int64) * LONGEST // width)[None, :]
    found = np.zeros((height, width, len(CHANNELS)), dtype=np.int64)
    for place, (across, down, begin) in enumerate(CHANNELS):
        for octave in range(OCTAVES):
            half = LONGEST >> octave
            found[..., place] += np.abs((across * x + down * y + begin) % (2 * half) - half)
    most = sum(LONGEST >> octave for octave in range(OCTAVES))
    return (found * 255 // most).astype(np.uint8)


def stored_answer(task: str, logits: Array) -> StoredAnswer:
    """Return the record of a task's logits [C] for the image, in seven digits, which hold a float32."""
    return StoredAnswer(task, NAME, tuple(float(f"{logit:.7g}") for logit in logits.tolist()))
