"""backbone.safetensors of an adapter folder, the backbone that full fine-tuning made: its hash, its size, its numbers.

model.tuned writes the file and model.backbone reads it; what is here needs no torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from adaptertune_deploy.core.adapter.folder import CONFIG_NAME, WEIGHTS_NAME, AdapterConfig
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import files


def check(folder: Path, config: AdapterConfig) -> None:
    """Compare the weights with the hash in the folder's config; nothing is asked of a folder that has none.

    Raises:
        FormatError: absent, no safetensors file, or of another hash.
    """
    if config.tuned_sha256 and sha256(folder / WEIGHTS_NAME) != config.tuned_sha256:
        raise FormatError(
            f"{folder / WEIGHTS_NAME}: holds other weights than {CONFIG_NAME} names; it was changed or damaged, get "
            "the folder again or train the task again"
        )


def sha256(path: Path) -> str:
    """Return the hash of a weights file's tensors, as model.backbone.weights_sha256 has it of the network.

    Raises:
        FormatError: absent, or no safetensors file.
    """
    digest = hashlib.sha256()
    with _opened(path) as held:
        for name in sorted(held.keys()):
            values = np.ascontiguousarray(held.get_tensor(name), dtype=np.float32)
            digest.update(f"{name}{list(values.shape)}".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()


def numbers(path: Path) -> int:
    """Return how many numbers a weights file holds.

    Raises:
        FormatError: absent, or no safetensors file.
    """
    with _opened(path) as held:
        return sum(math.prod(held.get_slice(name).get_shape()) for name in held.keys())  # noqa: SIM118  no mapping


def bytes_in(folder: Path) -> int:
    """Return the size of the weights of an adapter folder, 0 where it holds none."""
    path = folder / WEIGHTS_NAME
    return path.stat().st_size if path.is_file() else 0


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with files.open_regular(path):  # a pipe is refused, not waited for
        try:
            with safe_open(path, framework="numpy") as held:
                yield held
        except (SafetensorError, TypeError) as error:
            raise FormatError(f"{path}: not a safetensors file ({' '.join(str(error).split()):.120})") from None
