"""What images are known by: the SHA-256 of what a request holds of each.

A collision would give somebody another one's answer, so the hash is one that nobody can find collisions of; processors
have instructions for SHA-256, which makes it the fastest of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array

SIZE = hashlib.sha256().digest_size
END = b"\0"  # of what comes before the image; no kind of image holds it


def digests(images: Sequence[bytes] | Array) -> list[bytes]:
    """Return SIZE bytes for each image.

    Args:
        images: encoded, or pixels float32 [N, 3, H, W]. Pixels of another shape or type have other digests, and no
            pixels have that of an encoded image.
    """
    if not isinstance(images, np.ndarray):
        return [_digest(b"encoded", image) for image in images]
    kind = f"{images.dtype.str}{list(images.shape[1:])}".encode()
    return [_digest(kind, np.ascontiguousarray(image).reshape(-1).data) for image in images]


def size_of(images: Sequence[bytes] | Array) -> int:
    """Return how many bytes `digests` reads."""
    return images.nbytes if isinstance(images, np.ndarray) else sum(len(image) for image in images)


def _digest(kind: bytes, image: bytes | memoryview) -> bytes:
    found = hashlib.sha256(kind + END)
    found.update(image)
    return found.digest()
