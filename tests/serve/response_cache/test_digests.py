from __future__ import annotations

import hashlib

import numpy as np

from adaptertune_deploy.serve.response_cache.digests import SIZE, digests, size_of
from tests.serve.fakes import random_images


def test_an_encoded_image_is_known_by_the_sha256_of_its_bytes() -> None:
    images = [b"one", b"", b"one"]
    found = digests(images)
    assert found == [hashlib.sha256(b"encoded\0" + image).digest() for image in images]
    assert {len(digest) for digest in found} == {SIZE}
    assert size_of(images) == 6


def test_pixels_are_known_image_by_image_whatever_batch_they_come_in() -> None:
    images = random_images(3)
    found = digests(images)
    assert found[1] == hashlib.sha256(b"<f4[3, 32, 32]\0" + images[1].tobytes()).digest()
    assert len(set(found)) == 3
    assert digests(images[1:2]) == found[1:2]
    assert digests(images[::-1]) == found[::-1]
    assert digests(np.asfortranarray(images)) == found
    assert size_of(images) == images.nbytes


def test_the_same_bytes_in_another_shape_or_as_a_file_are_another_image() -> None:
    images = random_images(1)
    others = [
        *digests(images),
        *digests(images.reshape(1, 3, 64, 16)),
        *digests(images.view(np.int32)),  # type: ignore[arg-type]
        *digests([images.tobytes()]),
        *digests([b"<f4[3, 32, 32]\0" + images.tobytes()]),
    ]
    assert len(set(others)) == len(others)


def test_one_bit_is_another_image() -> None:
    images = random_images(1)
    changed = images.copy()
    changed.view(np.uint32).ravel()[-1] ^= 1
    assert digests(images) != digests(changed)
